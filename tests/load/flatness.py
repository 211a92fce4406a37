"""Measures whether the cost of an order and the memory of the process are independent of the number of orders before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from devtools.bench import page
from tests.load.pipeline import Pipeline, Tally, memory
from tests.load.synthetic import PER_MINUTE, PRODUCTS

FIRST = 100
ALLOWED = 0.05
# From this number of orders on, every code path has run and memory is compared.
WARM = 1000
# A product is in two ranges, one of the day and one of all time, with up to two write units each.
MAX_WRITE_UNITS = 4.0
MAX_ITEM_BYTES = 60_000
# In orders.
PROGRESS_EVERY = 200
MEMORY_EVERY = 5000

type Progress = Callable[[int, int, float, float], None]
type Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class Segment:
    """The orders since the previous segment: their usage, and that of the scheduled functions in the same time."""

    until: int
    orders: int
    used: Tally
    scheduled: Tally
    minutes: int
    megabytes: float
    seconds: float
    # Products sold, each counted once a minute.
    sold: int = 1

    @property
    def units_per_product(self) -> float:
        """Write units of the scheduled functions for each product that was sold in a minute."""
        return self.scheduled.usage.get("DynamoDB write units", 0.0) / self.sold

    @property
    def calls(self) -> float:
        """Calls to AWS and invocations per order."""
        return self.used.calls.total() / self.orders

    @property
    def dollars(self) -> float:
        """Dollars for a million orders."""
        return self.used.dollars(self.orders)

    @property
    def scheduled_dollars(self) -> float:
        """Dollars for aggregating a million minutes."""
        return self.scheduled.dollars(self.minutes)


@dataclass
class Measured:
    """The segments, the differences between results and orders, and totals of the whole run; `largest` is in bytes."""

    segments: list[Segment] = field(default_factory=list[Segment])
    differences: list[str] = field(default_factory=list[str])
    events: int = 0
    duplicates: int = 0
    late: int = 0
    products: int = 0
    largest: int = 0


def decades(orders: int) -> Iterator[int]:
    """Yield 100, 1,000 and so on below `orders`, then `orders`."""
    until = FIRST
    while until < orders:
        yield until
        until *= 10
    yield orders


def measure(orders: int, folder: Path, progress: Progress = lambda *_: None, products: int = PRODUCTS) -> Measured:
    """Run this number of orders, for this number of products, through the pipeline; a segment ends at each decade."""
    with Pipeline(folder, products=products) as pipeline:
        return _measured(pipeline, orders, progress)


def _measured(pipeline: Pipeline, orders: int, progress: Progress) -> Measured:
    measured = Measured()
    used, scheduled, minutes, before, sold, size = Tally(), Tally(), 0, 0, 0, memory()
    for until in decades(orders):
        began = time.monotonic()

        def report_progress(done: int, before: int = before, began: float = began) -> None:
            nonlocal size
            if done % MEMORY_EVERY == 0:
                size = memory()
            if done % PROGRESS_EVERY == 0:
                progress(before + done, orders, done / max(time.monotonic() - began, 1e-9), size)

        pipeline.run(until - before, report_progress)
        measured.segments.append(
            Segment(
                until=until,
                orders=until - before,
                used=pipeline.used.since(used),
                scheduled=pipeline.scheduled.since(scheduled),
                minutes=pipeline.minutes - minutes,
                megabytes=memory(),
                seconds=time.monotonic() - began,
                sold=pipeline.sold - sold,
            )
        )
        used, scheduled, minutes, before = pipeline.used.copy(), pipeline.scheduled.copy(), pipeline.minutes, until
        sold = pipeline.sold
    measured.differences = pipeline.differences()
    measured.events, measured.duplicates, measured.late = pipeline.orders.totals.events, pipeline.duplicates, pipeline.late
    measured.products = pipeline.products
    measured.largest = pipeline.largest_item
    return measured


def growth(values: list[float]) -> float:
    """Return by which share the largest value exceeds the smallest."""
    return max(values) / min(values) - 1


def growing(measured: Measured, products: int = PRODUCTS) -> list[str]:
    """Return the measures that grow: calls and cost per order, and from a thousand orders on the memory of the process.

    With many products, memory grows with the expected totals of each product. Instead, the write units for a product sold in a minute
    and the size of an analytics item are limited.
    """
    if products > PRODUCTS:
        dollars = growth([one.dollars for one in measured.segments])
        units = max(one.units_per_product for one in measured.segments if one.until >= WARM)
        missed = {
            f"the cost per order differs by {dollars:.1%}, {ALLOWED:.0%} allowed": dollars > ALLOWED,
            f"{units:.1f} write units for a product sold in a minute, {MAX_WRITE_UNITS} allowed": units > MAX_WRITE_UNITS,
            f"an analytics item has {measured.largest:,} bytes, {MAX_ITEM_BYTES:,} allowed": measured.largest > MAX_ITEM_BYTES,
        }
        return [message for message, is_missed in missed.items() if is_missed]
    flat = {
        "calls per order": [one.calls for one in measured.segments],
        "dollars per order": [one.dollars for one in measured.segments],
        "megabytes of memory": [one.megabytes for one in measured.segments if one.until >= WARM],
    }
    return [
        f"{measure} differ by {growth(values):.1%}, {ALLOWED:.0%} allowed"
        for measure, values in flat.items()
        if values and growth(values) > ALLOWED
    ]


def results(measured: Measured) -> Iterator[str]:
    """Yield the results, one line each."""
    segments = measured.segments
    warm = [one.megabytes for one in segments if one.until >= WARM]
    calls, dollars = growth([one.calls for one in segments]), growth([one.dollars for one in segments])
    yield f"calls per order differ by {calls:.1%}, dollars by {dollars:.1%}"
    if warm:
        yield f"memory differs by {growth(warm):.1%}"
    yield "ledger and analytics differ from the orders" if measured.differences else "ledger and analytics equal the orders"


def table(measured: Measured) -> tuple[tuple[str, ...], Rows]:
    """Return a row for each segment."""
    columns = (
        "orders",
        "calls per order",
        "$ per million orders",
        "write units",
        "scheduled, $ per million minutes",
        "MB",
    )
    rows = [
        (
            f"{one.until:,}",
            f"{one.calls:.3f}",
            f"{one.dollars:.2f}",
            f"{one.used.usage['DynamoDB write units'] / one.orders:.2f}",
            f"{one.scheduled_dollars:.0f}",
            f"{one.megabytes:.0f}",
        )
        for one in measured.segments
    ]
    return columns, rows


def many_products(measured: Measured, products: int) -> str:
    """Return the section of docs/performance.md about many products."""
    columns, rows = table(measured)
    columns = (columns[0], *columns[2:4], "write units per product")
    rows = [(some[0], *some[2:4], f"{one.units_per_product:.2f}") for some, one in zip(rows, measured.segments, strict=True)]
    reached = "missed" if growing(measured, products) or measured.differences else "reached"
    note = (
        f"The same with {products:,} products, each order with one line for the next product: "
        f"{measured.products:,} were sold, about 1,200 a minute, and the largest analytics item has {measured.largest / 1000:.1f} KB. "
        f"Target: at most {MAX_WRITE_UNITS:.0f} write units per product sold in a minute, analytics equal to the orders by product, and "
        f"a cost per order as flat as above, {reached}."
    )
    return f"## Many products\n\n{note}\n\n{page.table(columns, rows)}"


def part(measured: Measured) -> str:
    """Return the section of docs/performance.md about many orders."""
    columns, rows = table(measured)
    reached = "missed" if growing(measured) or measured.differences else "reached"
    note = (
        f"{measured.segments[-1].until:,} synthetic orders of every outcome, {PER_MINUTE} a minute, {PRODUCTS:,} products, through the "
        f"real publisher, analytics and ledger, in one process with AWS in memory (`make load`). Of {measured.events:,} events "
        f"{measured.duplicates:,} are duplicated and {measured.late:,} arrive minutes late. Each row covers the orders since the "
        "previous row; dollars exclude CPU time and log lines. Scheduled aggregation depends only on the number of products sold per "
        "minute. At the end the ledger sums to zero and equals the orders by account, and analytics equal them. Target: at most 5% more "
        f"from the first row to the last, for memory from the second, {reached}. `make load TARGET=emulator` sends 5,000 orders, some "
        "twice, through the deployed stack on an emulator and compares the same."
    )
    return f"## Many orders\n\n{note}\n\n{page.table(columns, rows)}"
