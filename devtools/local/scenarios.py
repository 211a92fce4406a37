"""The orders of `make run` and their expected final states, and the requests that the API must reject."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from devtools.local import issuer, seed
from devtools.local.api_client import ApiClient, order_body
from devtools.local.reviews import HELD
from devtools.target import Target
from devtools.web import Answer

ORDINARY = (("MUG-BLUE", 2), ("FILTER-100", 1))
ORDINARY_BODY = order_body(*ORDINARY)


@dataclass(frozen=True)
class Scenario:
    """An order, its customer, and the expected final state."""

    what: str
    customer: str
    body: dict[str, Any]
    expected: str


# The longest order comes first: the others run meanwhile.
SCENARIOS = (
    Scenario(
        "provider never answers",
        "nora",
        order_body(*ORDINARY, payment="tok_unavailable"),
        "rejected: fulfilment_failed",
    ),
    Scenario("ordinary order", "ann", ORDINARY_BODY, "confirmed"),
    Scenario("order in dollars", "bob", order_body(("TSHIRT-USD", 1)), "confirmed"),
    Scenario("last one in stock", "cat", order_body(("LAST-ITEM-CLOCK", 1)), "confirmed"),
    Scenario("out of stock", "dan", order_body(("MUG-BLUE", 1), ("SOLD-OUT-LAMP", 1)), "rejected: out_of_stock"),
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
    Scenario("expensive", "kim", order_body(("ESPRESSO-PRO", 1)), HELD),
    Scenario("everything suspicious", "mal", order_body(("ESPRESSO-PRO", 3), ship_to="US"), "rejected: fraud_refused"),
)
# The customer of "everything suspicious" placed this many orders in the last minutes.
HASTY, HASTY_ORDERS = "mal", 6


def prepare(target: Target, customers: dict[str, str]) -> None:
    """Restock the special products and add the order history of a run's customers (names to ids)."""
    seed.restock(target)
    seed.add_history(target, customers.values())
    now = datetime.now(UTC)
    for minutes in range(1, HASTY_ORDERS + 1):
        seed.add_past_order(target, customers[HASTY], now - timedelta(minutes=minutes))


@dataclass(frozen=True)
class RequestContext:
    """The values in the requests: the API, an order's customer and key, another customer, and the answer to that order."""

    api: ApiClient
    customer: str
    stranger: str
    key: str
    first: Answer


@dataclass(frozen=True)
class Request:
    """A request and the expected answer."""

    what: str
    send: Callable[[RequestContext], str]
    expected: str


def _repeated_request(context: RequestContext) -> str:
    answer = context.api.place(context.customer, ORDINARY_BODY, context.key)
    return f"{answer.status} {'same' if answer.json() == context.first.json() else 'another'} order"


def _other_body(context: RequestContext) -> str:
    return _status(context.api.place(context.customer, order_body(("MUG-WHITE", 1)), context.key))


def _placing(body: dict[str, Any] | bytes, key: str | None = None) -> Callable[[RequestContext], str]:
    return lambda context: _status(context.api.place(context.customer, body, key))


def _other_customers_order(context: RequestContext) -> str:
    return _status(context.api.order(context.stranger, context.first.json().get("order_id", "?")))


def _without_token(context: RequestContext) -> str:
    return _status(context.api.place(None, ORDINARY_BODY))


def _expired(context: RequestContext) -> str:
    token = issuer.token(context.api.target, context.customer, expires_in=-60)
    return _status(context.api.call("GET", "/orders/ord_any", None, Authorization=f"Bearer {token}"))


def _status(answer: Answer) -> str:
    return str(answer.status)


REQUESTS = (
    Request("same order again", _repeated_request, "201 same order"),
    Request("same key, other body", _other_body, "422"),
    Request("another customer's order", _other_customers_order, "404"),
    Request("no token", _without_token, "401"),
    Request("expired token", _expired, "401"),
    Request("no Idempotency-Key", _placing(ORDINARY_BODY, ""), "400"),
    Request("malformed JSON", _placing(b"{"), "400"),
    Request("quantity zero", _placing(order_body(("MUG-BLUE", 0))), "422"),
    Request("unknown product", _placing(order_body(("NO-SUCH-THING", 1))), "422"),
    Request("retired product", _placing(order_body(("RETIRED-RADIO", 1))), "422"),
    Request("two currencies in an order", _placing(order_body(("MUG-BLUE", 1), ("TSHIRT-USD", 1))), "422"),
)
