"""Authorizing, capturing, refunding and voiding an order's payment so that running any of it again, at any time, is harmless.

The provider's keys are made of the order id and the step, parcel or return, so however often something runs there is one
authorization, one capture for a parcel, and one refund for its cause. An answer that is lost is looked up. An order that
is undone is sealed at the log before it is voided, and the void closes the key at the provider: an authorization still
under way comes back voided, and is not recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn

from orderflow.commands import RecordAuthorization, RecordCapture, RecordDecline, RecordRefund, RecordVoid, Refusal, decide
from orderflow.observability import logger
from orderflow.order import Order, obstacle, standing
from orderflow.payment_tokens import TokenNotFound
from payments import rules
from payments.provider import Authorized, Declined, Moved, Payment, PaymentProvider, ProviderTimeout, Voided

if TYPE_CHECKING:
    from orderflow.log import OrderLog
    from orderflow.money import Money
    from orderflow.payment_tokens import PaymentTokens

AuthorizeOutcome = Literal["authorized", "declined", "failing", "cancelling", "held", "ended", "unreserved"]
VoidOutcome = Literal["voided", "nothing_to_void", "ended"]

_SOURCE = "payments"


class NotPossible(RuntimeError):
    """The order or its payment is not where the step needs it: a step was left out, or the two disagree."""


def payment_key(order_id: str) -> str:
    """Return the provider's idempotency key for authorizing the order's payment."""
    return f"{order_id}:authorize"


def order_of(payment_key: str) -> str | None:
    """Return whose payment has this key, None for a key that is none of ours."""
    order_id, _, step = payment_key.rpartition(":")
    return order_id if order_id and step == "authorize" else None


def capture_key(order_id: str, parcel_id: str) -> str:
    """Return the provider's idempotency key for taking the money for a parcel."""
    return f"{order_id}:capture:{parcel_id}"


def refund_key(order_id: str, cause: str) -> str:
    """Return the provider's idempotency key for giving back what a lost parcel or a return made due."""
    return f"{order_id}:refund:{cause}"


def refund_keys(order: Order) -> set[str]:
    """Return the provider's keys of everything that the log has as given back."""
    causes = [f"parcel:{parcel.parcel_id}" for parcel in order.parcels if parcel.refunded]
    causes += [f"return:{one.return_id}" for one in order.returns if one.refunded]
    return {refund_key(order.order_id, cause) for cause in causes}


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

    Raises:
        OrderNotFound: there is no such order.
        NotPossible: the provider and the log disagree on what was captured.
        ProviderRefused: it contradicts what the provider has, as where its hold lapsed.
        ProviderTimeout: no answer, and the provider does not show the effect.
        ProviderUnavailable: the provider takes no requests.
    """
    return _settled(log, provider, log.load(order_id))


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
    if standing(order) == "ended":
        return "ended"
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
    return obstacle(order) or ("authorized" if order.payment == "authorized" else None)


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
            return log.record(order, RecordAuthorization(authorization_id), source=_SOURCE)
        case Declined(code=code):
            return log.record(order, RecordDecline(code), source=_SOURCE)
        case Voided():
            return log.load(order.order_id)


def _settled(log: OrderLog, provider: PaymentProvider, order: Order) -> Order:
    while due := rules.due(order):
        match due[0]:
            case rules.Capture(parcel_id, amount):
                capture_id = _captured(provider, order.order_id, parcel_id, amount)
                order = log.record(order, RecordCapture(parcel_id, capture_id), source=_SOURCE)
            case rules.Refund(cause, amount):
                refund_id = _refunded(provider, order.order_id, cause, amount)
                order = log.record(order, RecordRefund(refund_id, cause), source=_SOURCE)
            case rules.VoidRest():
                order = _unwound(log, order, _voided(provider, order))
    return order


def _captured(provider: PaymentProvider, order_id: str, parcel_id: str, amount: Money) -> str:
    key, payment = capture_key(order_id, parcel_id), payment_key(order_id)
    if amount.amount == 0:  # providers take no requests for nothing
        return key
    try:
        return provider.capture(payment, key, amount).capture_id
    except ProviderTimeout:
        there = next((one.capture_id for one in _there(provider, payment).captures if one.key == key), None)
        return _known(there)


def _refunded(provider: PaymentProvider, order_id: str, cause: str, amount: Money) -> str:
    key, payment = refund_key(order_id, cause), payment_key(order_id)
    if amount.amount == 0:
        return key
    try:
        return provider.refund(payment, key, amount).refund_id
    except ProviderTimeout:
        there = next((one.refund_id for one in _there(provider, payment).refunds if one.key == key), None)
        return _known(there)


def _there(provider: PaymentProvider, payment_key: str) -> Moved:
    payment = provider.look_up(payment_key)
    return payment if isinstance(payment, Moved) else Moved()


def _known(there: str | None) -> str:
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
        return log.record(order, RecordVoid(payment.authorization_id), source=_SOURCE)
    if order.payment == "authorized":
        _not_possible(order, f"the provider does not know its authorization {order.authorization_id}")
    return order


def _not_possible(order: Order, why: str) -> NoReturn:
    message = f"{order.order_id} is {order.state} with payment {order.payment}: {why}"
    raise NotPossible(message)
