"""Authorizing, capturing, refunding and voiding an order's payment so that running any of it again, at any time, is harmless.

The provider's keys are made of the order id and the step, parcel or return, so however often something runs there is one
authorization, one capture for a parcel, and one refund for its cause. An answer that is lost is looked up. An order that
is undone is sealed at the log before it is voided, and the void closes the key at the provider: an authorization still
under way comes back voided, and is not recorded.
"""

from __future__ import annotations

from collections import Counter
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
from orderflow.domain.money import Money, charge_step
from orderflow.domain.order import Order, saga_blocker, step_blocker
from payments import operator_alerts
from payments.domain import amounts_due
from payments.provider import (
    Authorized,
    Contradiction,
    Declined,
    Movements,
    Payment,
    PaymentProvider,
    ProviderRefused,
    ProviderTimeout,
    Refund,
    Voided,
)

if TYPE_CHECKING:
    from orderflow.aws.order_log import OrderLog
    from orderflow.aws.payment_tokens import PaymentTokens

AuthorizeOutcome = Literal["authorized", "declined", "failing", "cancelling", "held", "inactive", "unreserved"]
VoidOutcome = Literal["voided", "nothing_to_void", "inactive"]

_SOURCE = "payments"


class InconsistentPayment(RuntimeError):
    """The order or its payment is not where the step needs it: a step was left out, or the two disagree."""


class RefundFailed(RuntimeError):
    """A refund failed at the provider and was not tried for the last time; trying later may help."""


def payment_key(order_id: str) -> str:
    """Return the provider's idempotency key for authorizing the order's payment."""
    return f"{order_id}:authorize"


def order_id_of(payment_key: str) -> str | None:
    """Return whose payment has this key, None for a key that is none of ours."""
    order_id, _, step = payment_key.rpartition(":")
    return order_id if order_id and step == "authorize" else None


def capture_key(order_id: str, parcel_id: str) -> str:
    """Return the provider's idempotency key for taking the money for a parcel."""
    return f"{order_id}:capture:{parcel_id}"


def refund_key(order_id: str, cause: str, number: int = 1) -> str:
    """Return the provider's idempotency key for the refund of this number that a lost parcel or a return made due."""
    return f"{order_id}:refund:{cause}" if number == 1 else f"{order_id}:refund-{number}:{cause}"


def refund_keys(order: Order) -> dict[str, str]:
    """Return the provider's keys of all refunds that the log knows, failed ones among them, with their causes."""
    keys: dict[str, str] = {}
    counts = Counter[str]()
    for attempt in order.refunds:
        counts[attempt.cause] += 1
        keys[refund_key(order.order_id, attempt.cause, counts[attempt.cause])] = attempt.cause
    return keys


def authorize(log: OrderLog, tokens: PaymentTokens, provider: PaymentProvider, order_id: str) -> AuthorizeOutcome:
    """Hold the order's total, record what came of it, delete the payment token, and return where that leaves the order.

    Raises:
        OrderNotFound: there is no such order.
        NotPossible: it is not screened, was voided without being sealed, or its payment token has expired.
        ProviderTimeout: no answer, and the provider knows nothing of the payment.
        ProviderUnavailable: the provider takes no requests.
    """
    order = log.load(order_id)
    known = _outcome(order)
    if not known:
        if isinstance(decide(order, RecordAuthorization("")), Refusal):
            _not_possible(order, "screen comes before authorize")
        try:
            token = tokens.read(order_id)
        except TokenNotFound:
            # A concurrent run of the saga records the outcome before it deletes the token.
            order = log.load(order_id)
            return _outcome(order) or _not_possible(order, "its payment token has expired")
        order = _recorded(log, order, _authorized(provider, order, token))
        known = _outcome(order) or _not_possible(order, "the provider voided its payment")
    if order.payment in {"authorized", "declined"}:
        tokens.delete(order_id)
    return known


def settle(log: OrderLog, provider: PaymentProvider, order_id: str) -> Order:
    """Take, give back and let go of money until nothing of it is due, and return the order then.

    A refund that the provider accepted and has not carried out stays due, and no event says that it was paid.

    Raises:
        OrderNotFound: there is no such order.
        NotPossible: the provider and the log disagree on what was captured.
        RefundFailed: the provider did not carry out a refund, and another attempt is left.
        ProviderRefused: it contradicts what the provider has, as where its hold lapsed.
        ProviderTimeout: no answer, and the provider does not show the effect.
        ProviderUnavailable: the provider takes no requests.
    """
    before = log.load(order_id)
    order = _settled(log, provider, before)
    if unpaid := amounts_due.unpaid(order):
        operator_alerts.alert_operator("refund_not_paid", order_id=order_id, unpaid=unpaid, currency=order.total.currency)
    failures = [sum(not attempt.refunded for attempt in one.refunds) for one in (before, order)]
    if failures[0] < failures[1] and any(isinstance(one, amounts_due.Refund) for one in amounts_due.due(order)):
        message = f"{order_id} has a refund that failed; it is tried again"
        raise RefundFailed(message)
    return order


def record_failed_refunds(log: OrderLog, provider: PaymentProvider, order_id: str) -> None:
    """Record refunds that failed at the provider after the log had them as paid, so that they are due again.

    Raises:
        OrderNotFound: there is no such order.
        ProviderUnavailable: the provider takes no requests.
    """
    order = log.load(order_id)
    causes = refund_keys(order)
    for refund in _there(provider, payment_key(order_id)).refunds:
        if refund.status == "failed" and refund.key in causes:
            order = _refund_failed(log, order, causes[refund.key], refund)


def void(log: OrderLog, provider: PaymentProvider, order_id: str) -> VoidOutcome:
    """Give back what is held for an order that is undone, also when the log does not know of it.

    What left of an order that is being cancelled is captured first.

    Raises:
        OrderNotFound: there is no such order.
        NotPossible: the order is not sealed, its authorization is not known to the provider, or more was captured than the log has.
        ProviderRefused: the provider does not hold what has to be captured.
        ProviderTimeout: no answer, and the payment is not voided at the provider.
        ProviderUnavailable: the provider takes no requests.
    """
    order = log.load(order_id)
    if saga_blocker(order) == "inactive":
        return "inactive"
    if order.state not in {"failing", "cancelling"}:
        _not_possible(order, "an order is given up before it is voided")
    order = _settled(log, provider, order)
    if order.payment == "none":
        order = _unwound(log, order, _voided(provider, order))
    if order.payment == "authorized":
        _not_possible(order, "what was confirmed is recalled before the rest is voided")
    return "voided" if order.payment in {"voided", "captured"} else "nothing_to_void"


def _outcome(order: Order) -> AuthorizeOutcome | None:
    """Return what the log says of the order's payment, or None when it is still to be asked for."""
    if order.state == "failing" and order.payment == "declined":
        return "declined"
    return step_blocker(order) or ("authorized" if order.payment == "authorized" else None)


def _authorized(provider: PaymentProvider, order: Order, token: str) -> Payment:
    key = payment_key(order.order_id)
    try:
        return provider.authorize(key, token, order.total)
    except ProviderTimeout:
        payment = provider.look_up(key)
        logger.warning("no answer from the payment provider", known_there=payment is not None)
        if payment is None:
            raise
        return payment


def _recorded(log: OrderLog, order: Order, payment: Payment) -> Order:
    match payment:
        case Authorized(authorization_id=authorization_id):
            return log.record(order, RecordAuthorization(authorization_id), source=_SOURCE).order
        case Declined(code=code):
            return log.record(order, RecordDecline(code), source=_SOURCE).order
        case Voided():
            return log.load(order.order_id)


def _settled(log: OrderLog, provider: PaymentProvider, order: Order) -> Order:
    """Do what is due; a refund is requested once for each cause, and is left due where it is pending or failed."""
    requested: set[str] = set()
    while due := [one for one in amounts_due.due(order) if getattr(one, "cause", None) not in requested]:
        match due[0]:
            case amounts_due.Capture(parcel_id, amount):
                capture_id = _captured(provider, order.order_id, parcel_id, amount)
                order = log.record(order, RecordCapture(parcel_id, capture_id), source=_SOURCE).order
            case amounts_due.Refund() as owed:
                requested.add(owed.cause)
                order = _refund(log, provider, order, owed)
            case amounts_due.VoidRemainder():
                order = _unwound(log, order, _voided(provider, order))
    return order


def _refund(log: OrderLog, provider: PaymentProvider, order: Order, owed: amounts_due.Refund) -> Order:
    refund = _refunded(provider, order.order_id, owed)
    match refund:
        case Refund(status="succeeded"):
            return log.record(order, RecordRefund(refund.refund_id, owed.cause, refund.amount), source=_SOURCE).order
        case Refund(status="failed"):
            return _refund_failed(log, order, owed.cause, refund)
        case Refund():
            logger.info("refund_pending", refund_id=refund.refund_id, cause=owed.cause)
        case None:
            operator_alerts.alert_operator("refund_exceeds_payment", order_id=order.order_id, cause=owed.cause, owed=owed.amount.amount)
    return order


def _refund_failed(log: OrderLog, order: Order, cause: str, refund: Refund) -> Order:
    result = log.record(order, RecordRefundFailure(refund.refund_id, cause, refund.amount, refund.reason), source=_SOURCE)
    if isinstance(result, Recorded) and result.events:
        operator_alerts.alert_operator(
            "refund_failed", order_id=order.order_id, refund_id=refund.refund_id, cause=cause, reason=refund.reason
        )
    return result.order


def _captured(provider: PaymentProvider, order_id: str, parcel_id: str, amount: Money) -> str:
    key, payment = capture_key(order_id, parcel_id), payment_key(order_id)
    if amount.amount == 0:  # providers take no requests for nothing
        return key
    try:
        return provider.capture(payment, key, amount).capture_id
    except ProviderTimeout:
        there = next((one.capture_id for one in _there(provider, payment).captures if one.key == key), None)
        return _known(there)


def _refunded(provider: PaymentProvider, order_id: str, owed: amounts_due.Refund) -> Refund | None:
    """Request a refund and return it, as the provider has it; None where nothing is left of the payment to refund.

    What was refunded by hand is not ours to refund again: then it is what is left. An earlier attempt under the same key, made
    when another amount was due, is taken as it is.
    """
    key, payment = refund_key(order_id, owed.cause, owed.number), payment_key(order_id)
    try:
        return provider.refund(payment, key, owed.amount)
    except ProviderTimeout:
        return _known(_refund_under(provider, payment, key))
    except ProviderRefused as refused:
        there = _there(provider, payment)
        if refused.code == Contradiction.KEY_REUSED and (known := _refund_under(provider, payment, key)):
            return known
        left = there.refundable - there.refundable % charge_step(owed.amount.currency)
        if refused.code != Contradiction.AMOUNT_EXCEEDED or left >= owed.amount.amount:
            raise
        return provider.refund(payment, key, Money(left, owed.amount.currency)) if left > 0 else None


def _refund_under(provider: PaymentProvider, payment_key: str, key: str) -> Refund | None:
    return next((one for one in _there(provider, payment_key).refunds if one.key == key), None)


def _there(provider: PaymentProvider, payment_key: str) -> Movements:
    payment = provider.look_up(payment_key)
    return payment if isinstance(payment, Movements) else Movements()


def _known[T: str | Refund](there: T | None) -> T:
    """Return what a lost answer would have named; raises ProviderTimeout where the provider does not show it either."""
    logger.warning("no answer from the payment provider", known_there=there is not None)
    if there is None:
        raise ProviderTimeout
    return there


def _voided(provider: PaymentProvider, order: Order) -> Payment:
    key = payment_key(order.order_id)
    try:
        return provider.void(key)
    except ProviderTimeout:
        payment = provider.look_up(key)
        if not isinstance(payment, Voided):
            raise
        return payment


def _unwound(log: OrderLog, order: Order, payment: Payment) -> Order:
    if isinstance(payment, Authorized | Voided) and payment.captured != order.captured:
        _not_possible(order, f"the provider captured {payment.captured} of it, the log has {order.captured}")
    if isinstance(payment, Voided) and payment.authorization_id:
        return log.record(order, RecordVoid(payment.authorization_id), source=_SOURCE).order
    if order.payment == "authorized":
        _not_possible(order, f"the provider does not know its authorization {order.authorization_id}")
    return order


def _not_possible(order: Order, why: str) -> NoReturn:
    message = f"{order.order_id} is {order.state} with payment {order.payment}: {why}"
    raise InconsistentPayment(message)
