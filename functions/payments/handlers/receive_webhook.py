"""The payment provider's webhook: verifies the signature and queues the event.

Stripe has its own signature and event format; the sandbox and custom providers use Standard Webhooks.
"""

from __future__ import annotations

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api
from orderflow.aws.webhooks import Secret
from orderflow.domain import documents
from payments import webhook_verification

SQS = client("sqs")
SECRET = Secret(settings.required("PAYMENTS_WEBHOOK_SECRET"), client("secretsmanager"))
QUEUE_URL = settings.required("PAYMENTS_NOTICE_QUEUE_URL")
VERIFY = webhook_verification.verifier(settings.required("PAYMENT_PROVIDER"))


@api
def handler(event: ApiEvent) -> Response:
    """Return 202 as soon as the event is queued, or if it does not concern a payment."""
    verified = VERIFY(event, SECRET)
    if verified.document is not None:
        SQS.send_message(QueueUrl=QUEUE_URL, MessageBody=documents.encode(verified.document))
    return answer(202, {"message_id": verified.message_id})
