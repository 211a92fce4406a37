"""Many synthetic orders: the contexts' use cases run their commands, and the contexts' consumers process their events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from analytics.domain import counting_rules
from analytics.handlers import count_events
from fraud.handlers import screen_order
from inventory import reservations
from inventory.dependencies import INVENTORY, LOG
from invoices import issuing
from invoices.handlers import issue_invoices
from ledger.domain import posting_rules
from ledger.handlers import post_entries
from loyalty.domain import point_rules
from loyalty.handlers import award_points
from orderflow.domain import commands as do
from orderflow.domain.commands import Command
from orderflow.domain.events import Event
from orderflow.domain.order import Order
from orders.handlers import project
from tests.fakes.aws.environment import Aws
from tests.load.synthetic import HUNDRED, History, Orders, rest_cancelled, two_parcels

STOCK = 10_000_000
ORDERS_PER_BATCH = issuing.MAX_ORDERS
AGGREGATE_EVERY = 1_000


class ManyOrders(Orders):
    """Orders of every synthetic history, in the tables of a pipeline."""

    def __init__(self, aws: Aws) -> None:
        """Put stock of every product into the tables; the functions' clients must already use these services."""
        super().__init__(1, 0, {})
        self._entries = 0
        for product in (one for some in self._products.values() for one in some):
            row = {"sku": {"S": product.sku}, "available": {"N": str(STOCK)}, "reserved": {"N": "0"}, "shipped": {"N": "0"}}
            aws.dynamodb.seed("Stock", row)

    def run(self, orders: int, aggregate: Callable[[], object], progress: Callable[[int], None]) -> None:
        """Run this number of orders through their whole histories."""
        unconsumed: list[str] = []
        for number in range(orders):
            unconsumed.append(self._run_one())
            if len(unconsumed) == ORDERS_PER_BATCH or number == orders - 1:
                _consume(unconsumed)
                unconsumed.clear()
            if number % AGGREGATE_EVERY == AGGREGATE_EVERY - 1:
                aggregate()
                progress(number + 1)

    def _run_one(self) -> str:
        history, order_id = self._next_history()
        min_lines = 2 if history in {two_parcels, rest_cancelled} else 1
        LOG.place(order_id, self._placed(self.made, min_lines), correlation_id=order_id, fingerprint="")
        self.made += 1
        order = LOG.load(order_id)
        for command in history(order):
            order = _run_command(order, command)
        return order_id

    def _next_history(self) -> tuple[History, str]:
        if not self._histories:
            self._histories = self._chance.sample(HUNDRED, len(HUNDRED))
        return self._histories.pop(), self._order_id(sampled=self.made % 64 == 0)


def _run_command(order: Order, command: Command) -> Order:
    match command:
        case do.RecordReservation():
            reservations.reserve(LOG, INVENTORY, order.order_id)
            return LOG.load(order.order_id)
        case do.RecordRelease():
            reservations.release(LOG, INVENTORY, order.order_id)
            return LOG.load(order.order_id)
        case do.RecordScreening() if order.placed_at:
            screen_order.HISTORY.add(order, order.placed_at)
        case _:
            pass
    after = LOG.record(order, command, source="orders").order
    if isinstance(command, do.RecordDispatch | do.RecordReturn):
        reservations.sync_stock(LOG, INVENTORY, order.order_id)
    return after


def _consume(order_ids: Iterable[str]) -> None:
    """Run the consumers of orders and of their events."""
    assert not issuing.errors(
        {
            order_id: error
            for order_id, error in issuing.issue(issue_invoices.STORES, list(order_ids)).items()
            if not isinstance(error, issuing.NotConfirmed)
        }
    )
    events: list[Event] = []
    for order_id in order_ids:
        project.project(order_id)
        if point_rules.version(LOG.load(order_id)):
            award_points.award(order_id)
        events += LOG.history(order_id)
    for event in events:
        try:
            post_entries.ENTRIES.post(posting_rules.entry_for(event, post_entries.FEES), datetime.now(UTC))
        except posting_rules.NoMoneyMoved:
            continue
    count_events.ANALYTICS.add([count for event in events if (count := counting_rules.count_event(event)).counters])
