"""Verifies the payment provider's webhooks: signed by Standard Webhooks, or by Stripe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orderflow.aws.http import ApiEvent, parse_document, to_model
from orderflow.aws.webhooks import verified_body
from orderflow.domain import documents
from payments.domain import webhook_events

if TYPE_CHECKING:
    from collections.abc import Callable

    type Verifier = Callable[[ApiEvent, Callable[[], str]], VerifiedWebhook]


class VerifiedWebhook(Struct, frozen=True):
    """The id of a verified webhook event, and its document; None for an event that does not concern a payment."""

    message_id: str
    document: Any = None


def verifier(provider: str) -> Verifier:
    """Return the function that verifies the webhooks of the provider with this name."""
    if provider != "stripe":
        return verify_standard
    from payments.stripe.webhook_verification import verify_stripe  # noqa: PLC0415 - only stacks with Stripe pay its 0.5 s

    return verify_stripe


def verify_standard(event: ApiEvent, secret: Callable[[], str]) -> VerifiedWebhook:
    """Verify an event with a Standard Webhooks signature.

    Raises:
        Problem: as `verified_body`; 400 or 422 for a malformed event.
    """
    document = documents.cleaned(parse_document(verified_body(event, secret)))
    # The value of the type alias, a union of events.
    return VerifiedWebhook(to_model(document, webhook_events.WebhookEvent.__value__).message_id, document)
