"""What the payment provider tells about payments, as it is in a message's body.

`payment` is the key under which the payment was authorized, so every message names its order by itself. Amounts are in
minor units. docs/webhooks.md shows one of each.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from orderflow.domain.events import DisputeOutcome, Moment
from orderflow.domain.money import Money

Id = Annotated[str, Meta(min_length=1, max_length=100)]


class WebhookEventBase(Struct, frozen=True, tag_field="type"):
    """The base of every message; `message_id` is the same however often it is sent."""

    message_id: Id
    payment: Id


class Captured(WebhookEventBase, frozen=True, tag="payment.captured"):
    """Money was taken under `capture_id`."""

    capture_id: Id


class Refunded(WebhookEventBase, frozen=True, tag="payment.refunded"):
    """Money was given back, asked for under the idempotency key `key`."""

    key: Id


class RefundFailed(WebhookEventBase, frozen=True, tag="refund.failed"):
    """A refund under the idempotency key `key`, which was accepted, failed: the customer does not have the money."""

    key: Id


class Disputed(WebhookEventBase, frozen=True, tag="dispute.created"):
    """The customer's bank took money back, in whatever currency, at the time `at` where that is known."""

    dispute_id: Id
    amount: Money
    reason: Annotated[str, Meta(max_length=200)]
    at: Moment | None = None

    def __post_init__(self) -> None:
        """Refuse an amount that cannot be disputed."""
        if self.amount.amount <= 0:
            message = f"amount is {self.amount.amount}, but has to be above zero"
            raise ValueError(message)


class Decided(WebhookEventBase, frozen=True, tag="dispute.closed"):
    """A dispute was decided for us (`won`) or for the customer (`lost`), at last if there are several decisions.

    Decisions that name the time `at` which they were made can arrive in any order; without it the last to arrive counts.
    """

    dispute_id: Id
    outcome: DisputeOutcome
    at: Moment | None = None


class Reopened(WebhookEventBase, frozen=True, tag="dispute.reopened"):
    """A decided dispute is undecided again, because of an appeal."""

    dispute_id: Id
    at: Moment | None = None


class Expired(WebhookEventBase, frozen=True, tag="authorization.expired"):
    """What was not captured is no longer held."""


type WebhookEvent = Captured | Refunded | RefundFailed | Disputed | Decided | Reopened | Expired

webhook_event_decoder: msgspec.json.Decoder[WebhookEvent] = msgspec.json.Decoder(WebhookEvent)
