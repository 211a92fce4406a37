"""POST /webhooks/carrier: takes what the carrier tells, if the carrier signed it, and leaves the work to a queue."""

from __future__ import annotations

import msgspec

from orderflow import settings
from orderflow.clients import client
from orderflow.http import ApiEvent, Problem, Response, answer, api, invalid
from orderflow.webhooks import Secret, signed_body
from shipping import messages

SQS = client("sqs")
SECRET = Secret(settings.required("CARRIER_WEBHOOK_SECRET"), client("secretsmanager"))
RECORD_QUEUE_URL = settings.required("SHIPPING_RECORD_QUEUE_URL")
TRACK_QUEUE_URL = settings.required("SHIPPING_TRACK_QUEUE_URL")


@api
def handler(event: ApiEvent) -> Response:
    """Answer 202 as soon as a queue has the message; the readings of parcels have a queue of their own."""
    body = signed_body(event, SECRET)
    kind = _kind(body)
    url = TRACK_QUEUE_URL if kind.type == messages.READING else RECORD_QUEUE_URL
    SQS.send_message(QueueUrl=url, MessageBody=body.decode())
    return answer(202, {"message_id": kind.message_id})


def _kind(body: bytes) -> messages.Kind:
    try:
        return messages.kinds.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "malformed-json", "Malformed JSON", f"the body must be JSON in UTF-8: {error}") from None
