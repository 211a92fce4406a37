"""POST /webhooks/payments: takes what the payment provider tells, if the provider signed it, and leaves the work to a queue."""

from __future__ import annotations

import msgspec

from orderflow import settings
from orderflow.clients import client
from orderflow.http import ApiEvent, Problem, Response, answer, api, invalid
from orderflow.webhooks import Secret, signed_body
from payments import messages

SQS = client("sqs")
SECRET = Secret(settings.required("PAYMENTS_WEBHOOK_SECRET"), client("secretsmanager"))
QUEUE_URL = settings.required("PAYMENTS_NOTICE_QUEUE_URL")


@api
def handler(event: ApiEvent) -> Response:
    """Answer 202 as soon as the queue has the message."""
    body = signed_body(event, SECRET)
    told = _read(body)
    SQS.send_message(QueueUrl=QUEUE_URL, MessageBody=body.decode())
    return answer(202, {"message_id": told.message_id})


def _read(body: bytes) -> messages.Notice:
    try:
        return messages.notices.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "malformed-json", "Malformed JSON", f"the body must be JSON in UTF-8: {error}") from None
