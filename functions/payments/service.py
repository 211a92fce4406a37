"""Authorizing and voiding an order's payment so that running either again, at any time, is harmless.

The provider's key is made of the order id and the step, so however often a step runs there is one
authorization. An order that is undone is sealed at the log before it is voided, and the void closes the key at
the provider: an authorization still under way comes back voided, and is not recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn

from orderflow.commands import RecordAuthorization, RecordDecline, RecordVoid, Refusal, decide
from orderflow.observability import logger
from orderflow.order import Order, standing
from payments.provider import Authorized, Declined, Payment, PaymentProvider, ProviderTimeout, Voided

if TYPE_CHECKING:
    from orderflow.log import OrderLog

AuthorizeOutcome = Literal["authorized", "declined", "failing", "cancelling", "held", "ended"]
VoidOutcome = Literal["voided", "nothing_to_void", "ended"]

_SOURCE = "payments"


class NotPossible(RuntimeError):
    """The order or its payment is not where the step needs it: a step was left out, or the two disagree."""


def payment_key(order_id: str) -> str:
    """Return the provider's idempotency key for authorizing the order's payment."""
    return f"{order_id}:authorize"


def authorize(log: OrderLog, provider: PaymentProvider, order_id: str) -> AuthorizeOutcome:
    """Hold the order's total, record what came of it, and return where that leaves the order.

    Raises:
        OrderNotFound: there is no such order.
        NotPossible: it is not reserved or not screened, or was voided without being sealed.
        ProviderTimeout: no answer, and the provider knows nothing of the payment.
        ProviderUnavailable: the provider takes no requests.
    """
    order = log.load(order_id)
    if known := _outcome(order):
        return known
    if isinstance(decide(order, RecordAuthorization("")), Refusal):
        _not_possible(order, "reserve and screen come before authorize")
    payment = _authorized(provider, order, log.payment_token(order_id))
    after = _recorded(log, order, payment)
    return _outcome(after) or _not_possible(after, "the provider voided its payment")


def void(log: OrderLog, provider: PaymentProvider, order_id: str) -> VoidOutcome:
    """Give back what is held for an order that is undone, also when the log does not know of it.

    Raises:
        OrderNotFound: there is no such order.
        NotPossible: the order is not sealed, its authorization is not known to the provider, or more was captured than the log has.
        ProviderTimeout: no answer, and the payment is not voided at the provider.
        ProviderUnavailable: the provider takes no requests.
    """
    order = log.load(order_id)
    if standing(order) == "ended":
        return "ended"
    if order.state not in {"failing", "cancelling"}:
        _not_possible(order, "an order is given up before it is voided")
    if order.payment in {"none", "authorized"}:
        if isinstance(decide(order, RecordVoid(order.authorization_id or "")), Refusal):
            _not_possible(order, "what was confirmed is recalled, and what left is paid for, before the rest is voided")
        order = _unwound(log, order, _voided(provider, order))
    return "voided" if order.payment == "voided" else "nothing_to_void"


def _outcome(order: Order) -> AuthorizeOutcome | None:
    """Return what the log says of the order's payment, or None when it is still to be asked for."""
    if order.state == "failing" and order.payment == "declined":
        return "declined"
    return standing(order) or ("authorized" if order.payment == "authorized" else None)


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
