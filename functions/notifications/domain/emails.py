"""The text of the emails to customers, one for each kind of event. Pure rules, without AWS.

An email contains no address, no fraud score or reason, and about the payment only whether the customer is charged.
It depends on the event alone, so sending it again sends the same text.
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
    ParcelConditionAlerted,
    PaymentRefunded,
    RejectionReason,
    ShipmentDispatched,
    StockLine,
)
from orderflow.domain.money import format_money


class NoEmail(ValueError):
    """The event leads to no email, or the customer has no usable address."""


class Email(NamedTuple):
    """A plain text email."""

    to: str
    subject: str
    text: str


_REASONS: dict[RejectionReason, str] = {
    "out_of_stock": "A product of your order is no longer in stock in the quantity you ordered.",
    "fraud_refused": "We cannot accept this order.",
    "payment_declined": "Your bank or card issuer declined the payment.",
    "review_rejected": "We have reviewed this order and cannot accept it.",
    "review_timed_out": "We had to review this order and could not finish in time. You are welcome to order again.",
    "fulfilment_failed": "Something went wrong on our side and we could not complete it.",
}

_CANCELLED_BY: dict[CancelledBy, str] = {
    "customer": "As you asked, we have cancelled",
    "operator": "We are sorry: we had to cancel",
}
_NOT_CHARGED = "You have not been charged. If your bank shows a pending amount for this order, it will be released.\n"


def compose(event: Event) -> Email:
    """Return the email that an event leads to.

    Raises:
        NoEmail: the event leads to no email, or its customer has no usable address.
    """
    match event.data:
        case OrderConfirmed() as data:
            email = Email(_address(data.customer.email), *_confirmed(event.order_id, data))
        case OrderRejected() as data:
            email = Email(_address(data.customer.email), *_rejected(event.order_id, data))
        case OrderHeldForReview() as data:
            email = Email(_address(data.customer.email), *_held(event.order_id, data))
        case OrderCancelled() as data:
            email = Email(_address(data.customer.email), *_cancelled(event.order_id, data))
        case OrderLinesCancelled() as data:
            email = Email(_address(data.customer.email), *_lines_cancelled(event.order_id, data))
        case ShipmentDispatched() as data:
            email = Email(_address(data.customer.email), *_dispatched(event.order_id, data))
        case ParcelConditionAlerted(cause="goods_spoiled") as data:
            email = Email(_address(data.customer.email), *_spoiled(event.order_id, data))
        case PaymentRefunded() as data:
            email = Email(_address(data.customer.email), *_refunded(event.order_id, data))
        case _:
            message = f"no email is sent for {event.type}"
            raise NoEmail(message)
    return email


def leads_to_email(event: Event) -> bool:
    """Return whether an event with an operator alert leads to an email as well."""
    return isinstance(event.data, ParcelConditionAlerted) and event.data.cause == "goods_spoiled"


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
        "A member of our team is reviewing it. You do not need to do anything, and you have not been charged.\n"
        "We will email you as soon as the review is complete.\n"
    )


def _cancelled(order_id: str, data: OrderCancelled) -> tuple[str, str]:
    return f"Your order {order_id} is cancelled", (
        f"{_CANCELLED_BY[data.by]} your order {order_id}.\n\n{_priced_lines(data.lines)}\n\n"
        f"Total: {format_money(data.total)}\n\n{_NOT_CHARGED}"
    )


def _lines_cancelled(order_id: str, data: OrderLinesCancelled) -> tuple[str, str]:
    return f"The rest of your order {order_id} is cancelled", (
        f"{_CANCELLED_BY[data.by]} the items of your order {order_id} that had not been shipped.\n\n{_stock_lines(data.lines)}\n\n"
        f"You are not charged {format_money(data.amount)} for these items. Items that were already shipped will arrive.\n"
    )


def _dispatched(order_id: str, data: ShipmentDispatched) -> tuple[str, str]:
    rest = "This completes your order." if data.complete else "The rest of your order follows."
    return f"Your order {order_id} is on its way", (
        f"A parcel of your order {order_id} has left our warehouse.\n\n{_stock_lines(data.lines)}\n\n"
        f"We charge {format_money(data.amount)} for this parcel. {rest}\n"
    )


def _spoiled(order_id: str, data: ParcelConditionAlerted) -> tuple[str, str]:
    return f"Goods of your order {order_id} have spoiled", (
        f"We are sorry: a parcel of your order {order_id} was transported at the wrong temperature. Please do not use these items:\n\n"
        f"{_stock_lines(data.lines)}\n\n"
        "You can return them as soon as the parcel is delivered, without a time limit: create a return with the reason code `spoiled`.\n"
        "We refund their price when the return arrives.\n"
    )


def _refunded(order_id: str, data: PaymentRefunded) -> tuple[str, str]:
    reason = "A parcel was lost in transit." if data.cause.startswith("parcel:") else "We have received your return."
    return f"Your refund for order {order_id}", (
        f"We have refunded {format_money(data.amount)} for your order {order_id}. {reason}\n\n"
        "The refund goes to the payment method you used. Your bank may take some days to show it.\n"
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
