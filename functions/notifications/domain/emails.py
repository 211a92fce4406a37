"""The mails that events of an order lead to. No AWS here.

A mail says what the customer has to know and no more: no address, nothing of how fraud is judged, and
of the payment only whether there was one. It depends on the event alone, so a mail that is sent again
is the same mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orderflow.domain import email_address
from orderflow.domain.events import (
    CancelledBy,
    Event,
    Line,
    OrderCancelled,
    OrderConfirmed,
    OrderHeldForReview,
    OrderLinesCancelled,
    OrderRejected,
    PaymentRefunded,
    RejectionReason,
    ShipmentDispatched,
    StockLine,
)
from orderflow.domain.money import format_money


class NoEmail(ValueError):
    """No mail can be made of this event."""


class Email(NamedTuple):
    """A plain text mail."""

    to: str
    subject: str
    text: str


_REASONS: dict[RejectionReason, str] = {
    "out_of_stock": "Something you ordered is no longer in stock in the quantity you asked for.",
    "fraud_refused": "We are not able to accept this order.",
    "payment_declined": "Your bank or card issuer declined the payment.",
    "review_rejected": "We have looked at this order and are not able to accept it.",
    "review_timed_out": "We had to check this order and did not get to it in time. You are welcome to order again.",
    "fulfilment_failed": "Something went wrong on our side and we could not complete it.",
}

_BY: dict[CancelledBy, str] = {
    "customer": "As you asked, we have cancelled",
    "operator": "We are sorry: we had to cancel",
}
_NOT_CHARGED = "You have not been charged. Should your bank show an amount set aside for us, it is released.\n"


def compose(event: Event) -> Email:
    """Return the mail to the customer that the event calls for.

    Raises:
        Unmailable: the event calls for none, or has no address to send it to.
    """
    match event.data:
        case OrderConfirmed() as data:
            mail = Email(_address(data.customer.email), *_confirmed(event.order_id, data))
        case OrderRejected() as data:
            mail = Email(_address(data.customer.email), *_rejected(event.order_id, data))
        case OrderHeldForReview() as data:
            mail = Email(_address(data.customer.email), *_held(event.order_id, data))
        case OrderCancelled() as data:
            mail = Email(_address(data.customer.email), *_cancelled(event.order_id, data))
        case OrderLinesCancelled() as data:
            mail = Email(_address(data.customer.email), *_lines_cancelled(event.order_id, data))
        case ShipmentDispatched() as data:
            mail = Email(_address(data.customer.email), *_dispatched(event.order_id, data))
        case PaymentRefunded() as data:
            mail = Email(_address(data.customer.email), *_refunded(event.order_id, data))
        case _:
            message = f"no mail is sent for {event.type}"
            raise NoEmail(message)
    return mail


def _confirmed(order_id: str, data: OrderConfirmed) -> tuple[str, str]:
    return f"Your order {order_id} is confirmed", (
        f"Thank you for your order {order_id}.\n\n"
        f"{_priced_lines(data.lines)}\n\nTotal: {format_money(data.total)}\n\n"
        "Your payment is authorized. We charge it when your order leaves our warehouse.\n"
    )


def _rejected(order_id: str, data: OrderRejected) -> tuple[str, str]:
    return f"We could not complete your order {order_id}", (
        f"We are sorry: your order {order_id} was not completed.\n\n{_REASONS[data.reason]}\n\n"
        f"{_priced_lines(data.lines)}\n\nTotal: {format_money(data.total)}\n\n"
        f"{_NOT_CHARGED}"
    )


def _held(order_id: str, data: OrderHeldForReview) -> tuple[str, str]:
    return f"We are checking your order {order_id}", (
        f"Thank you for your order {order_id} over {format_money(data.total)}.\n\n"
        "A colleague looks at it before we go on. You need not do anything and have not been charged;\n"
        "we write to you again as soon as it is decided.\n"
    )


def _cancelled(order_id: str, data: OrderCancelled) -> tuple[str, str]:
    return f"Your order {order_id} is cancelled", (
        f"{_BY[data.by]} your order {order_id}.\n\n{_priced_lines(data.lines)}\n\nTotal: {format_money(data.total)}\n\n{_NOT_CHARGED}"
    )


def _lines_cancelled(order_id: str, data: OrderLinesCancelled) -> tuple[str, str]:
    return f"The rest of your order {order_id} is cancelled", (
        f"{_BY[data.by]} what had not left yet of your order {order_id}.\n\n{_stock_lines(data.lines)}\n\n"
        f"You are not charged the {format_money(data.amount)} that this would have cost. What is on its way will arrive.\n"
    )


def _dispatched(order_id: str, data: ShipmentDispatched) -> tuple[str, str]:
    rest = "Nothing of your order is missing now." if data.complete else "The rest of your order follows."
    return f"Your order {order_id} is on its way", (
        f"A parcel of your order {order_id} has left our warehouse.\n\n{_stock_lines(data.lines)}\n\n"
        f"We charge {format_money(data.amount)} for it. {rest}\n"
    )


def _refunded(order_id: str, data: PaymentRefunded) -> tuple[str, str]:
    what = "a parcel of it was lost on its way" if data.cause.startswith("parcel:") else "what you sent back has arrived"
    return f"We have paid you back for your order {order_id}", (
        f"We have paid back {format_money(data.amount)} for your order {order_id}: {what}.\n\n"
        "It goes the way you paid. Your bank may take some days to show it.\n"
    )


def _priced_lines(lines: Sequence[Line]) -> str:
    return "\n".join(f"{line.quantity} x {line.name}: {format_money(line.unit_price.times(line.quantity))}" for line in lines)


def _stock_lines(lines: Sequence[StockLine]) -> str:
    return "\n".join(f"{line.quantity} x {line.sku}" for line in lines)


def _address(email: str) -> str:
    try:
        return email_address.for_ses(email)
    except email_address.Undeliverable as error:
        message = f"the customer's email address cannot be sent to: {error}"
        raise NoEmail(message) from None
