"""The original stack of a restore: the real functions and all consumers process orders of every path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from fraud.domain.fraud_rules import FraudFlags
from fraud.handlers import screen_order
from orderflow.aws.order_log import OrderLog
from orderflow.aws.webhooks import Secret
from orderflow.domain.commands import CloseDispute, RecordDispute
from shipping.handlers import receive_webhook
from tests.cost.counting import consumers
from tests.fakes.aws.environment import Aws
from tests.fakes.aws.ses import FakeSes
from tests.faults.paths import BOTH_MUGS, FILTERS, MUG, PATHS, Path, Stage, begin, delivers, dispatches, returns
from tests.faults.simulation import Functions, real_functions

if TYPE_CHECKING:
    import pytest

# The paths of successive orders; paths with a broken function are excluded.
ORIGINAL_PATHS = (
    *(path for path in PATHS if not path.broken),
    Path("disputed", "delivered", fulfilment=(dispatches("parcel_1", BOTH_MUGS, FILTERS), delivers("parcel_1"))),
)
STOCK = 1_000_000
CUSTOMERS = 997
# The records of sent messages are cleared after this number of orders, to limit memory.
CLEAR_EVERY = 500


class Original:
    """A pipeline with all its consumers."""

    def __init__(self, patch: pytest.MonkeyPatch, aws: Aws) -> None:
        streamed, queued = consumers()
        modules = {name: import_module(module).handler for name, (module, _) in {**streamed, **queued}.items()}
        self._patch, self._emails = patch, FakeSes()
        self.simulation = Stage(patch, Functions({**real_functions().handlers, **modules})).simulation(ORIGINAL_PATHS[0])
        self.simulation.streamed_consumers, self.simulation.consumers = streamed, queued
        # For this run only: the cached secret would be used by later tests.
        patch.setattr(receive_webhook, "SECRET", Secret("carrier", aws.secretsmanager))  # pyright: ignore[reportArgumentType]
        self._use(aws)

    def _use(self, aws: Aws) -> None:
        for table in ("Catalogue", "Stock"):
            aws.dynamodb.seed(table, *self.simulation.aws.dynamodb.items(table))
        for sku in ("MUG-BLUE", "FILTER-100", "ESPRESSO-PRO"):
            row = next(row for row in aws.dynamodb.items("Stock") if row["sku"]["S"] == sku)
            aws.dynamodb.seed("Stock", {**row, "available": {"N": str(STOCK)}})
        self.simulation.aws = aws
        aws.lend(ses=self._emails)

    @property
    def aws(self) -> Aws:
        return self.simulation.aws

    def run(self, orders: int, progress: Callable[[int], None] = lambda _: None) -> None:
        """Run this number of orders to their final states, on all paths in turn."""
        for number in range(orders):
            if number % CLEAR_EVERY == CLEAR_EVERY - 1:
                self.simulation.clear_messages()
                self._emails.sent.clear()
                progress(number + 1)
            customer = f"customer-{number % CUSTOMERS}"
            path = _path(number, customer)
            self._patch.setattr(screen_order, "FLAGS", lambda path=path: FraudFlags(fraud=path.rules))
            order_id = begin(self.simulation, path, customer, f"key-{number}")
            self.simulation.process_all()
            if path.name == "disputed":
                self._dispute(order_id, "won" if number % 2 else "lost")

    def leave_active(self, orders: int) -> None:
        """Leave this number of orders held for review, and as many whose saga failed before its first step."""
        self._patch.setattr(screen_order, "FLAGS", FraudFlags)
        held, placed = (next(path for path in ORIGINAL_PATHS if path.name == name) for name in ("held for review", "confirmed"))
        for number in range(orders):
            begin(self.simulation, held, f"held-{number}", "key")
        self.simulation.broken |= {"InventoryReserve", "OrdersFail"}
        for number in range(orders):
            begin(self.simulation, placed, f"placed-{number % 3}", f"key-{number}")

    def _dispute(self, order_id: str, outcome: str) -> None:
        log = OrderLog("OrderLog", self.aws.dynamodb.client)
        order = log.load(order_id)
        log.record(order, RecordDispute("dp_1", order.total, "not received"), source="payments")
        self.simulation.process_all()
        log.record(log.load(order_id), CloseDispute("dp_1", outcome), source="payments")  # pyright: ignore[reportArgumentType]
        self.simulation.process_all()


def _path(number: int, customer: str) -> Path:
    path = ORIGINAL_PATHS[number % len(ORIGINAL_PATHS)]
    if path.name == "returned and refunded":
        return replace(path, fulfilment=(*path.fulfilment[:-1], returns(MUG, customer=customer)))
    return path
