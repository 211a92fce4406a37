"""The events that the template routes to each consumer of this context. Written by `make contracts`."""

AWARD_POINTS = frozenset(
    {
        "OrderConfirmed",
        "PaymentRefunded",
        "PaymentRefundReversed",
        "OrderCancelled",
        "OrderLinesCancelled",
    }
)
