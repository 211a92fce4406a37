"""The door for what the payment provider tells: takes what it signed, and leaves the work to a queue.

Stripe signs and words its messages in its own way; the sandbox, and what is written for this door, in ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api, document_of, header, shaped
from orderflow.aws.webhooks import Secret, raw_body, secrets_of, unsigned, verified_body
from orderflow.domain import documents
from payments.domain import webhook_events
from payments.provider_factory import StripeSecret

if TYPE_CHECKING:
    from collections.abc import Callable

STRIPE_SIGNATURE_HEADER = "Stripe-Signature"
INVALID_SIGNATURE = "this is no event that Stripe signed just now"

SQS = client("sqs")
SECRET = Secret(settings.required("PAYMENTS_WEBHOOK_SECRET"), client("secretsmanager"))
QUEUE_URL = settings.required("PAYMENTS_NOTICE_QUEUE_URL")


@api
def handler(event: ApiEvent) -> Response:
    """Answer 202 as soon as the queue has the message, or it concerns nobody here."""
    return ACCEPT(event)


def accept_signed_event(event: ApiEvent) -> Response:
    """Keep a message that is signed and worded in our way."""
    document = documents.cleaned(document_of(verified_body(event, SECRET)))
    # An alias has to be named: it is a union of messages.
    return _enqueue(document, shaped(document, webhook_events.WebhookEvent.__value__).message_id)


def stripe_acceptor() -> Callable[[ApiEvent], Response]:
    """Return what keeps an event that Stripe signed, if it concerns a payment."""
    from payments.stripe.webhook_events import InvalidStripeEvent, StripeEvent, redacted, verify_and_parse  # noqa: PLC0415 - 0.5 s that only its users shall pay

    def keep(event: ApiEvent) -> Response:
        body = raw_body(event)
        signature = header(event, STRIPE_SIGNATURE_HEADER)
        if not signature:
            # Before the secret is fetched, which an unsigned message is not worth.
            raise unsigned(INVALID_SIGNATURE, f"the header {STRIPE_SIGNATURE_HEADER} is missing")
        secret = msgspec.json.decode(SECRET(), type=StripeSecret).webhook_secret
        try:
            told = verify_and_parse(body, signature, secrets_of(secret))
        except InvalidStripeEvent as refused:
            raise unsigned(INVALID_SIGNATURE, str(refused)) from None
        if told is None:
            return answer(202, {"message_id": msgspec.json.decode(body, type=StripeEvent).id})
        return _enqueue(documents.cleaned(msgspec.json.decode(redacted(body))), told.message_id)

    return keep


ACCEPT = stripe_acceptor() if settings.required("PAYMENT_PROVIDER") == "stripe" else accept_signed_event


def _enqueue(document: Any, message_id: str) -> Response:
    SQS.send_message(QueueUrl=QUEUE_URL, MessageBody=documents.encode(document))
    return answer(202, {"message_id": message_id})
