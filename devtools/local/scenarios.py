"""What `make run` does, and what must come of it: an order for every outcome, and requests that the door turns away."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from devtools.local import issuer, seed
from devtools.local.api_client import ApiClient, order_body
from devtools.target import Target
from devtools.web import Answer

ORDINARY = (("MUG-BLUE", 2), ("FILTER-100", 1))
ORDINARY_BODY = order_body(*ORDINARY)


@dataclass(frozen=True)
class Scenario:
    """An order, who places it, and the state that it must end in."""

    what: str
    customer: str
    body: dict[str, Any]
    expected: str


# The order that takes longest comes first: it is followed while the others come and go.
SCENARIOS = (
    Scenario(
        "provider never answers",
        "nora",
        order_body(*ORDINARY, payment="tok_unavailable"),
        "rejected: fulfilment_failed",
    ),
    Scenario("everything in order", "ann", ORDINARY_BODY, "confirmed"),
    Scenario("in dollars", "bob", order_body(("TSHIRT-USD", 1)), "confirmed"),
    Scenario("the last one in stock", "cat", order_body(("LAST-ITEM-CLOCK", 1)), "confirmed"),
    Scenario("sold out", "dan", order_body(("MUG-BLUE", 1), ("SOLD-OUT-LAMP", 1)), "rejected: out_of_stock"),
    Scenario("card declined", "fay", order_body(*ORDINARY, payment="tok_declined"), "rejected: payment_declined"),
    Scenario(
        "insufficient funds",
        "gus",
        order_body(*ORDINARY, payment="tok_insufficient_funds"),
        "rejected: payment_declined",
    ),
    Scenario("time-out before the charge", "hal", order_body(*ORDINARY, payment="tok_timeout_before"), "confirmed"),
    Scenario("time-out after the charge", "ida", order_body(*ORDINARY, payment="tok_timeout_after"), "confirmed"),
    Scenario("slow provider", "jan", order_body(*ORDINARY, payment="tok_slow"), "confirmed"),
    Scenario("expensive", "kim", order_body(("ESPRESSO-PRO", 1)), "held"),
    Scenario("everything suspicious", "mal", order_body(("ESPRESSO-PRO", 3), ship_to="US"), "rejected: fraud_refused"),
)
# The customer of "everything suspicious" has just placed this many orders.
HASTY, HASTY_ORDERS = "mal", 6


def prepare(target: Target, customers: dict[str, str]) -> None:
    """Put the specials back in stock and give the customers of a run (by name: id) their history."""
    seed.restock(target)
    seed.add_history(target, customers.values())
    now = datetime.now(UTC)
    for minutes in range(1, HASTY_ORDERS + 1):
        seed.add_past_order(target, customers[HASTY], now - timedelta(minutes=minutes))


@dataclass(frozen=True)
class RequestContext:
    """What the requests at the door need to know: the shop, the customer who placed an order, with which key, which."""

    shop: ApiClient
    customer: str
    stranger: str
    key: str
    first: Answer


@dataclass(frozen=True)
class Request:
    """A request that is answered at once, and the answer that it must get."""

    what: str
    send: Callable[[RequestContext], str]
    expected: str


def _again(visit: RequestContext) -> str:
    answer = visit.shop.place(visit.customer, ORDINARY_BODY, visit.key)
    return f"{answer.status} {'same' if answer.json() == visit.first.json() else 'another'} order"


def _other_body(visit: RequestContext) -> str:
    return _status(visit.shop.place(visit.customer, order_body(("MUG-WHITE", 1)), visit.key))


def _placing(body: dict[str, Any] | bytes, key: str | None = None) -> Callable[[RequestContext], str]:
    return lambda visit: _status(visit.shop.place(visit.customer, body, key))


def _foreign(visit: RequestContext) -> str:
    return _status(visit.shop.order(visit.stranger, visit.first.json().get("order_id", "?")))


def _without_token(visit: RequestContext) -> str:
    return _status(visit.shop.place(None, ORDINARY_BODY))


def _expired(visit: RequestContext) -> str:
    token = issuer.token(visit.shop.target, visit.customer, expires_in=-60)
    return _status(visit.shop.call("GET", "/orders/ord_any", None, Authorization=f"Bearer {token}"))


def _status(answer: Answer) -> str:
    return str(answer.status)


REQUESTS = (
    Request("the same order again", _again, "201 same order"),
    Request("same key, another order", _other_body, "422"),
    Request("somebody else's order", _foreign, "404"),
    Request("no token", _without_token, "401"),
    Request("expired token", _expired, "401"),
    Request("no Idempotency-Key", _placing(ORDINARY_BODY, ""), "400"),
    Request("body is no JSON", _placing(b"{"), "400"),
    Request("quantity zero", _placing(order_body(("MUG-BLUE", 0))), "422"),
    Request("unknown product", _placing(order_body(("NO-SUCH-THING", 1))), "422"),
    Request("product no longer sold", _placing(order_body(("RETIRED-RADIO", 1))), "422"),
    Request("two currencies in one order", _placing(order_body(("MUG-BLUE", 1), ("TSHIRT-USD", 1))), "422"),
)
