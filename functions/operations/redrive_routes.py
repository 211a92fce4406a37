"""Which queues wait for an operator, and where a redrive sends their messages.

Names are short: those of the stack's queues without the stack's name before them. Written out as URLs, they exceed the
4 KB that a function's environment may have (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

OPERATIONS = "operations"
REVIEW = "review"
# The queues that feed a consumer. The consumer's one dead-letter queue takes what its rule, its queue and its stream could not deliver.
QUEUES = (
    "mail",
    "payments-notice",
    "payments-settle",
    "inventory-settle",
    "ledger",
    "shipping-request",
    "shipping-record",
    "shipping-track",
    "order-view",
    "invoices-issue",
    "loyalty-award",
    "analytics-count",
    "reviews-close",
)
# The queue of each consumer that also reads a stream, with the event types that the stream brings.
STREAMED = {
    "ledger": frozenset(
        {
            "PaymentAuthorized",
            "PaymentVoided",
            "PaymentCaptured",
            "PaymentRefunded",
            "PaymentRefundReversed",
            "PaymentDisputed",
            "DisputeClosed",
            "DisputeOutcomeChanged",
        }
    ),
    "analytics-count": frozenset(
        {
            "OrderPlaced",
            "OrderConfirmed",
            "OrderRejected",
            "OrderCancelled",
            "StockReservationFailed",
            "PaymentRefunded",
            "PaymentRefundReversed",
        }
    ),
    "inventory-settle": frozenset({"ShipmentDispatched", "ReturnReceived"}),
    "order-view": frozenset(
        {
            "OrderPlaced",
            "OrderHeldForReview",
            "OrderReviewApproved",
            "OrderReviewRejected",
            "OrderConfirmed",
            "OrderRejected",
            "CancellationRequested",
            "OrderCancelled",
            "OrderLinesCancelled",
            "CancellationFailed",
            "ShipmentDispatched",
            "ShipmentDelivered",
            "ShipmentLost",
            "ReturnReceived",
        }
    ),
}


class Route(Struct, frozen=True):
    """Where messages wait (`queue_url`), and where a redrive sends them.

    kind `queue`: to the queue `target`. Events that a rule could not deliver go to `topic` if the rule has one, and notes about a
    failed batch of a stream send those of its events back whose type is in `streamed`. kind `saga`: they start `target`, or one of
    the `workflows` that a message names. kind `bus`: they are published to stream and bus.
    """

    queue_url: str
    kind: Literal["queue", "saga", "bus"]
    target: str = ""
    topic: str = ""
    streamed: frozenset[str] = frozenset()
    workflows: dict[str, str] = {}


def dead_letters(name: str) -> str:
    """Return the short name of the queue that a route empties."""
    return name if name == OPERATIONS else f"{name}-dead-letters"


def routes(operations_queue_url: str, *, topic: str, saga: str, review: str) -> dict[str, Route]:
    """Return the routes by short name, for the stack of the operations queue (URL), and these ARNs."""
    prefix = operations_queue_url.removesuffix(OPERATIONS)

    def back(name: str) -> Route:
        streamed = STREAMED.get(name, frozenset())
        return Route(prefix + dead_letters(name), "queue", prefix + name, topic if name == "mail" else "", streamed)

    return {
        **{name: back(name) for name in QUEUES},
        "publish": Route(prefix + dead_letters("publish"), "bus"),
        "saga": Route(prefix + dead_letters("saga"), "saga", saga),
        "review-rule": Route(prefix + dead_letters("review-rule"), "saga", review),
        OPERATIONS: Route(operations_queue_url, "saga", saga, workflows={REVIEW: review}),
    }
