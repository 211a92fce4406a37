"""Turns a dispute at Stripe into webhook events of the payments context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.observability import logger
from payments.domain import webhook_events
from payments.stripe.mapping import dispute_state, disputed_at, from_stripe

if TYPE_CHECKING:
    from datetime import datetime

    from payments.stripe.objects import StripeDispute


def dispute_events(dispute: StripeDispute, message_id: str, payment_key: str, read_at: datetime) -> list[webhook_events.WebhookEvent]:
    """Return the events of a dispute's status, read at `read_at` (UTC): Disputed, and Decided or Reopened; none if no money is disputed."""
    state = dispute_state(dispute)
    if state is None or dispute.amount <= 0:
        logger.info("no_money_disputed", dispute_id=dispute.id, status=dispute.status)
        return []
    amount, reason = from_stripe(dispute.amount, dispute.currency), (dispute.reason or "")[:200]
    disputed = webhook_events.Disputed(message_id, payment_key, dispute.id, amount, reason, disputed_at(dispute))
    if state == "open":
        return [disputed, webhook_events.Reopened(message_id, payment_key, dispute.id, read_at)]
    return [disputed, webhook_events.Decided(message_id, payment_key, dispute.id, state, read_at)]
