"""Synthetic orders: events of complete orders by the real rules, reproducible by a seed, with their totals.

Every hundred orders have each kind of history in its share, so results do not depend on their number. Products sell by Zipf's law,
in three currencies. The totals are counted event by event, without the pipeline's code.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import accumulate
from typing import Any

from orderflow.aws.dynamodb import timestamp
from orderflow.aws.order_log_items import PENDING, SAMPLE
from orderflow.domain import commands as do
from orderflow.domain import events
from orderflow.domain.commands import Command, Refusal, decide
from orderflow.domain.events import Customer, Event, EventData, Line, OrderPlaced, Shortage, StockLine
from orderflow.domain.money import Money
from orderflow.domain.order import Order, Screening, evolve, stock_lines
from tests.support import orders
from tests.support.orders import ADDRESS

START = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)
PER_MINUTE = 600
PRODUCTS = 2000
CATEGORIES = 12
CURRENCIES = {"EUR": 70, "USD": 25, "JPY": 5}
STRIDE = 7919
# The longest time between two events of an order.
MAX_STEP_SECONDS = 3.0

type History = Callable[[Order], Iterator[Command]]


@dataclass(frozen=True)
class Product:
    sku: str
    price: Money
    category: str | None


@dataclass
class Totals:
    """The totals of events: analytics' counters, movements of money by currency, and the number of events that move money."""

    counters: Counter[str] = field(default_factory=Counter[str])
    movements: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    entries: int = 0
    events: int = 0

    def add(self, data: EventData, basis_points: int, fixed: dict[str, int]) -> None:  # noqa: C901 - a case for each event type
        """Count an event."""
        self.events += 1
        match data:
            case events.OrderPlaced():
                self.counters["orders"] += 1
            case events.OrderConfirmed():
                self.counters["outcome/confirmed"] += 1
                self.counters[f"revenue/{data.total.currency}"] += data.total.amount
                for line in data.lines:
                    self.counters[f"units/{line.category or ''}/{line.sku}"] += line.quantity
            case events.OrderRejected():
                self.counters[f"outcome/{data.reason}"] += 1
            case events.OrderCancelled():
                self.counters["cancelled_later" if data.confirmed else "outcome/cancelled"] += 1
            case events.StockReservationFailed():
                self.counters["stock_outs"] += 1
            case events.PaymentAuthorized():
                self._move("authorized", data.amount)
            case events.PaymentVoided():
                self._move("voided", data.amount)
            case events.PaymentCaptured():
                self._move("captured", data.amount)
                share = Decimal(data.amount.amount * basis_points) / 10_000
                fee = int(share.quantize(Decimal(1), ROUND_HALF_EVEN)) + fixed.get(data.amount.currency, 0)
                self.movements[data.amount.currency]["fees"] += fee
            case events.PaymentRefunded():
                self.counters[f"refunds/{data.amount.currency}"] += data.amount.amount
                self._move("refunded", data.amount)
            case events.PaymentDisputed():
                self._move("disputed", data.amount)
            case events.DisputeClosed():
                self._move(data.outcome, data.amount)
            case _:
                pass

    def _move(self, kind: str, amount: Money) -> None:
        self.movements.setdefault(amount.currency, Counter())[kind] += amount.amount
        self.entries += 1

    def balances(self) -> dict[str, dict[str, int]]:
        """Return the expected balance of each account by currency."""
        return {currency: _accounts(amounts) for currency, amounts in self.movements.items()}


def _accounts(amounts: Counter[str]) -> dict[str, int]:
    authorized = amounts["authorized"] - amounts["voided"] - amounts["captured"]
    return {
        "authorizations": authorized,
        "holds": -authorized,
        "clearing": amounts["captured"] - amounts["fees"] - amounts["refunded"] - amounts["disputed"] + amounts["won"],
        "revenue": -amounts["captured"],
        "fees": amounts["fees"],
        "refunds": amounts["refunded"],
        "disputes": amounts["disputed"] - amounts["won"] - amounts["lost"],
        "losses": amounts["lost"],
    }


def _confirmed(order: Order) -> Iterator[Command]:
    yield do.RecordReservation()
    yield do.RecordScreening(Screening("approve", 10, ()))
    yield do.RecordAuthorization(f"auth_{order.order_id}")
    yield do.ConfirmOrder()
    yield do.RecordShipment(f"ship_{order.order_id}")


def _delivered(order: Order) -> Iterator[Command]:
    yield from _confirmed(order)
    yield do.RecordDispatch("parcel_1", stock_lines(order))
    yield do.RecordCapture("parcel_1", "cap_1")
    yield do.RecordDelivery("parcel_1")


def two_parcels(order: Order) -> Iterator[Command]:
    yield from _confirmed(order)
    first, *rest = stock_lines(order)
    for number, lines in (("1", (first,)), ("2", tuple(rest))):
        yield do.RecordDispatch(f"parcel_{number}", lines)
        yield do.RecordCapture(f"parcel_{number}", f"cap_{number}")
    yield do.RecordDelivery("parcel_2")
    yield do.RecordDelivery("parcel_1")


def _returned(order: Order) -> Iterator[Command]:
    yield from _delivered(order)
    first = stock_lines(order)[0]
    yield do.RequestReturn("ret_1", (StockLine(first.sku, 1),), "too small", START)
    yield do.RecordReturn("ret_1")
    yield do.RecordRefund("ref_1", "return:ret_1")


def _lost(order: Order) -> Iterator[Command]:
    yield from _confirmed(order)
    yield do.RecordDispatch("parcel_1", stock_lines(order))
    yield do.RecordCapture("parcel_1", "cap_1")
    yield do.RecordLoss("parcel_1")
    yield do.RecordRefund("ref_1", "parcel:parcel_1")


def _disputed(outcome: events.DisputeOutcome) -> History:
    def history(order: Order) -> Iterator[Command]:
        yield from _delivered(order)
        yield do.RecordDispute("dp_1", order.total, "not received")
        yield do.CloseDispute("dp_1", outcome)

    return history


def _cancelled(order: Order) -> Iterator[Command]:
    yield from _confirmed(order)
    yield do.RequestCancellation("customer", "changed my mind")
    yield do.RecordRecall(f"ship_{order.order_id}")
    yield do.RecordVoid(f"auth_{order.order_id}")
    yield do.RecordRelease()
    yield do.CancelOrder()


def rest_cancelled(order: Order) -> Iterator[Command]:
    yield from _confirmed(order)
    yield do.RecordDispatch("parcel_1", stock_lines(order)[:1])
    yield do.RequestCancellation("customer", "changed my mind")
    yield do.RecordRecall(f"ship_{order.order_id}")
    yield do.RecordCapture("parcel_1", "cap_1")
    yield do.RecordVoid(f"auth_{order.order_id}")
    yield do.RecordRelease()
    yield do.CancelOrder()


def _declined(_: Order) -> Iterator[Command]:
    yield do.RecordReservation()
    yield do.RecordScreening(Screening("approve", 10, ()))
    yield do.RecordDecline("card_declined")
    yield do.RecordRelease()
    yield do.RejectOrder()


def _refused(_: Order) -> Iterator[Command]:
    yield do.RecordReservation()
    yield do.RecordScreening(Screening("refuse", 150, ("velocity",)))
    yield do.RecordRelease()
    yield do.RejectOrder()


def _sold_out(order: Order) -> Iterator[Command]:
    yield do.RecordShortage(tuple(Shortage(line.sku, line.quantity, 0) for line in stock_lines(order)[:1]))
    yield do.RejectOrder()


# With their number in a hundred orders.
HISTORIES: tuple[tuple[History, int], ...] = (
    (_delivered, 40),
    (two_parcels, 15),
    (_returned, 10),
    (_declined, 8),
    (_cancelled, 6),
    (_sold_out, 5),
    (_confirmed, 4),
    (_refused, 4),
    (rest_cancelled, 3),
    (_lost, 3),
    (_disputed("won"), 1),
    (_disputed("lost"), 1),
)
HUNDRED = tuple(history for history, number in HISTORIES for _ in range(number))


class Orders:
    """Generates orders one by one and counts their totals."""

    def __init__(self, seed: int, basis_points: int, fixed: dict[str, int], products: int = PRODUCTS) -> None:
        """Start without orders; the fees are those of the pipeline's configuration.

        With more than `PRODUCTS` products, each order has one more line, for the next product in turn.
        """
        self.totals = Totals()
        self.made = 0
        self._chance = random.Random(seed)
        self._fees = basis_points, fixed
        self._histories: list[History] = []
        self._products = _products(products)
        self._in_turn = products > PRODUCTS
        self._weights = {name: list(accumulate(1 / (rank + 1) for rank in range(len(some)))) for name, some in self._products.items()}

    def next(self) -> list[Event]:
        """Return the complete history of the next order."""
        if not self._histories:
            self._histories = self._chance.sample(HUNDRED, len(HUNDRED))
        history, number = self._histories.pop(), self.made
        self.made += 1
        order_id = self._order_id(sampled=number % SAMPLE == 0)
        moment = START + timedelta(minutes=number / PER_MINUTE)
        order, recorded = Order(order_id=order_id), list[Event]()
        placed = do.PlaceOrder(self._placed(number, min_lines=2 if history in {two_parcels, rest_cancelled} else 1))

        def record(command: Command) -> None:
            nonlocal order, moment
            new_data = decide(order, command)
            if isinstance(new_data, Refusal):
                raise TypeError(new_data.why)
            for data in new_data:
                event = orders.event(order, data, "load", occurred_at=moment, correlation_id=order_id)
                recorded.append(event)
                order = evolve(order, event)
                self.totals.add(data, *self._fees)
                moment += timedelta(seconds=self._chance.uniform(0, MAX_STEP_SECONDS))

        record(placed)
        for command in history(order):
            record(command)
        return recorded

    def _order_id(self, *, sampled: bool) -> str:
        """Return a random id that the outbox index samples, or one that it does not."""
        while True:
            order_id = f"ord_{self._chance.getrandbits(104):026x}"
            if (zlib.crc32(order_id.encode()) % SAMPLE == 0) == sampled:
                return order_id

    def _placed(self, number: int, min_lines: int) -> OrderPlaced:
        [currency] = self._chance.choices(list(CURRENCIES), list(CURRENCIES.values()))
        chosen = self._chance.choices(self._products[currency], cum_weights=self._weights[currency], k=self._chance.randint(min_lines, 4))
        if self._in_turn:
            # The stride separates products of successive orders, so that skus do not ascend with time.
            chosen.append(self._products[currency][number * STRIDE % len(self._products[currency])])
        products = list(dict.fromkeys(chosen))
        while len(products) < min_lines:
            products = list(dict.fromkeys([*products, self._chance.choice(self._products[currency])]))
        lines = tuple(Line(one.sku, f"Product {one.sku}", self._chance.randint(1, 3), one.price, one.category) for one in products)
        total = sum((line.unit_price.times(line.quantity) for line in lines), Money(0, currency))
        customer = f"customer-{number % 997}"
        return OrderPlaced(Customer(customer, f"{customer}@example.com"), lines, total, ADDRESS, "GB")


def logged(event: Event) -> dict[str, Any]:
    """Return an event's item in the order log; the events of sampled orders are pending."""
    sampled = (
        {}
        if zlib.crc32(event.order_id.encode()) % SAMPLE
        else {"outbox": {"S": PENDING}, "outbox_since": {"S": timestamp(event.occurred_at)}}
    )
    keys = {"order_id": {"S": event.order_id}, "version": {"N": str(event.order_version)}}
    return {**keys, "type": {"S": event.type}, "event": {"S": events.encode(event).decode()}, **sampled}


def _products(number: int) -> dict[str, list[Product]]:
    found: dict[str, list[Product]] = {}
    for currency, share in CURRENCIES.items():
        found[currency] = [
            Product(
                f"{currency}-{rank:04d}", Money(490 + 37 * (rank % 211), currency), f"category-{rank % CATEGORIES}" if rank % 7 else None
            )
            for rank in range(number * share // 100)
        ]
    return found
