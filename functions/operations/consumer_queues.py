"""The queues of the template that feed a consumer. Written by `make contracts`."""

# Names without the stack's, with the event types that a stream brings the consumer beside its queue.
QUEUES = {
    "inventory-settle": frozenset(
        {
            "ShipmentDispatched",
            "ReturnReceived",
        }
    ),
    "payments-settle": frozenset[str](),
    "payments-notice": frozenset[str](),
    "shipping-request": frozenset[str](),
    "shipping-record": frozenset[str](),
    "shipping-track": frozenset[str](),
    "reviews-close": frozenset[str](),
    "mail": frozenset[str](),
    "order-view": frozenset(
        {
            "OrderPlaced",
            "OrderConfirmed",
            "OrderRejected",
            "OrderHeldForReview",
            "OrderReviewApproved",
            "OrderReviewRejected",
            "ShipmentDispatched",
            "ShipmentDelivered",
            "ShipmentLost",
            "ReturnReceived",
            "CancellationRequested",
            "OrderCancelled",
            "OrderLinesCancelled",
            "CancellationFailed",
        }
    ),
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
    "invoices-issue": frozenset[str](),
    "loyalty-award": frozenset[str](),
    "analytics-count": frozenset(
        {
            "OrderPlaced",
            "OrderConfirmed",
            "OrderRejected",
            "StockReservationFailed",
            "PaymentRefunded",
            "PaymentRefundReversed",
            "OrderCancelled",
        }
    ),
}
