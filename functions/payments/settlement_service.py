"""Authorizes, captures, refunds and voids an order's payment. Every operation is idempotent and can be re-run at any time.

The provider's idempotency keys are derived from the order id and the step, parcel or return, so there is one
authorization per order, one capture per parcel and one refund per cause. A lost answer is looked up. A failure is
recorded on the log before the payment is voided, and the void closes the key at the provider: an authorization still in
flight returns voided and is not recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn

from orderflow.aws.observability import logger
from orderflow.aws.order_log import Recorded
from orderflow.aws.payment_tokens import TokenNotFound
from orderflow.domain.commands import (
    RecordAuthorization,
    RecordCapture,
    RecordDecline,
    RecordRefund,
    RecordRefundFailure,
    RecordVoid,
    Refusal,
    decide,
)
from orderflow.domain.order import Order, saga_blocker, step_blocker
from payments import operator_alerts, provider_requests
from payments.domain import amounts_due
from payments.domain.payment_keys import payment_key, refund_keys
from payments.provider import Authorized, Declined, Payment, PaymentProvider, Refund, Voided

if TYPE_CHECKING:
    from orderflow.aws.order_log import OrderLog
    from orderflow.aws.payment_tokens import PaymentTokens

AuthorizeOutcome = Literal["authorized", "declined", "failing", "cancelling", "held", "inactive", "unreserved"]
VoidOutcome = Literal["voided", "nothing_to_void", "inactive"]

_SOURCE = "payments"


class InconsistentPayment(RuntimeError):
    """Order and payment disagree, or a step was skipped."""


class RefundFailed(RuntimeError):
    """A refund failed at the provider, and attempts are left; a later retry can succeed."""


def authorize(log: OrderLog, tokens: PaymentTokens, provider: PaymentProvider, order_id: str) -> AuthorizeOutcome:
    """Authorize the order's total, record the result, delete the payment token, and return the outcome.

    Raises:
        OrderNotFound: the order is unknown.
        InconsistentPayment: the order is not screened, its payment was voided without a recorded failure, or its token has expired.
        ProviderTimeout: the provider did not answer and does not know the payment.
        ProviderUnavailable: the provider does not accept requests.
    """
    order = log.load(order_id)
    known = _outcome(order)
    if not known:
        if isinstance(decide(order, RecordAuthorization("")), Refusal):
            _raise_inconsistent(order, "the order must be screened before it is authorized")
        try:
            token = tokens.read(order_id)
        except TokenNotFound:
            # A concurrent run of the saga records the outcome before it deletes the token.
            order = log.load(order_id)
            if known := _outcome(order):
                return known
            token = log.payment_token_v1(order_id) or _raise_inconsistent(order, "the payment token has expired")
        order = _record_authorization(log, order, provider_requests.authorize(provider, order, token))
        known = _outcome(order) or _raise_inconsistent(order, "the provider voided the payment")
    if order.payment in {"authorized", "declined"}:
        tokens.delete(order_id)
    return known


def settle(log: OrderLog, provider: PaymentProvider, order_id: str) -> Order:
    """Capture, refund and void until nothing is due, and return the order.

    A pending refund stays due, and no event records it as paid.

    Raises:
        OrderNotFound: the order is unknown.
        InconsistentPayment: the provider and the log disagree on the captured amount.
        RefundFailed: a refund failed and attempts are left.
        ProviderRefused: the provider's payment does not allow the request, e.g. its authorization expired.
        ProviderTimeout: the provider did not answer and does not show the effect.
        ProviderUnavailable: the provider does not accept requests.
    """
    before = log.load(order_id)
    order = _settle_due(log, provider, before)
    if unpaid := amounts_due.unpaid(order):
        operator_alerts.alert_operator("refund_not_paid", order_id=order_id, unpaid=unpaid, currency=order.total.currency)
    failures = [sum(not attempt.refunded for attempt in one.refunds) for one in (before, order)]
    if failures[0] < failures[1] and any(isinstance(one, amounts_due.Refund) for one in amounts_due.due(order)):
        message = f"a refund of order {order_id} failed; it is retried"
        raise RefundFailed(message)
    return order


def record_failed_refunds(log: OrderLog, provider: PaymentProvider, order_id: str) -> None:
    """Record refunds that failed at the provider after the log recorded them as paid, so that they are due again.

    Raises:
        OrderNotFound: the order is unknown.
        ProviderUnavailable: the provider does not accept requests.
    """
    order = log.load(order_id)
    causes = refund_keys(order)
    for refund in provider_requests.movements(provider, payment_key(order_id)).refunds:
        if refund.status == "failed" and refund.key in causes:
            order = _record_refund_failure(log, order, causes[refund.key], refund)


def void(log: OrderLog, provider: PaymentProvider, order_id: str) -> VoidOutcome:
    """Void the payment of an order that is compensated, also if the log has no authorization.

    The dispatched parcels of a cancelled order are captured first.

    Raises:
        OrderNotFound: the order is unknown.
        InconsistentPayment: no failure or cancellation is recorded, or provider and log disagree on the payment.
        ProviderRefused: the authorization does not cover a capture that is due.
        ProviderTimeout: the provider did not answer and has not voided the payment.
        ProviderUnavailable: the provider does not accept requests.
    """
    order = log.load(order_id)
    if saga_blocker(order) == "inactive":
        return "inactive"
    if order.state not in {"failing", "cancelling"}:
        _raise_inconsistent(order, "a failure or cancellation must be recorded before the void")
    order = _settle_due(log, provider, order)
    if order.payment == "none":
        order = _void_remainder(log, order, provider_requests.void(provider, order))
    if order.payment == "authorized":
        _raise_inconsistent(order, "the shipment of a confirmed order must be recalled before the void")
    return "voided" if order.payment in {"voided", "captured"} else "nothing_to_void"


def _outcome(order: Order) -> AuthorizeOutcome | None:
    """Return the recorded outcome of the authorization, or None if the provider has to be asked."""
    if order.state == "failing" and order.payment == "declined":
        return "declined"
    return step_blocker(order) or ("authorized" if order.payment == "authorized" else None)


def _record_authorization(log: OrderLog, order: Order, payment: Payment) -> Order:
    match payment:
        case Authorized(authorization_id=authorization_id):
            return log.record(order, RecordAuthorization(authorization_id), source=_SOURCE).order
        case Declined(code=code):
            return log.record(order, RecordDecline(code), source=_SOURCE).order
        case Voided():
            return log.load(order.order_id)


def _settle_due(log: OrderLog, provider: PaymentProvider, order: Order) -> Order:
    """Settle the amounts due. Each refund is requested once per cause, and stays due if it is pending or failed."""
    requested: set[str] = set()
    while due := [one for one in amounts_due.due(order) if getattr(one, "cause", None) not in requested]:
        match due[0]:
            case amounts_due.Capture(parcel_id, amount):
                capture_id = provider_requests.capture(provider, order.order_id, parcel_id, amount)
                order = log.record(order, RecordCapture(parcel_id, capture_id), source=_SOURCE).order
            case amounts_due.Refund() as owed:
                requested.add(owed.cause)
                order = _refund(log, provider, order, owed)
            case amounts_due.VoidRemainder():
                order = _void_remainder(log, order, provider_requests.void(provider, order))
    return order


def _refund(log: OrderLog, provider: PaymentProvider, order: Order, owed: amounts_due.Refund) -> Order:
    refund = provider_requests.refund(provider, order.order_id, owed)
    match refund:
        case Refund(status="succeeded"):
            return log.record(order, RecordRefund(refund.refund_id, owed.cause, refund.amount), source=_SOURCE).order
        case Refund(status="failed"):
            return _record_refund_failure(log, order, owed.cause, refund)
        case Refund():
            logger.info("refund_pending", refund_id=refund.refund_id, cause=owed.cause)
        case None:
            operator_alerts.alert_operator("refund_exceeds_payment", order_id=order.order_id, cause=owed.cause, owed=owed.amount.amount)
    return order


def _record_refund_failure(log: OrderLog, order: Order, cause: str, refund: Refund) -> Order:
    result = log.record(order, RecordRefundFailure(refund.refund_id, cause, refund.amount, refund.reason), source=_SOURCE)
    if isinstance(result, Recorded) and result.events:
        operator_alerts.alert_operator(
            "refund_failed", order_id=order.order_id, refund_id=refund.refund_id, cause=cause, reason=refund.reason
        )
    return result.order


def _void_remainder(log: OrderLog, order: Order, payment: Payment) -> Order:
    if isinstance(payment, Authorized | Voided) and payment.captured != order.captured:
        _raise_inconsistent(order, f"the provider captured {payment.captured}, the log has {order.captured}")
    if isinstance(payment, Voided) and payment.authorization_id:
        return log.record(order, RecordVoid(payment.authorization_id), source=_SOURCE).order
    if order.payment == "authorized":
        _raise_inconsistent(order, f"the provider does not know the authorization {order.authorization_id}")
    return order


def _raise_inconsistent(order: Order, reason: str) -> NoReturn:
    message = f"order {order.order_id} is {order.state} with payment {order.payment}: {reason}"
    raise InconsistentPayment(message)
