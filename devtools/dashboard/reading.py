"""Read the dashboard's data from a target, without changes to it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from devtools.cli import UserError
from devtools.dashboard.boards import BoardReading, CloudWatchBoards, LocalBoards
from devtools.ops import redrive, sales_report
from devtools.target import STACK, Target
from orderflow.domain.money import Money, format_money, unit
from orders.api_models import DisplayState

# As many as `GET /analytics/sales?per=minute` answers.
MINUTES = 60
BEST = 10
MINUTE = "%Y-%m-%dT%H:%M"
WAITING = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed")
IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"


@dataclass(frozen=True)
class State:
    """The number of orders in a state."""

    state: str
    orders: int


@dataclass(frozen=True)
class Outcome:
    """The number of orders with an outcome, and their share of all outcomes in hundredths of a per cent."""

    outcome: str
    orders: int
    basis_points: int


@dataclass(frozen=True)
class Amount:
    """The revenue of a minute (UTC) in minor units, and formatted."""

    minute: str
    amount: int
    written: str


@dataclass(frozen=True)
class Revenue:
    """The revenue of confirmed orders in a currency with `unit` minor units, by minute and in total."""

    currency: str
    unit: int
    minutes: tuple[Amount, ...]
    total: str


@dataclass(frozen=True)
class Product:
    """The number of confirmed units of a product."""

    sku: str
    units: int


@dataclass(frozen=True)
class Queue:
    """A queue with its waiting and in-flight messages; `redrive` is the name of a dead-letter queue for `make redrive`."""

    name: str
    waiting: int
    in_flight: int
    dead_letters: bool
    redrive: str = ""


@dataclass(frozen=True)
class Reading:
    """The data of the page. Times are UTC; revenue is of the last hour, outcomes of the last 30 days, boards of the last hours."""

    taken_at: str
    endpoint: str
    states: tuple[State, ...]
    queues: tuple[Queue, ...]
    outcomes: tuple[Outcome, ...] = ()
    revenue: tuple[Revenue, ...] = ()
    products: tuple[Product, ...] = ()
    boards: tuple[BoardReading, ...] = ()


def states(found: Iterable[str]) -> tuple[State, ...]:
    """Count orders by state, in lifecycle order; unknown states come last."""
    counted = Counter(found)
    known = get_args(DisplayState)
    return tuple(State(state, counted[state]) for state in [*known, *sorted(counted.keys() - set(known))] if counted[state])


def outcomes(periods: Iterable[Mapping[str, Any]]) -> tuple[Outcome, ...]:
    """Sum the outcomes of the periods of `GET /analytics/sales`, most frequent first."""
    counted = Counter[str]()
    for period in periods:
        counted.update({one["outcome"]: one["orders"] for one in period["outcomes"]})
    decided = counted.total()
    ranked = sorted(counted.items(), key=lambda one: (-one[1], one[0]))
    return tuple(Outcome(name, orders, orders * 10_000 // decided) for name, orders in ranked)


def revenue(periods: Sequence[Mapping[str, Any]], now: datetime) -> tuple[Revenue, ...]:
    """Return the revenue of each of the last minutes by currency, with zeros for minutes without orders."""
    minutes = [(now - timedelta(minutes=ago)).strftime(MINUTE) for ago in reversed(range(MINUTES))]
    amounts: dict[str, Counter[str]] = {}
    for period in periods:
        for money in period["revenue"]:
            amounts.setdefault(money["currency"], Counter())[period["period"]] += money["amount"]
    return tuple(_revenue(currency, amounts[currency], minutes) for currency in sorted(amounts))


def _revenue(currency: str, amounts: Mapping[str, int], minutes: Sequence[str]) -> Revenue:
    amounts_by_minute = tuple(
        Amount(minute, amounts.get(minute, 0), format_money(Money(amounts.get(minute, 0), currency))) for minute in minutes
    )
    total = sum(one.amount for one in amounts_by_minute)
    return Revenue(currency, unit(currency), amounts_by_minute, format_money(Money(total, currency)))


def queue(name: str, attributes: Mapping[str, str], routes: Mapping[str, str]) -> Queue:
    """Return a queue by its full name and attributes; `routes` are the names for `make redrive` by full name."""
    return Queue(
        name=name.removeprefix(f"{STACK}-"),
        waiting=sum(int(attributes.get(one, 0)) for one in WAITING),
        in_flight=int(attributes.get(IN_FLIGHT, 0)),
        dead_letters=name.endswith(redrive.QUEUE_SUFFIXES),
        redrive=routes.get(name, ""),
    )


@dataclass(frozen=True)
class _Connection:
    target: Target
    orders: str
    queues: Mapping[str, str]
    routes: Mapping[str, str]
    boards: LocalBoards | CloudWatchBoards


class Source:
    """Read a target. The stack's resources are cached until a reading fails, because the stack can have changed then."""

    def __init__(self, connect: Callable[[], Target]) -> None:
        """Read the target that `connect` returns; it is called again after a failure."""
        self._connect = connect
        self._connection: _Connection | None = None

    def read(self) -> Reading:
        """Return the current data.

        Raises:
            UserError: there is no stack, or a resource is missing in it.
            OSError, HTTPException, BotoCoreError, ClientError: the target does not answer, or not as it should.
        """
        connection = self._connection
        if not connection:
            connection = _connected(self._connect())
        self._connection = None
        found = _read(connection, datetime.now(UTC))
        self._connection = connection
        return found


def _connected(target: Target) -> _Connection:
    try:
        orders = target.resources["OrderView"]
    except KeyError as missing:
        raise UserError(f"the deployed stack has no {missing}; run `make run` to deploy the present one") from None
    boards = LocalBoards(target) if target.local else CloudWatchBoards(target)
    return _Connection(target, orders, redrive.urls(target), redrive.names(target.stack), boards)


def _read(connection: _Connection, now: datetime) -> Reading:
    target = connection.target
    queues = tuple(queue(name, _attributes(target, url), connection.routes) for name, url in sorted(connection.queues.items()))
    return Reading(
        taken_at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        endpoint=target.endpoint,
        states=states(_order_states(connection)),
        queues=queues,
        boards=connection.boards.read(now, {one.name: one.waiting for one in queues}),
        **_sales(target, now),
    )


def _sales(target: Target, now: datetime) -> dict[str, Any]:
    return {
        "outcomes": outcomes(sales_report.sales(target, per="day")),
        "revenue": revenue(sales_report.sales(target, per="minute"), now),
        "products": tuple(Product(one["sku"], one["units"]) for one in sales_report.best_sellers(target, BEST)),
    }


def _order_states(connection: _Connection) -> Iterable[str]:
    # The order view has a small row for each order, the log about twenty events.
    asked: dict[str, Any] = {"ProjectionExpression": "#state", "ExpressionAttributeNames": {"#state": "state"}}
    pages = connection.target.client("dynamodb").get_paginator("scan").paginate(TableName=connection.orders, **asked)
    return (row["state"]["S"] for page in pages for row in page["Items"])


def _attributes(target: Target, url: str) -> dict[str, str]:
    return target.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[*WAITING, IN_FLIGHT])["Attributes"]
