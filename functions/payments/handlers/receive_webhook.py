"""The payment provider's webhook: verifies the signature and queues the event.

Stripe has its own signature and event format; the sandbox and custom providers use Standard Webhooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api, header, parse_document, to_model
from orderflow.aws.webhooks import Secret, raw_body, secrets_of, unsigned, verified_body
from orderflow.domain import documents
from payments.domain import webhook_events
from payments.provider_factory import StripeSecret

if TYPE_CHECKING:
    from collections.abc import Callable

STRIPE_SIGNATURE_HEADER = "Stripe-Signature"
INVALID_SIGNATURE = "the Stripe signature is missing, invalid or too old"

SQS = client("sqs")
SECRET = Secret(settings.required("PAYMENTS_WEBHOOK_SECRET"), client("secretsmanager"))
QUEUE_URL = settings.required("PAYMENTS_NOTICE_QUEUE_URL")


@api
def handler(event: ApiEvent) -> Response:
    """Return 202 as soon as the event is queued, or if it does not concern a payment."""
    return ACCEPT(event)


def accept_signed_event(event: ApiEvent) -> Response:
    """Queue an event with a Standard Webhooks signature."""
    document = documents.cleaned(parse_document(verified_body(event, SECRET)))
    # The value of the type alias, a union of events.
    return _enqueue(document, to_model(document, webhook_events.WebhookEvent.__value__).message_id)


def stripe_acceptor() -> Callable[[ApiEvent], Response]:
    """Return the function that verifies a Stripe event and queues it if it concerns a payment."""
    from payments.stripe.webhook_events import InvalidStripeEvent, StripeEvent, redacted, verify_and_parse  # noqa: PLC0415 - only stacks with Stripe pay its 0.5 s

    def accept_stripe_event(event: ApiEvent) -> Response:
        body = raw_body(event)
        signature = header(event, STRIPE_SIGNATURE_HEADER)
        if not signature:
            # Checked before the secret is fetched, to save the call.
            raise unsigned(INVALID_SIGNATURE, f"the header {STRIPE_SIGNATURE_HEADER} is missing")
        secret = msgspec.json.decode(SECRET(), type=StripeSecret).webhook_secret
        try:
            parsed = verify_and_parse(body, signature, secrets_of(secret))
        except InvalidStripeEvent as refused:
            raise unsigned(INVALID_SIGNATURE, str(refused)) from None
        if parsed is None:
            return answer(202, {"message_id": msgspec.json.decode(body, type=StripeEvent).id})
        return _enqueue(documents.cleaned(msgspec.json.decode(redacted(body))), parsed.message_id)

    return accept_stripe_event


ACCEPT = stripe_acceptor() if settings.required("PAYMENT_PROVIDER") == "stripe" else accept_signed_event


def _enqueue(document: Any, message_id: str) -> Response:
    SQS.send_message(QueueUrl=QUEUE_URL, MessageBody=documents.encode(document))
    return answer(202, {"message_id": message_id})
