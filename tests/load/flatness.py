"""Whether an order costs the same however many there were before it, and whether the process stays as large as it is."""

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
# The process has seen everything once by then.
WARM = 1000
# Two ranges, of a day and of all times, with up to two units each.
UNITS = 4.0
LARGEST = 60_000
# Report progress and measure memory after this many orders.
EVERY = 200
LOOK = 5000

type Progress = Callable[[int, int, float, float], None]
type Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class Segment:
    """The orders since the previous segment: their usage, and the scheduled functions' usage meanwhile."""

    until: int
    orders: int
    used: Tally
    clock: Tally
    minutes: int
    megabytes: float
    seconds: float
    # Products sold, each counted once a minute.
    sold: int = 1

    @property
    def units_a_product(self) -> float:
        """Write units of what runs by the clock for each product that was sold in a minute."""
        return self.clock.usage.get("DynamoDB write units", 0.0) / self.sold

    @property
    def calls(self) -> float:
        """Calls to AWS and invocations of an order."""
        return self.used.calls.total() / self.orders

    @property
    def dollars(self) -> float:
        """Dollars for a million orders."""
        return self.used.dollars(self.orders)

    @property
    def clock_dollars(self) -> float:
        """Dollars for summing up a million minutes."""
        return self.clock.dollars(self.minutes)


@dataclass
class Found:
    """The measurements."""

    segments: list[Segment] = field(default_factory=list[Segment])
    differences: list[str] = field(default_factory=list[str])
    events: int = 0
    twice: int = 0
    late: int = 0
    products: int = 0
    largest: int = 0


def decades(orders: int) -> Iterator[int]:
    """Yield 100, 1,000 and so on, and in the end the number itself."""
    until = FIRST
    while until < orders:
        yield until
        until *= 10
    yield orders


def measure(orders: int, folder: Path, progress: Progress = lambda *_: None, products: int = PRODUCTS) -> Found:
    """Bring so many orders, for so many products, through the pipeline, to their end at each decade."""
    with Pipeline(folder, products=products) as pipeline:
        return _measured(pipeline, orders, progress)


def _measured(pipeline: Pipeline, orders: int, progress: Progress) -> Found:
    found = Found()
    used, clock, minutes, before, sold, size = Tally(), Tally(), 0, 0, 0, memory()
    for until in decades(orders):
        began = time.monotonic()

        def report_progress(done: int, before: int = before, began: float = began) -> None:
            nonlocal size
            if done % LOOK == 0:
                size = memory()
            if done % EVERY == 0:
                progress(before + done, orders, done / max(time.monotonic() - began, 1e-9), size)

        pipeline.bring(until - before, report_progress)
        found.segments.append(
            Segment(
                until=until,
                orders=until - before,
                used=pipeline.used.since(used),
                clock=pipeline.clock.since(clock),
                minutes=pipeline.minutes - minutes,
                megabytes=memory(),
                seconds=time.monotonic() - began,
                sold=pipeline.sold - sold,
            )
        )
        used, clock, minutes, before = pipeline.used.copy(), pipeline.clock.copy(), pipeline.minutes, until
        sold = pipeline.sold
    found.differences = pipeline.differences()
    found.events, found.twice, found.late = pipeline.orders.truth.events, pipeline.twice, pipeline.late
    found.products, found.largest = pipeline.products, pipeline.largest
    return found


def growth(values: list[float]) -> float:
    """Return how much more the largest is than the smallest, as a share of it."""
    return max(values) / min(values) - 1


def growing(found: Found, products: int = PRODUCTS) -> list[str]:
    """Return the growing measures: calls and cost of an order, and from a thousand orders on the process's memory.

    With many products the process knows each that was sold, to compare. Then the cost of an order, of a product that was sold in
    a minute, and the size of an item of analytics are looked at.
    """
    if products > PRODUCTS:
        dollars = growth([one.dollars for one in found.segments])
        units = max(one.units_a_product for one in found.segments if one.until >= WARM)
        missed = {
            f"cost of an order differs by {dollars:.1%}, {ALLOWED:.0%} allowed": dollars > ALLOWED,
            f"{units:.1f} write units for a product sold in a minute, {UNITS} allowed": units > UNITS,
            f"an item of analytics has {found.largest:,} bytes, {LARGEST:,} allowed": found.largest > LARGEST,
        }
        return [what for what, is_missed in missed.items() if is_missed]
    flat = {
        "calls of an order": [one.calls for one in found.segments],
        "cost of an order": [one.dollars for one in found.segments],
        "memory": [one.megabytes for one in found.segments if one.until >= WARM],
    }
    return [
        f"{what} differ by {growth(values):.1%}, {ALLOWED:.0%} allowed"
        for what, values in flat.items()
        if values and growth(values) > ALLOWED
    ]


def results(found: Found) -> Iterator[str]:
    """Yield the results, one line each."""
    several = found.segments
    warm = [one.megabytes for one in several if one.until >= WARM]
    calls, dollars = growth([one.calls for one in several]), growth([one.dollars for one in several])
    yield f"calls of an order differ by {calls:.1%}, its cost by {dollars:.1%}"
    if warm:
        yield f"memory differs by {growth(warm):.1%}"
    yield "ledger and analytics are what the orders come to" if not found.differences else "something does not add up"


def table(found: Found) -> tuple[tuple[str, ...], Rows]:
    """Return a row for each segment."""
    columns = (
        "orders",
        "calls per order",
        "$ per million orders",
        "write units",
        "scheduled, $ per million minutes",
        "MB",
        "orders per second",
    )
    rows = [
        (
            f"{one.until:,}",
            f"{one.calls:.3f}",
            f"{one.dollars:.2f}",
            f"{one.used.usage['DynamoDB write units'] / one.orders:.2f}",
            f"{one.clock_dollars:.0f}",
            f"{one.megabytes:.0f}",
            f"{one.orders / one.seconds:,.0f}",
        )
        for one in found.segments
    ]
    return columns, rows


def many_products(found: Found, products: int) -> str:
    """Return the part of docs/performance.md about many products."""
    columns, rows = table(found)
    columns = (*columns, "write units per product sold in a minute")
    rows = [(*some, f"{one.units_a_product:.2f}") for some, one in zip(rows, found.segments, strict=True)]
    reached = "missed" if growing(found, products) or found.differences else "reached"
    note = (
        f"The same with {products:,} products, each order with one line for the next product (`make load PRODUCTS={products}`): "
        f"{found.products:,} were sold, and the largest analytics item has {found.largest / 1000:.1f} KB. About 1,200 products are sold "
        "per minute and aggregated by day and for all time. At first many share an item; with more products nearly each is in a different "
        f"one, which is the maximum cost. Target: at most {UNITS:.0f} write units per product, analytics equal to the orders by product, "
        f"and a cost per order as flat as above, {reached}."
    )
    return f"## Many products\n\n{note}\n\n{page.table(columns, rows)}"


def part(found: Found) -> str:
    """Return this part of docs/performance.md."""
    columns, rows = table(found)
    reached = "missed" if growing(found) or found.differences else "reached"
    note = (
        f"{found.segments[-1].until:,} synthetic orders of every outcome, {PER_MINUTE} a minute, {PRODUCTS:,} products, through the real "
        "publisher, analytics and ledger, in one process with AWS in memory (`make load`). Of "
        f"{found.events:,} events {found.twice:,} are duplicated and {found.late:,} arrive minutes late. Each row covers the orders since "
        "the previous row; calls include invocations; dollars exclude CPU time and log lines. Scheduled aggregation depends on the number "
        "of products sold per minute only and has its own column. Memory is the process's; its tables are on disk. At the end the ledger "
        "sums to zero and equals the orders by account, and analytics equal them by counter and leaderboard. Target: at most 5% more from "
        f"the first row to the last, for memory from the second, {reached}. `make load TARGET=emulator` sends 5,000 orders, some twice, "
        "through the deployed stack on an emulator in about four minutes and compares the same."
    )
    return f"## Many orders\n\n{note}\n\n{page.table(columns, rows)}"
