"""Requests and responses of the orders API."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from orderflow.aws.http import ApiEvent, Problem, body_bytes, header, parse_document, parse_model, to_model
from orderflow.domain import events
from orderflow.domain.countries import POSTAL_CODE_REQUIRED, Country
from orderflow.domain.events import Line, Quantity, Sku, StockLine
from orderflow.domain.money import Money

# A reservation is one transaction of at most 100 writes: its lines, its own row and its event. The other half is for sharded stock.
MAX_LINES = 50
MAX_KEY_LENGTH = 255
MAX_REASON_LENGTH = 500

_PAYMENT_COUNTRY = (
    "Country of the means of payment as the client states it: a signal for the fraud rules, never compared with the card. The payment "
    "provider checks the card."
)

Reason = Annotated[str, Meta(max_length=MAX_REASON_LENGTH)]
DisplayState = Literal[
    "placed",
    "held",
    "cancelling",
    "confirmed",
    "partly_dispatched",
    "dispatched",
    "delivered",
    "lost",
    "partly_returned",
    "returned",
    "rejected",
    "cancelled",
]


class RequestedLine(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A product and its quantity. The price comes from the catalogue."""

    sku: Sku
    quantity: Quantity


class Address(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A postal address. `postal_code`, `street2` and `region` (state or province) are empty if the country does not use them."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    street: Annotated[str, Meta(min_length=1, max_length=200)]
    city: Annotated[str, Meta(min_length=1, max_length=100)]
    postal_code: Annotated[str, Meta(max_length=20)] = ""
    country: Country
    street2: Annotated[str, Meta(max_length=200)] = ""
    region: Annotated[str, Meta(max_length=100)] = ""

    def __post_init__(self) -> None:
        """Check that the address has the parts that its country requires."""
        for field, what in self.missing({"country": self.country, "postal_code": self.postal_code}):
            message = f"{field}: {what}"
            raise ValueError(message)

    @staticmethod
    def missing(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield each required field that is missing, with the reason."""
        country = document.get("country")
        if isinstance(country, str) and country in POSTAL_CODE_REQUIRED and not document.get("postal_code"):
            yield "postal_code", f"an address in {country} has one"

    def to_event_address(self) -> events.Address:
        """Return the address as events carry it."""
        return events.Address(self.name, self.street, self.city, self.postal_code, self.country, street2=self.street2, region=self.region)


class Payment(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The provider's one-time token for a means of payment, and its country as the client states it."""

    token: Annotated[str, Meta(min_length=1, max_length=255)]
    country: Annotated[Country, Meta(description=_PAYMENT_COUNTRY)]


class PlaceOrderRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The body of `POST /orders`; `expected_total` is the total shown to the customer; an order with another total is refused."""

    lines: Annotated[tuple[RequestedLine, ...], Meta(min_length=1, max_length=MAX_LINES)]
    shipping_address: Address
    payment: Payment
    expected_total: Money | None = None


class FormerPayment(Struct, frozen=True, forbid_unknown_fields=True):
    """A `Payment` as version 1.0 validated it."""

    token: Annotated[str, Meta(min_length=1, max_length=255)]
    country: events.Country


class FormerRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A `PlaceOrderRequest` as version 1.0 validated it: any characters in texts, any two letters as a country."""

    lines: Annotated[tuple[RequestedLine, ...], Meta(min_length=1, max_length=MAX_LINES)]
    shipping_address: events.Address
    payment: FormerPayment


class CancelOrderRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The optional body of `POST /orders/{order_id}/cancellation`."""

    reason: Reason = ""


class CreateReturnRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /orders/{order_id}/returns`; goods that spoiled in transit have the `reason_code` `spoiled`."""

    lines: Annotated[tuple[RequestedLine, ...], Meta(min_length=1, max_length=MAX_LINES)]
    reason: Reason = ""
    reason_code: events.ReturnReasonCode | None = None


class ParcelAnswer(Struct, frozen=True, omit_defaults=True):
    """A dispatched part of an order; `spoiled` are lines that spoiled in transit."""

    parcel_id: str
    lines: tuple[StockLine, ...]
    state: Literal["dispatched", "delivered", "lost"]
    delivered_at: datetime | None = None
    spoiled: tuple[StockLine, ...] = ()


class ReturnAnswer(Struct, frozen=True, omit_defaults=True):
    """A return; `amount` is the price of its lines, set once they are received."""

    return_id: str
    state: Literal["requested", "received", "refunded"]
    lines: tuple[StockLine, ...]
    requested_at: datetime
    reason: str = ""
    reason_code: events.ReturnReasonCode | None = None
    amount: Money | None = None


class OrderAnswer(Struct, frozen=True, omit_defaults=True):
    """An order as its owner sees it.

    `captured` is the amount captured for dispatched parcels, `refunded` the refunded part of it, and `charged_back` the amount of open
    and lost disputes. `cancelled` are lines that were cancelled after other lines were dispatched. `reason` is set for a rejected order;
    `details` are the products that are out of stock, or the code with which the payment was declined.
    """

    order_id: str
    state: DisplayState
    lines: tuple[Line, ...]
    total: Money
    placed_at: datetime
    reason: str | None = None
    details: tuple[str, ...] = ()
    parcels: tuple[ParcelAnswer, ...] = ()
    cancelled: tuple[StockLine, ...] = ()
    returns: tuple[ReturnAnswer, ...] = ()
    captured: Money | None = None
    refunded: Money | None = None
    charged_back: Money | None = None


class ProductAnswer(Struct, frozen=True, omit_defaults=True):
    """A product for sale. `availability` is a hint from a moment ago: `low_stock` are at most 5 units; placing an order decides."""

    sku: Sku
    name: str
    unit_price: Money
    availability: Literal["in_stock", "low_stock", "out_of_stock"]
    category: events.Category | None = None


class ProductList(Struct, frozen=True, omit_defaults=True):
    """A page of products; `next` is the cursor of the next page, if there is one."""

    products: tuple[ProductAnswer, ...]
    next: str | None = None


class OrderSummary(Struct, frozen=True):
    """The summary of an order; `items` counts units, `updated_at` is the time of the last event that changed the summary."""

    order_id: str
    state: DisplayState
    total: Money
    items: int
    placed_at: datetime
    updated_at: datetime


class OrderList(Struct, frozen=True, omit_defaults=True):
    """A page of a customer's orders, newest first; `next` is the cursor of the next page, if there is one."""

    orders: tuple[OrderSummary, ...]
    next: str | None = None


class TimelineEntry(Struct, frozen=True, omit_defaults=True):
    """An event of an order as its owner sees it; `recorded_at` if the event was recorded later than it occurred."""

    version: int
    type: str
    occurred_at: datetime
    source: str
    event_id: str
    causation_id: str | None
    data: dict[str, Any]
    recorded_at: datetime | None = None


class Timeline(Struct, frozen=True):
    """The events of an order, oldest first."""

    order_id: str
    events: tuple[TimelineEntry, ...]


_canonical = msgspec.json.Encoder(order="deterministic")


def parse_order(event: ApiEvent) -> tuple[PlaceOrderRequest, str]:
    """Return the request of `POST /orders` and its fingerprint.

    Raises:
        Problem: 413 for a body over 64 KB, 400 for one that is not JSON in UTF-8, 422 for a request of another shape.
    """
    document = parse_document(body_bytes(event))
    request = to_model(document, PlaceOrderRequest)
    return request, fingerprint(_untrimmed(document, request))


def parse_cancellation(event: ApiEvent) -> CancelOrderRequest:
    """Return the request of `POST /orders/{order_id}/cancellation`. Raises as `parse_order`."""
    body = body_bytes(event)
    return parse_model(body, CancelOrderRequest) if body else CancelOrderRequest()


def parse_return(event: ApiEvent) -> CreateReturnRequest:
    """Return the request of `POST /orders/{order_id}/returns`. Raises as `parse_order`."""
    return parse_model(body_bytes(event), CreateReturnRequest)


def parse_return_v1(event: ApiEvent) -> CreateReturnRequest:
    """Return the same request as version 1.0 read it: texts neither trimmed nor checked for characters.

    Raises:
        Problem, msgspec.ValidationError: version 1.0 refused it too.
    """
    return msgspec.convert(parse_document(body_bytes(event)), CreateReturnRequest)


def idempotency_key(event: ApiEvent) -> str:
    """Return the request's Idempotency-Key.

    Raises:
        Problem: 400 when it is missing, longer than 255 characters, or not printable ASCII.
    """
    key = header(event, "Idempotency-Key") or ""
    if not key.strip():
        detail = "send an Idempotency-Key header, and the same one whenever you repeat this request"
        raise Problem(400, "idempotency-key-missing", "Idempotency-Key missing", detail)
    if len(key) > MAX_KEY_LENGTH or not (key.isascii() and key.isprintable()):
        detail = f"an Idempotency-Key has 1 to {MAX_KEY_LENGTH} printable ASCII characters"
        raise Problem(400, "idempotency-key-invalid", "Idempotency-Key invalid", detail)
    return key


def fingerprint(request: PlaceOrderRequest | FormerRequest) -> str:
    """Return a digest of a request's contents that ignores white space and field order.

    Fields enter in the order of their definition, without defaults, so an optional field added at the end of a model changes no
    stored fingerprint. 192 bits of SHA-256 in 32 characters: an order's first item over 1 KB is billed twice.
    """
    return base64.urlsafe_b64encode(hashlib.sha256(_canonical.encode(request)).digest()[:24]).decode()


def fingerprint_v1(event: ApiEvent) -> str | None:
    """Return the fingerprint that version 1.0 gave to the request, valid today or not; None if version 1.0 refused it."""
    try:
        return fingerprint(msgspec.convert(parse_document(body_bytes(event)), FormerRequest))
    except (Problem, msgspec.ValidationError, UnicodeEncodeError):
        return None


def _untrimmed(document: Any, request: PlaceOrderRequest) -> PlaceOrderRequest:
    """Return the request with its texts as they were sent, as in the fingerprints that are stored."""
    try:
        return msgspec.convert(document, PlaceOrderRequest)
    except msgspec.ValidationError:
        return request
