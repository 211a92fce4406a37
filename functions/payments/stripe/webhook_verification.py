"""Verifies Stripe's webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orderflow.aws.http import ApiEvent, header
from orderflow.aws.observability import logger
from orderflow.aws.webhooks import raw_body, unsigned
from orderflow.domain import documents
from payments.stripe.signing_secrets import PREFIX, signing_secrets
from payments.stripe.webhook_events import InvalidStripeEvent, StripeEvent, redacted, verify_and_parse
from payments.webhook_verification import VerifiedWebhook

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNATURE_HEADER = "Stripe-Signature"
# A dispute's event has the evidence for it, of up to 150,000 characters, and what it was before
# (https://docs.stripe.com/api/disputes/update). In JSON, a character has up to six bytes.
MAX_BODY_BYTES = 2 * 1024 * 1024
INVALID_SIGNATURE = "the Stripe signature is missing, invalid or too old"


def verify_stripe(event: ApiEvent, secret: Callable[[], str]) -> VerifiedWebhook:
    """Verify a Stripe event and return it redacted, or without document if it does not concern a payment.

    Raises:
        Problem: 405 and 413 as `raw_body`, 401 without a valid signature.
    """
    body, signature = raw_body(event, MAX_BODY_BYTES), header(event, SIGNATURE_HEADER)
    if not signature:
        # Checked before the secret is read, to save the call.
        raise unsigned(INVALID_SIGNATURE, f"the header {SIGNATURE_HEADER} is missing")
    secrets = signing_secrets(secret())
    if not secrets:
        logger.warning("webhook_secret_unusable", expected=f"Stripe's signing secret in PaymentsWebhookSecret, which begins with {PREFIX}")
    try:
        parsed = verify_and_parse(body, signature, secrets)
    except InvalidStripeEvent as refused:
        raise unsigned(INVALID_SIGNATURE, str(refused)) from None
    if parsed is None:
        return VerifiedWebhook(msgspec.json.decode(body, type=StripeEvent).id)
    return VerifiedWebhook(parsed.message_id, documents.cleaned(msgspec.json.decode(redacted(body))))
