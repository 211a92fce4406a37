"""The door for what the carrier tells: what it signed is recorded at once, and left to a queue where that cannot be.

The carrier sends again what was not answered with 202, so a message is answered so only when the order's log, or a queue, has it.
"""

from __future__ import annotations

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api, document_of, shaped
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
    """Answer 202 as soon as the message is recorded or kept; the readings of parcels, which are many, have a queue of their own."""
    document = documents.cleaned(document_of(verified_body(event, SECRET)))
    kind, body = shaped(document, carrier_events.EventHeader), documents.encode(document)
    if kind.type == carrier_events.READING:
        _enqueue(body, TRACK_QUEUE_URL)
    elif not _recorded(body):
        _enqueue(body, RECORD_QUEUE_URL)
    return answer(202, {"message_id": kind.message_id})


def _recorded(body: str) -> bool:
    """Record what the carrier tells, unless something keeps that from happening now; says whether nothing is left to do."""
    try:
        carrier_event_recorder.record(LOG, carrier_events.carrier_event_decoder.decode(body))
    except Exception:  # noqa: BLE001 - early, unreadable, contended or AWS's fault: what comes from the queue is tried again
        logger.warning("left to the queue", exc_info=True)
        return False
    return True


def _enqueue(body: str, url: str) -> None:
    SQS.send_message(QueueUrl=url, MessageBody=body)
