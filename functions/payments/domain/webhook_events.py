"""The payment provider's webhook events.

`payment` is the idempotency key of the authorization, so every event names its order. Amounts are in minor units.
docs/webhooks.md shows an example of each.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from orderflow.domain.events import DisputeOutcome, Moment
from orderflow.domain.money import Money

Id = Annotated[str, Meta(min_length=1, max_length=100)]


class WebhookEventBase(Struct, frozen=True, tag_field="type"):
    """The fields of every event; `message_id` is the same for every delivery."""

    message_id: Id
    payment: Id


class Captured(WebhookEventBase, frozen=True, tag="payment.captured"):
    """An amount was captured under `capture_id`."""

    capture_id: Id


class Refunded(WebhookEventBase, frozen=True, tag="payment.refunded"):
    """An amount was refunded under the idempotency key `key`."""

    key: Id


class RefundFailed(WebhookEventBase, frozen=True, tag="refund.failed"):
    """An accepted refund under the idempotency key `key` failed: the customer does not have the money."""

    key: Id


class Disputed(WebhookEventBase, frozen=True, tag="dispute.created"):
    """The customer's bank withdrew a disputed amount, in any currency, at the time `at` if known."""

    dispute_id: Id
    amount: Money
    reason: Annotated[str, Meta(max_length=200)]
    at: Moment | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for an amount that is not above zero."""
        if self.amount.amount <= 0:
            message = f"amount is {self.amount.amount}, but must be above zero"
            raise ValueError(message)


class Decided(WebhookEventBase, frozen=True, tag="dispute.closed"):
    """A dispute was decided for the merchant (`won`) or for the customer (`lost`).

    The latest decision by its time `at` counts, in any order of arrival; without `at`, the last to arrive counts.
    """

    dispute_id: Id
    outcome: DisputeOutcome
    at: Moment | None = None


class Reopened(WebhookEventBase, frozen=True, tag="dispute.reopened"):
    """A decided dispute was reopened by an appeal."""

    dispute_id: Id
    at: Moment | None = None


class Expired(WebhookEventBase, frozen=True, tag="authorization.expired"):
    """The authorization of the amount that was not captured expired."""


type WebhookEvent = Captured | Refunded | RefundFailed | Disputed | Decided | Reopened | Expired

webhook_event_decoder: msgspec.json.Decoder[WebhookEvent] = msgspec.json.Decoder(WebhookEvent)
