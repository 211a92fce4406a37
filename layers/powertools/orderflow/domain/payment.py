"""Payment: the total is authorized, captured parcel by parcel, voided or refunded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orderflow.domain.event import EventData
from orderflow.domain.money import Money
from orderflow.domain.order_state import SHIPPABLE, Parcel, RefundAttempt, corrected, failing, is_stopped
from orderflow.domain.registry import Command, decides, evolves, refuse
from orderflow.domain.returns import changed_return
from orderflow.domain.shipping import changed_parcel
from orderflow.domain.values import Customer

if TYPE_CHECKING:
    from orderflow.domain.event import Event
    from orderflow.domain.order_state import Order, Return
    from orderflow.domain.registry import Decision


class PaymentAuthorized(EventData, frozen=True):
    """The provider holds the amount under `authorization_id`."""

    authorization_id: str
    amount: Money


class PaymentDeclined(EventData, frozen=True):
    """The provider declined the authorization. The order can only be rejected."""

    code: str
    amount: Money


class PaymentVoided(EventData, frozen=True):
    """The uncaptured part of the authorization, `amount`, was released."""

    authorization_id: str
    amount: Money


class PaymentCaptured(EventData, frozen=True):
    """The price of a parcel was captured."""

    authorization_id: str
    capture_id: str
    parcel_id: str
    amount: Money


class PaymentRefunded(EventData, frozen=True):
    """Captured money was refunded; `cause` names the return or the lost parcel (`return:…`, `parcel:…`)."""

    customer: Customer
    refund_id: str
    cause: str
    amount: Money


class PaymentRefundFailed(EventData, frozen=True):
    """The provider accepted a refund and did not execute it. No money moved; `amount` is still due for `cause`."""

    refund_id: str
    cause: str
    amount: Money
    reason: str


class PaymentRefundReversed(EventData, frozen=True):
    """A recorded refund failed later: the provider returned `amount`, which is due to the customer again."""

    refund_id: str
    cause: str
    amount: Money
    reason: str


class RecordAuthorization(Command, frozen=True):
    """Record the provider's authorization of the order's total."""

    authorization_id: str


class RecordDecline(Command, frozen=True):
    """Record that the provider declined the order's total."""

    code: str


class RecordVoid(Command, frozen=True):
    """Record that the provider voided the uncaptured amount of an authorization."""

    authorization_id: str


class RecordCapture(Command, frozen=True):
    """Record the capture for a parcel."""

    parcel_id: str
    capture_id: str


class RecordRefund(Command, frozen=True):
    """Record a refund for a lost parcel (`parcel:…`) or a received return (`return:…`): of `amount`, or of all that is owed."""

    refund_id: str
    cause: str
    amount: Money | None = None


class RecordRefundFailure(Command, frozen=True):
    """Record that an accepted refund failed, before or after it was recorded."""

    refund_id: str
    cause: str
    amount: Money
    reason: str


@decides(RecordAuthorization)
def _authorize(order: Order, command: RecordAuthorization) -> Decision:
    if order.payment in {"authorized", "captured"}:
        return ()
    return (PaymentAuthorized(command.authorization_id, order.total),) if _is_payable(order) else refuse(order, command)


@decides(RecordDecline)
def _decline(order: Order, command: RecordDecline) -> Decision:
    if order.payment == "declined":
        return ()
    return (PaymentDeclined(command.code, order.total),) if _is_payable(order) else refuse(order, command)


@decides(RecordVoid)
def _void(order: Order, command: RecordVoid) -> Decision:
    if order.payment in {"voided", "captured"}:
        return ()
    if not _is_voidable(order):
        return refuse(order, command)
    rest = Money(order.total.amount - order.captured, order.total.currency)
    voided = PaymentVoided(command.authorization_id, rest)
    # An authorization whose answer was lost is recorded first, so that the ledger sees both.
    return (voided,) if order.authorization_id else (PaymentAuthorized(command.authorization_id, order.total), voided)


@decides(RecordCapture)
def _capture(order: Order, command: RecordCapture) -> Decision:
    parcel = order.parcels.get(command.parcel_id)
    if parcel and parcel.capture_id:
        return ()
    if parcel is None or order.payment != "authorized" or order.authorization_id is None:
        return refuse(order, command)
    return (PaymentCaptured(order.authorization_id, command.capture_id, parcel.parcel_id, parcel.amount),)


@decides(RecordRefund)
def _refund(order: Order, command: RecordRefund) -> Decision:
    if order.refunds.get(command.refund_id):
        return ()
    owed = owed_for(order, command.cause)
    if isinstance(owed, str):
        return refuse(order, command, owed)
    if not owed.amount:
        return ()
    # An amount that the provider reports is recorded as it is; without one, the refund never exceeds the captured amount.
    amount = command.amount or Money(min(owed.amount, order.captured - order.refunded), owed.currency)
    if amount.amount <= 0:
        return refuse(order, command, f"no more than the {order.captured} captured can be refunded")
    return (PaymentRefunded(order.customer, command.refund_id, command.cause, amount),)


@decides(RecordRefundFailure)
def _fail_refund(order: Order, command: RecordRefundFailure) -> Decision:
    known = order.refunds.get(command.refund_id)
    if known:
        reversed_ = PaymentRefundReversed(known.refund_id, known.cause, known.amount, command.reason)
        return (reversed_,) if known.refunded else ()
    owed = owed_for(order, command.cause)
    if isinstance(owed, str):
        return refuse(order, command, owed)
    return (PaymentRefundFailed(command.refund_id, command.cause, command.amount, command.reason),)


def owed_for(order: Order, cause: str) -> Money | str:
    """Return the amount still to refund for a lost parcel or a received return, or the reason why there is none."""
    _, _, name = cause.partition(":")
    due = _refundable_part(order, cause)
    if due is None:
        return f"the order has no {cause}"
    if isinstance(due, Parcel) and (due.state != "lost" or due.capture_id is None):
        return f"parcel {name} is not lost, or was never paid for"
    if due.amount is None:
        return f"return {name} was not received yet"
    return Money(max(0, due.amount.amount - due.refunded), due.amount.currency)


def _refundable_part(order: Order, cause: str) -> Parcel | Return | None:
    kind, _, name = cause.partition(":")
    if kind == "parcel":
        return order.parcels.get(name)
    return order.returns.get(name) if kind == "return" else None


def _is_payable(order: Order) -> bool:
    screened = order.screening is not None and (order.screening.decision == "approve" or order.review_approved)
    return order.state == "placed" and order.reservation == "held" and screened and order.payment == "none"


def _is_voidable(order: Order) -> bool:
    """Return whether the rest of the authorization can be voided: every parcel is paid for, and nothing more will be dispatched."""
    if order.payment == "declined" or any(parcel.capture_id is None for parcel in order.parcels):
        return False
    return is_stopped(order) or (order.confirmed_at is not None and order.state not in SHIPPABLE)


@evolves(PaymentAuthorized, appended_by="payments")
def _authorized(order: Order, data: PaymentAuthorized, _event: Event) -> Order:
    return replace(order, payment="authorized", authorization_id=data.authorization_id)


@evolves(PaymentDeclined, appended_by="payments")
def _declined(order: Order, data: PaymentDeclined, _event: Event) -> Order:
    return failing(replace(order, payment="declined"), "payment_declined", data.code)


@evolves(PaymentVoided, appended_by="payments")
def _voided(order: Order, _data: PaymentVoided, _event: Event) -> Order:
    return replace(order, payment="captured" if order.captured else "voided")


@evolves(PaymentCaptured, appended_by="payments")
def _captured(order: Order, data: PaymentCaptured, _event: Event) -> Order:
    captured = order.captured + data.amount.amount
    return replace(
        order,
        captured=captured,
        payment="captured" if captured == order.total.amount else order.payment,
        parcels=changed_parcel(order, data.parcel_id, capture_id=data.capture_id),
    )


@evolves(PaymentRefunded, appended_by="payments")
def _refunded(order: Order, data: PaymentRefunded, event: Event) -> Order:
    # The goods are credited once and in full, however many refunds it takes.
    if order.corrections.get(data.cause) is None:
        due = _refundable_part(order, data.cause)
        amount = due.amount if due and due.amount else data.amount
        order = corrected(order, data.cause, due.lines if due else (), amount, event)
    attempt = RefundAttempt(data.refund_id, data.cause, data.amount, refunded=True)
    return _with_refund(order, attempt, data.amount.amount)


@evolves(PaymentRefundFailed, appended_by="payments")
def _refund_failed(order: Order, data: PaymentRefundFailed, _event: Event) -> Order:
    return _with_refund(order, RefundAttempt(data.refund_id, data.cause, data.amount, refunded=False), 0)


@evolves(PaymentRefundReversed, appended_by="payments")
def _refund_reversed(order: Order, data: PaymentRefundReversed, _event: Event) -> Order:
    attempt = RefundAttempt(data.refund_id, data.cause, data.amount, refunded=False)
    return _with_refund(order, attempt, -data.amount.amount)


def _with_refund(order: Order, attempt: RefundAttempt, amount: int) -> Order:
    """Return the order with this attempt, and `amount` minor units more (or less) refunded for its cause."""
    _, _, name = attempt.cause.partition(":")
    part = _refundable_part(order, attempt.cause)
    refunded = part.refunded + amount if part else 0
    return replace(
        order,
        refunded=order.refunded + amount,
        refunds=order.refunds.put(attempt.refund_id, attempt),
        parcels=changed_parcel(order, name, refunded=refunded) if isinstance(part, Parcel) else order.parcels,
        returns=changed_return(order, name, refunded=refunded) if part and not isinstance(part, Parcel) else order.returns,
    )
