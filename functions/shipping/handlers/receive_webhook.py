"""The carrier's webhook: records a signed event at once, or queues it for a retry.

The carrier repeats an event until it gets 202, so 202 means that the order log or a queue has the event.
"""

from __future__ import annotations

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api, parse_document, to_model
from orderflow.aws.observability import logger
from orderflow.aws.order_log import OrderLog
from orderflow.aws.webhooks import Secret, verified_body
from orderflow.domain import documents
from shipping import carrier_event_recorder
from shipping.domain import carrier_events

SQS = client("sqs")
SECRET = Secret(settings.required("CARRIER_WEBHOOK_SECRET"), client("secretsmanager"))
LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
RECORD_QUEUE_URL = settings.required("SHIPPING_RECORD_QUEUE_URL")
TRACK_QUEUE_URL = settings.required("SHIPPING_TRACK_QUEUE_URL")


@api
def handler(event: ApiEvent) -> Response:
    """Return 202 as soon as the event is recorded or queued; the many tracking readings have a queue of their own."""
    document = documents.cleaned(parse_document(verified_body(event, SECRET)))
    header, body = to_model(document, carrier_events.EventHeader), documents.encode(document)
    if header.type == carrier_events.READING:
        _enqueue(body, TRACK_QUEUE_URL)
    if header.type != carrier_events.READING and not _recorded(body):
        _enqueue(body, RECORD_QUEUE_URL)
    return answer(202, {"message_id": header.message_id})


def _recorded(body: str) -> bool:
    """Try to record the event now, and to begin the watch of a parcel with a temperature range; return whether that succeeded."""
    try:
        if carrier_event_recorder.record(LOG, carrier_events.carrier_event_decoder.decode(body)):
            _enqueue(body, TRACK_QUEUE_URL)
    except Exception:  # noqa: BLE001 - early or unreadable event, conflict or AWS failure: the queue retries it
        logger.warning("carrier_event_queued", exc_info=True)
        return False
    return True


def _enqueue(body: str, url: str) -> None:
    SQS.send_message(QueueUrl=url, MessageBody=body)
