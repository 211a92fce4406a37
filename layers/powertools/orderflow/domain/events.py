"""The facts of an order's life, and the envelope that carries each of them.

These models are the contract between contexts: what is on the order log is what is on the bus.
Readers ignore fields that they do not know, so a new optional field needs no new version.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from orderflow.domain.money import Money

if TYPE_CHECKING:
    from collections.abc import Callable

# Python's `$` also matches before a line break at the end, other languages' does not.
Sku = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$(?!\n)")]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)", description="ISO 3166-1 alpha-2 code")]
Category = Annotated[
    str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9-]*$(?!\n)", description="What kind of product it is")
]
Quantity = Annotated[int, Meta(ge=1, le=999)]
Moment = Annotated[datetime, Meta(tz=True, description="RFC 3339, in UTC")]

RejectionReason = Literal["out_of_stock", "fraud_refused", "payment_declined", "fulfilment_failed", "review_rejected", "review_timed_out"]
CancelledBy = Literal["customer", "operator"]
DisputeOutcome = Literal["won", "lost"]
DisputeStanding = Literal["open", "won", "lost"]


class UnknownEvent(ValueError):
    """The envelope names an event type, or a version of one, that this code does not know."""


class Customer(Struct, frozen=True):
    """Who ordered: the subject of the token, and where mail goes."""

    id: str
    email: str


class CustomerId(Struct, frozen=True):
    """Who ordered, in events that lead to no mail."""

    id: str


class Address(Struct, frozen=True, omit_defaults=True):
    """A postal address; the country decides what the other parts mean.

    `postal_code` is empty where the country has none, `street2` and `region` (state or province) where there is none.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    street: Annotated[str, Meta(min_length=1, max_length=200)]
    city: Annotated[str, Meta(min_length=1, max_length=100)]
    postal_code: Annotated[str, Meta(max_length=20)]
    country: Country
    street2: Annotated[str, Meta(max_length=200)] = ""
    region: Annotated[str, Meta(max_length=100)] = ""


class Line(Struct, frozen=True, omit_defaults=True):
    """One product of an order with the price, and the category if any, that the catalogue had when it was placed."""

    sku: Sku
    name: str
    quantity: Quantity
    unit_price: Money
    category: Category | None = None


class StockLine(Struct, frozen=True):
    """A quantity of one product."""

    sku: Sku
    quantity: Quantity


class Shortage(Struct, frozen=True):
    """A line that stock could not cover."""

    sku: Sku
    requested: int
    available: int


class EventData(Struct, frozen=True):
    """What happened; the base of every event's data. `schema_version` is part of its contract."""

    schema_version: ClassVar[int] = 1


class OrderPlaced(EventData, frozen=True):
    """A customer's order was accepted, priced from the catalogue."""

    # Since 2 an address may be without a postal code.
    schema_version: ClassVar[int] = 2

    customer: Customer
    lines: tuple[Line, ...]
    total: Money
    shipping_address: Address
    payment_country: Country


class StockReserved(EventData, frozen=True):
    """Every line is set aside for the order."""

    lines: tuple[StockLine, ...]


class StockReservationFailed(EventData, frozen=True):
    """At least one line is short, so none was set aside. The order can only be rejected now."""

    shortages: tuple[Shortage, ...]


class OrderScreened(EventData, frozen=True):
    """The fraud rules decided without a person. After `refuse` the order can only be rejected."""

    decision: Literal["approve", "refuse"]
    score: int
    reasons: tuple[str, ...]


class OrderHeldForReview(EventData, frozen=True):
    """The fraud rules ask for a person's decision."""

    customer: Customer
    total: Money
    score: int
    reasons: tuple[str, ...]


class OrderReviewApproved(EventData, frozen=True):
    """A person let a held order go on."""

    reviewer: str
    note: str


class OrderReviewRejected(EventData, frozen=True):
    """A person refused a held order, or nobody decided in time. The order can only be rejected now."""

    reviewer: str
    note: str
    timed_out: bool


class PaymentAuthorized(EventData, frozen=True):
    """The provider holds the amount for us under `authorization_id`."""

    authorization_id: str
    amount: Money


class PaymentDeclined(EventData, frozen=True):
    """The provider refused to hold the amount. The order can only be rejected now."""

    code: str
    amount: Money


class PaymentVoided(EventData, frozen=True):
    """What was not captured of an authorization, `amount`, was given back."""

    authorization_id: str
    amount: Money


class FulfilmentFailed(EventData, frozen=True):
    """A step kept failing. The order can only be rejected now."""

    step: str
    reason: str


class ReservationExpired(EventData, frozen=True):
    """What was set aside is for sale again because the order was not confirmed in time; it may be reserved anew."""

    lines: tuple[StockLine, ...]


class StockReleased(EventData, frozen=True):
    """What was set aside for the order, and has not left, is for sale again."""

    lines: tuple[StockLine, ...]


class OrderConfirmed(EventData, frozen=True):
    """Stock is reserved and payment authorized: the order will be shipped."""

    # As that of OrderPlaced.
    schema_version: ClassVar[int] = 2

    customer: Customer
    lines: tuple[Line, ...]
    total: Money
    shipping_address: Address
    authorization_id: str


class OrderRejected(EventData, frozen=True):
    """The order ended without being fulfilled; nothing is reserved or authorized any more."""

    customer: Customer
    lines: tuple[Line, ...]
    total: Money
    reason: RejectionReason
    details: tuple[str, ...]


class CancellationRequested(EventData, frozen=True):
    """Somebody cancelled what has not left yet. The saga gives it back, or finds that everything has left."""

    by: CancelledBy
    reason: str


class OrderCancelled(EventData, frozen=True, omit_defaults=True):
    """The order ended because somebody cancelled it before anything left; nothing is held any more.

    `confirmed` tells whether it had been confirmed before; events from before there was this field do not say so.
    """

    customer: Customer
    lines: tuple[Line, ...]
    total: Money
    by: CancelledBy
    reason: str
    confirmed: bool = False


class OrderLinesCancelled(EventData, frozen=True):
    """What had not left of the order will not leave any more; `lines` says what, `amount` what it would have cost."""

    customer: Customer
    lines: tuple[StockLine, ...]
    amount: Money
    by: CancelledBy
    reason: str


class CancellationFailed(EventData, frozen=True):
    """Everything had left before the cancellation could stop it."""

    reason: str


class ShipmentRequested(EventData, frozen=True):
    """The carrier took the order to fetch and bring it."""

    shipment_id: str
    lines: tuple[StockLine, ...]


class ShipmentRecalled(EventData, frozen=True):
    """The carrier will bring nothing more of this order."""

    shipment_id: str


class ShipmentDispatched(EventData, frozen=True):
    """A parcel left; `amount` is what its lines cost, and `complete` says whether nothing more will follow."""

    customer: Customer
    parcel_id: str
    lines: tuple[StockLine, ...]
    amount: Money
    complete: bool


class ShipmentDelivered(EventData, frozen=True):
    """A parcel arrived; `complete` says whether nothing of the order is under way or still to leave."""

    schema_version: ClassVar[int] = 2

    customer: CustomerId
    parcel_id: str
    lines: tuple[StockLine, ...]
    complete: bool


class ShipmentLost(EventData, frozen=True):
    """A parcel will not arrive; what its lines cost, `amount`, is owed to the customer."""

    schema_version: ClassVar[int] = 2

    customer: CustomerId
    parcel_id: str
    lines: tuple[StockLine, ...]
    amount: Money


class PaymentCaptured(EventData, frozen=True):
    """The money for a parcel was taken from the authorization."""

    authorization_id: str
    capture_id: str
    parcel_id: str
    amount: Money


class PaymentRefunded(EventData, frozen=True):
    """Captured money was given back; `cause` names the return or the lost parcel (`return:…`, `parcel:…`)."""

    customer: Customer
    refund_id: str
    cause: str
    amount: Money


class PaymentRefundFailed(EventData, frozen=True):
    """The provider accepted a refund and did not carry it out. No money moved, and `amount` is still owed for `cause`."""

    refund_id: str
    cause: str
    amount: Money
    reason: str


class PaymentRefundReversed(EventData, frozen=True):
    """A recorded refund failed later: the provider returned `amount` to us, and it is owed to the customer again."""

    refund_id: str
    cause: str
    amount: Money
    reason: str


class PaymentDisputed(EventData, frozen=True):
    """The customer's bank took captured money back until the dispute is decided.

    `disputed` is what the bank reports, in the bank's currency; `amount` is what is booked for it, in the order's currency.
    """

    schema_version: ClassVar[int] = 2

    dispute_id: str
    amount: Money
    disputed: Money
    reason: str


class DisputeClosed(EventData, frozen=True):
    """An open dispute was decided: `won` returns the money to us, `lost` leaves it with the customer."""

    dispute_id: str
    amount: Money
    outcome: DisputeOutcome
    decided_at: Moment | None = None


class DisputeOutcomeChanged(EventData, frozen=True):
    """A decided dispute was reopened (`after` is `open`), or decided otherwise on appeal."""

    dispute_id: str
    amount: Money
    before: DisputeStanding
    after: DisputeStanding
    decided_at: Moment | None = None


class ReturnRequested(EventData, frozen=True):
    """The customer will send these lines back."""

    schema_version: ClassVar[int] = 2

    customer: CustomerId
    return_id: str
    lines: tuple[StockLine, ...]
    reason: str


class ReturnReceived(EventData, frozen=True):
    """These lines came back; what they cost, `amount`, is owed to the customer."""

    return_id: str
    lines: tuple[StockLine, ...]
    amount: Money


class InvoiceIssued(EventData, frozen=True):
    """The order's invoice has its number and its document."""

    number: str
    document: str
    total: Money


class CreditNoteIssued(EventData, frozen=True):
    """What was cancelled or paid back of an invoiced order, `amount`, is taken off its invoice by a document of its own number."""

    number: str
    document: str
    invoice: str
    cause: str
    amount: Money


EVENT_TYPES: dict[str, type[EventData]] = {
    fact.__name__: fact
    for fact in (
        OrderPlaced,
        StockReserved,
        StockReservationFailed,
        OrderScreened,
        OrderHeldForReview,
        OrderReviewApproved,
        OrderReviewRejected,
        PaymentAuthorized,
        PaymentDeclined,
        PaymentVoided,
        FulfilmentFailed,
        ReservationExpired,
        StockReleased,
        OrderConfirmed,
        OrderRejected,
        CancellationRequested,
        OrderCancelled,
        OrderLinesCancelled,
        CancellationFailed,
        ShipmentRequested,
        ShipmentRecalled,
        ShipmentDispatched,
        ShipmentDelivered,
        ShipmentLost,
        PaymentCaptured,
        PaymentRefunded,
        PaymentRefundFailed,
        PaymentRefundReversed,
        PaymentDisputed,
        DisputeClosed,
        DisputeOutcomeChanged,
        ReturnRequested,
        ReturnReceived,
        InvoiceIssued,
        CreditNoteIssued,
    )
}


def _without_email(data: dict[str, Any]) -> dict[str, Any]:
    """Return data whose customer has an id alone."""
    return {**data, "customer": {"id": msgspec.convert(data["customer"], Customer).id}}


# What makes data of a type's version (the key's) into data of the next one, all as JSON's own types: no field is lost but
# personal data, and what the older version did not say is made up from what it did. Every version that was ever published has its own.
UPCASTERS: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {
    ("ShipmentDelivered", 1): _without_email,
    ("ShipmentLost", 1): _without_email,
    ("ReturnRequested", 1): _without_email,
    ("OrderPlaced", 1): lambda data: data,
    ("OrderConfirmed", 1): lambda data: data,
    # Version 1 accepted disputes in the order's currency only.
    ("PaymentDisputed", 1): lambda data: {**data, "disputed": data["amount"]},
}


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A fact with its circumstances, in the present version of its type."""

    event_id: Annotated[str, Meta(description="Unique, and the same however often the event is written or delivered")]
    type: Annotated[str, Meta(description="What happened; on the bus, the detail type as well")]
    schema_version: Annotated[int, Meta(description="Version of the type's contract")]
    occurred_at: Annotated[
        datetime, Meta(tz=True, description="RFC 3339, in UTC; what a carrier or bank reports has the time that it says")
    ]
    source: Annotated[str, Meta(description="Context that says so; on the bus, the source as well")]
    correlation_id: Annotated[str, Meta(description="That of the request which placed the order")]
    causation_id: Annotated[str | None, Meta(description="The event that led to this one; nothing for the first")]
    order_id: Annotated[str, Meta(description="The order that it is about")]
    order_version: Annotated[int, Meta(description="Counts the events of one order from 1 without a gap")]
    data: EventData
    recorded_at: Annotated[
        Moment | None, Meta(description="When it was recorded, where its sender says that it occurred at another time")
    ] = None

    @property
    def appended_at(self) -> datetime:
        """When (UTC) the log took it. Unlike `occurred_at`, it does not go back from one version to the next."""
        return self.recorded_at or self.occurred_at


class _Envelope(Struct, frozen=True, kw_only=True):
    event_id: str
    type: str
    schema_version: int
    occurred_at: Moment
    source: str
    correlation_id: str
    causation_id: str | None
    order_id: str
    order_version: int
    data: msgspec.Raw
    recorded_at: Moment | None = None


_encoder = msgspec.json.Encoder()
_UNDELIVERABLE = (b"\xef\xbf\xbe", b"\xef\xbf\xbf")
_envelopes = msgspec.json.Decoder(_Envelope)


def encode(event: Event) -> bytes:
    """Return the event as a JSON document, times as RFC 3339 in UTC.

    U+FFFE and U+FFFF become U+FFFD: EventBridge would take them, but could not deliver the event to any queue.
    """
    document = _encoder.encode(event)
    for character in _UNDELIVERABLE:
        if character in document:
            document = document.replace(character, b"\xef\xbf\xbd")
    return document


def decode(raw: bytes | str) -> Event:
    """Read an event from its JSON document; one of an older version is read as the present one.

    Raises:
        UnknownEvent: its type, or this version of it, is not known here.
        msgspec.DecodeError: it is not JSON, or not of the event's shape (ValidationError).
    """
    envelope = _envelopes.decode(raw)
    fact = EVENT_TYPES.get(envelope.type)
    if fact is None:
        raise UnknownEvent(envelope.type)
    if envelope.schema_version == fact.schema_version:
        data = msgspec.json.decode(envelope.data, type=fact)
    else:
        data = msgspec.convert(_upcast(envelope, fact.schema_version), fact)
    return Event(
        event_id=envelope.event_id,
        type=envelope.type,
        schema_version=fact.schema_version,
        occurred_at=envelope.occurred_at,
        source=envelope.source,
        correlation_id=envelope.correlation_id,
        causation_id=envelope.causation_id,
        order_id=envelope.order_id,
        order_version=envelope.order_version,
        data=data,
        recorded_at=envelope.recorded_at,
    )


def _upcast(envelope: _Envelope, present: int) -> dict[str, Any]:
    data = msgspec.json.decode(envelope.data, type=dict[str, Any])
    version = envelope.schema_version
    while version != present:
        step = UPCASTERS.get((envelope.type, version))
        if step is None:
            message = f"{envelope.type} of version {envelope.schema_version}"
            raise UnknownEvent(message)
        try:
            data, version = step(data), version + 1
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            message = f"the data is none of {envelope.type} of version {version}"
            raise msgspec.ValidationError(message) from error
    return data
