"""The events that the template routes to each consumer of this context. Written by `make contracts`."""

PROJECT = frozenset(
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
)
