"""Which queues wait for an operator, and where what lies in them goes back to.

All names are short: those of the stack's queues and functions without the stack's own before them. Written out, with
addresses, they are more than the 4 KB that a function's environment may have
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

OPERATIONS = "operations"
REVIEW = "review"
# What dead letters are of, and the queue that they go back to.
QUEUES = {
    "mail": "mail",
    "subscription": "mail",
    "payments-notice": "payments-notice",
    "payments-settle": "payments-settle",
    "payments-settle-rule": "payments-settle",
    "inventory-settle": "inventory-settle",
    "ledger": "ledger",
    "ledger-rule": "ledger",
    "shipping-request": "shipping-request",
    "shipping-request-rule": "shipping-request",
    "shipping-record": "shipping-record",
    "shipping-track": "shipping-track",
    "order-view": "order-view",
    "order-view-rule": "order-view",
    "invoices-issue": "invoices-issue",
    "invoices-issue-rule": "invoices-issue",
    "loyalty-award": "loyalty-award",
    "loyalty-award-rule": "loyalty-award",
    "analytics-count": "analytics-count",
    "analytics-count-rule": "analytics-count",
    "reviews-close": "reviews-close",
    "reviews-close-rule": "reviews-close",
}
# The functions that read a stream: the queue that feeds each of them as well, and the events that the stream brings it.
CONSUMERS: dict[str, tuple[str, frozenset[str]]] = {
    "ledger-post": (
        "ledger",
        frozenset(
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
    ),
    "loyalty-award": (
        "loyalty-award",
        frozenset({"OrderConfirmed", "OrderCancelled", "OrderLinesCancelled", "PaymentRefunded", "PaymentRefundReversed"}),
    ),
    "analytics-count": (
        "analytics-count",
        frozenset(
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
    ),
    "inventory-settle": ("inventory-settle", frozenset({"ShipmentDispatched", "ReturnReceived"})),
    "orders-project": (
        "order-view",
        frozenset(
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
    ),
}


class Consumer(Struct, frozen=True):
    """The queue (URL) of a consumer, and the types of the events that the stream brings it."""

    queue_url: str
    types: frozenset[str]


class Route(Struct, frozen=True):
    """Where messages lie, and where they go: to a queue (URL), a topic or a saga (ARN), or as events to stream and bus.

    `workflows` are other state machines, by the name that a message from one of them gives. Notes about a `stream`
    lead to the queues of its `consumers`, which are by the name of the function.
    """

    queue_url: str
    kind: Literal["queue", "topic", "saga", "bus", "stream"]
    target: str = ""
    workflows: dict[str, str] = {}
    consumers: dict[str, Consumer] = {}


def dead_letters(name: str) -> str:
    """Return the short name of the queue that a route empties."""
    return name if name == OPERATIONS else f"{name}-dead-letters"


def routes(operations_queue_url: str, *, topic: str, saga: str, review: str) -> dict[str, Route]:
    """Return the routes by short name, for the stack that the queue for operators (URL) is of, and these ARNs."""
    prefix = operations_queue_url.removesuffix(OPERATIONS)
    stack = prefix.rpartition("/")[2]

    def lies(name: str, kind: Literal["topic", "saga", "bus"], target: str = "") -> Route:
        return Route(prefix + dead_letters(name), kind, target)

    return {
        **{name: Route(prefix + dead_letters(name), "queue", prefix + queue) for name, queue in QUEUES.items()},
        "notifications-rule": lies("notifications-rule", "topic", topic),
        "publish": lies("publish", "bus"),
        "stream": Route(
            prefix + dead_letters("stream"),
            "stream",
            consumers={f"{stack}{function}": Consumer(prefix + queue, types) for function, (queue, types) in CONSUMERS.items()},
        ),
        "saga": lies("saga", "saga", saga),
        "review-rule": lies("review-rule", "saga", review),
        OPERATIONS: Route(operations_queue_url, "saga", saga, {REVIEW: review}),
    }
