"""What a client sends and what it gets: the shapes of the HTTP API."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from orderflow.aws.http import ApiEvent, Problem, body_of, decoded, document_of, header, shaped
from orderflow.domain import events
from orderflow.domain.countries import POSTAL_CODE_REQUIRED, Country
from orderflow.domain.events import Line, Quantity, Sku, StockLine
from orderflow.domain.money import Money

# A reservation writes each line, its own row and its event in one transaction of 100; half of them is for lines on several shelves.
MAX_LINES = 50
MAX_KEY_LENGTH = 255
MAX_REASON_LENGTH = 500
MAX_LIMIT = 50
DEFAULT_LIMIT = 20

Reason = Annotated[str, Meta(max_length=MAX_REASON_LENGTH)]
ShownState = Literal[
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
    """How many of which product; the price is never the client's to say."""

    sku: Sku
    quantity: Quantity


class Address(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A postal address. Of `postal_code`, `street2` and `region` (state or province) an address has what its country uses."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    street: Annotated[str, Meta(min_length=1, max_length=200)]
    city: Annotated[str, Meta(min_length=1, max_length=100)]
    postal_code: Annotated[str, Meta(max_length=20)] = ""
    country: Country
    street2: Annotated[str, Meta(max_length=200)] = ""
    region: Annotated[str, Meta(max_length=100)] = ""

    def __post_init__(self) -> None:
        """Hold the address to what its country needs."""
        for field, what in self.missing({"country": self.country, "postal_code": self.postal_code}):
            message = f"{field}: {what}"
            raise ValueError(message)

    @staticmethod
    def missing(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the fields that the country asks for and the address does not have, with why."""
        country = document.get("country")
        if isinstance(country, str) and country in POSTAL_CODE_REQUIRED and not document.get("postal_code"):
            yield "postal_code", f"an address in {country} has one"

    def known(self) -> events.Address:
        """Return it as events carry it, whose readers take fields that they do not know."""
        return events.Address(self.name, self.street, self.city, self.postal_code, self.country, street2=self.street2, region=self.region)


class Payment(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The provider's one-time token for a means of payment, and the country that issued it."""

    token: Annotated[str, Meta(min_length=1, max_length=255)]
    country: Country


class PlaceOrderRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The body of `POST /orders`."""

    lines: Annotated[tuple[RequestedLine, ...], Meta(min_length=1, max_length=MAX_LINES)]
    shipping_address: Address
    payment: Payment


class FormerPayment(Struct, frozen=True, forbid_unknown_fields=True):
    """A `Payment` as it was checked up to version 1.0."""

    token: Annotated[str, Meta(min_length=1, max_length=255)]
    country: events.Country


class FormerRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A `PlaceOrderRequest` as it was checked up to version 1.0: texts of any characters, countries of any two letters."""

    lines: Annotated[tuple[RequestedLine, ...], Meta(min_length=1, max_length=MAX_LINES)]
    shipping_address: events.Address
    payment: FormerPayment


class CancelOrderRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /orders/{order_id}/cancellation`; there may be none."""

    reason: Reason = ""


class SendBackRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /orders/{order_id}/returns`."""

    lines: Annotated[tuple[RequestedLine, ...], Meta(min_length=1, max_length=MAX_LINES)]
    reason: Reason = ""


class ParcelAnswer(Struct, frozen=True, omit_defaults=True):
    """A part of an order that left."""

    parcel_id: str
    lines: tuple[StockLine, ...]
    state: Literal["dispatched", "delivered", "lost"]
    delivered_at: datetime | None = None


class ReturnAnswer(Struct, frozen=True, omit_defaults=True):
    """What the owner of an order sends back; `amount` is what it cost, known once it came."""

    return_id: str
    state: Literal["requested", "received", "refunded"]
    lines: tuple[StockLine, ...]
    requested_at: datetime
    reason: str = ""
    amount: Money | None = None


class OrderAnswer(Struct, frozen=True, omit_defaults=True):
    """An order as its owner sees it.

    `captured` is the money that was taken for what left, `refunded` what was given back of it, and `charged_back` what
    the customer's bank took back by disputes that are open or lost. `cancelled` are the lines that will not leave
    although others did.
    """

    order_id: str
    state: ShownState
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


class OrderSummary(Struct, frozen=True):
    """An order on the list of its owner; `items` counts pieces, `updated_at` is when the list last changed for it."""

    order_id: str
    state: ShownState
    total: Money
    items: int
    placed_at: datetime
    updated_at: datetime


class OrderList(Struct, frozen=True, omit_defaults=True):
    """A page of a customer's orders, newest first; `next` is the cursor of the following one, where there is one."""

    orders: tuple[OrderSummary, ...]
    next: str | None = None


class TimelineEntry(Struct, frozen=True, omit_defaults=True):
    """One event of an order as its owner sees it; `recorded_at` where what is reported occurred at another time than it was recorded."""

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


def parse(event: ApiEvent) -> tuple[PlaceOrderRequest, str]:
    """Return the order that an API Gateway event asks for, and the fingerprint of the request.

    Raises:
        Problem: 413 over 64 KB, 400 for what is not UTF-8 or not JSON, 422 for another shape.
    """
    document = document_of(body_of(event))
    request = shaped(document, PlaceOrderRequest)
    return request, fingerprint(_as_sent(document, request))


def former_fingerprint(event: ApiEvent) -> str | None:
    """Return the fingerprint of a request that version 1.0 took, whatever is wrong with it today; None for one that it did not take."""
    try:
        return fingerprint(msgspec.convert(document_of(body_of(event)), FormerRequest))
    except (Problem, msgspec.ValidationError, UnicodeEncodeError):
        return None


def cancellation(event: ApiEvent) -> CancelOrderRequest:
    """Return why an API Gateway event asks to cancel an order. Raises what `parse` raises."""
    body = body_of(event)
    return decoded(body, CancelOrderRequest) if body else CancelOrderRequest()


def sending_back(event: ApiEvent) -> SendBackRequest:
    """Return what an API Gateway event asks to send back. Raises what `parse` raises."""
    return decoded(body_of(event), SendBackRequest)


def sending_back_as_sent(event: ApiEvent) -> SendBackRequest:
    """Return the same, its texts neither trimmed nor checked for characters that are no text.

    Raises:
        Problem, ValidationError (msgspec's): it is no such request.
    """
    return msgspec.convert(document_of(body_of(event)), SendBackRequest)


def idempotency_key(event: ApiEvent) -> str:
    """Return the request's Idempotency-Key.

    Raises:
        Problem: 400 when it is missing, longer than 255 characters, or not printable ASCII.
    """
    key = header(event, "Idempotency-Key") or ""
    if not key.strip():
        detail = "send an Idempotency-Key header, the same one whenever you repeat this request"
        raise Problem(400, "idempotency-key-missing", "Idempotency-Key missing", detail)
    if len(key) > MAX_KEY_LENGTH or not (key.isascii() and key.isprintable()):
        detail = f"an Idempotency-Key has 1 to {MAX_KEY_LENGTH} printable ASCII characters"
        raise Problem(400, "idempotency-key-invalid", "Idempotency-Key invalid", detail)
    return key


def _as_sent(document: Any, request: PlaceOrderRequest) -> PlaceOrderRequest:
    """Return the request without its texts being trimmed: so does the fingerprint of an order that is stored already."""
    try:
        return msgspec.convert(document, PlaceOrderRequest)
    except msgspec.ValidationError:
        return request


def fingerprint(request: PlaceOrderRequest | FormerRequest) -> str:
    """Return what tells the contents of a request from others', whatever their white space and field order.

    It takes fields in the order in which they are defined and leaves out defaults: an optional field that is added
    at the end of a model changes no fingerprint that is stored. 192 bits of their SHA-256
    in 32 characters, because what an order's first item has over 1 KB is billed twice.
    """
    return base64.urlsafe_b64encode(hashlib.sha256(_canonical.encode(request)).digest()[:24]).decode()
