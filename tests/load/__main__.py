"""`make load`: how the pipeline does with many orders, and with many for one product.

ORDERS=100000 is how many go through publisher, stream, analytics and ledger in this process, for PRODUCTS=2000 products;
TARGET=emulator sends them, 5000 unless said otherwise, through an emulator of its own instead. HOT=1 simulates orders for one
product, INVOICES=1 the numbering of invoices. REBUILD=1 rebuilds every store from the
log and compares. RECORD=1 writes the results into docs/performance.md.
"""

from __future__ import annotations

import logging
import os
import sys
from argparse import Namespace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.table import Table

from devtools import cli, ui
from devtools.bench import page

type Rows = list[tuple[str, ...]]


def show(title: str, columns: tuple[str, ...], rows: Rows) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    ui.console.print(table)


def hot_product(*, record: bool) -> int:
    """Simulate orders for one product at several rates, as it is and as it would be on one row; 1 where too many are tried again."""
    from tests.load import hot  # noqa: PLC0415 - the services' stand-ins take a while to import

    rows: Rows = []
    missed: list[str] = []
    with ui.stage("one product") as step:
        for number, rate in enumerate(hot.RATES):
            called = "all at once" if rate == hot.AT_ONCE else str(rate)
            step.share, step.detail = number / len(hot.RATES), f"orders a second: {called}"
            one_row, spread, slow = (
                hot.simulate(case) for case in (hot.Case(rate, spreads=False), hot.Case(rate), hot.Case(rate, slowness=2))
            )
            rows.append(
                (
                    called,
                    f"{one_row.attempts_per_order:.2f}",
                    str(one_row.ends["rejected"]),
                    f"{spread.attempts_per_order:.2f}",
                    str(spread.ends["rejected"]),
                    f"{slow.attempts_per_order:.2f}",
                )
            )
            step.share = (number + 1) / len(hot.RATES)
            if rate == hot.WANTED_RATE and (spread.attempts_per_order > hot.MOST_ATTEMPTS or spread.ends["reserved"] < spread.ends.total()):
                missed.append(f"{spread.attempts_per_order:.2f} attempts an order at {rate} orders a second, {hot.MOST_ATTEMPTS} allowed")
    columns = ("orders per second", "one row", "rejected", "sharded", "rejected", "sharded, AWS twice as slow")
    show(f"Attempts an order, of {hot.Case(1).orders:,} orders for one product", columns, rows)
    if record:
        page.write(page.HOT, _hot_part(columns, rows, reached=not missed))
        ui.console.print(f"  wrote {page.DOCUMENT.name}")
    return _ended(missed)


def _hot_part(columns: tuple[str, ...], rows: Rows, *, reached: bool) -> str:
    note = (
        "1,000 orders for one product with 2,000 units: attempts per order, including those that shard the product, in a simulation of "
        "the real code with DynamoDB's documented conflicts (`tests/load/hot.py` lists the assumptions; `make load HOT=1`). A hot product "
        "has 16 stock shards ([decision 31](decisions/0031-shard-hot-products-across-stock-rows.md)); the first columns show it on one "
        "row. Orders that fail after the workflow's retries are rejected. Target: at most 1.7 attempts per order at 125 a second, "
        f"{'reached' if reached else 'missed'}."
    )
    return f"## One hot product\n\n{note}\n\n{page.table(columns, rows)}"


def numbering(*, record: bool) -> int:
    """Simulate the numbering of invoices at several rates, one by one and in batches; 1 where too few are numbered."""
    from tests.load import invoices  # noqa: PLC0415 - the services' stand-ins take a while to import

    tables: dict[bool, Rows] = {False: [], True: []}
    missed: list[str] = []
    with ui.stage("invoices") as step:
        cases = [invoices.Case(rate, together=together) for together in tables for rate in invoices.RATES]
        for number, case in enumerate(cases):
            step.share, step.detail = number / len(cases), "in batches" if case.together else "one by one"
            found = invoices.simulate(case)
            tables[case.together].append(invoices.row(case, found))
            missed += invoices.missed(case, found) if case.together else []
    for together, rows in tables.items():
        show(f"Invoices numbered {'in batches' if together else 'one by one'}", invoices.COLUMNS, rows)
    if record:
        page.write(page.INVOICES, _numbering_part(invoices.COLUMNS, tables, reached=not missed))
        ui.console.print(f"  wrote {page.DOCUMENT.name}")
    return _ended(missed)


def _numbering_part(columns: tuple[str, ...], tables: dict[bool, Rows], *, reached: bool) -> str:
    note = (
        "2,000 confirmed orders, invoiced by two functions at once, in a simulation of the real code with DynamoDB's documented conflicts "
        "(`tests/load/invoices.py` lists the assumptions; `make load INVOICES=1`). Transactions and documents are per invoice: a batch of "
        "up to 40 orders is one transaction, and documents are rewritten if another function took their numbers. Orders without a number "
        "after eight attempts are retried from the queue. Target: no gaps, 200 a second if all orders arrive at once, and each within a "
        f"second at up to 200 a second, {'reached' if reached else 'missed'}."
    )
    return "\n\n".join(
        [
            f"## Invoices numbered without a gap\n\n{note}",
            *(f"{'In batches' if together else 'One by one'}:\n\n{page.table(columns, tables[together])}" for together in (True, False)),
        ]
    )


def in_process(orders: int, products: int, *, record: bool) -> int:
    """Bring orders through the pipeline in this process; 1 where they cost more with their number, or something does not add up."""
    # Otherwise it warns about unused metrics.
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    # The functions' environment and stand-ins have to be there before the functions.
    import tests.conftest  # noqa: F401, PLC0415
    from tests.load import flatness, synthetic  # noqa: PLC0415

    with ui.stage("orders in process") as step, TemporaryDirectory() as folder:

        def progress(done: int, of: int, each_second: float, megabytes: float) -> None:
            step.share = done / of
            step.detail = f"{done:,} of {of:,} orders, {each_second:,.0f} a second, {megabytes:.0f} MB"

        found = flatness.measure(orders, Path(folder), progress, products)
        step.detail = f"{found.events:,} events, {found.twice:,} twice, {found.late:,} late"
    columns, rows = flatness.table(found)
    show("Orders since the row before", columns, rows)
    missed = [*flatness.growing(found, products), *found.differences]
    for line in flatness.results(found):
        ui.console.print(f"  {line}", highlight=False)
    if record:
        many = products > synthetic.PRODUCTS
        page.write(page.PRODUCTS if many else page.LOAD, flatness.many_products(found, products) if many else flatness.part(found))
        ui.console.print(f"  wrote {page.DOCUMENT.name}")
    return _ended(missed)


def rebuilding(orders: int, *, record: bool) -> int:
    """Rebuild every store from the log of so many orders; return 1 where a table differs from the original."""
    logging.disable(logging.CRITICAL)
    import tests.conftest  # noqa: F401, PLC0415
    from tests.restore import measure  # noqa: PLC0415

    with ui.stage("orders and rebuild") as step, TemporaryDirectory() as folder:

        def progress(detail: str) -> None:
            step.detail = detail

        found = measure.rebuild(measure.build(orders, Path(folder), progress), orders, Path(folder))
        step.detail = f"{found.events:,} events, rebuilt in {found.seconds:,.0f} s of CPU time"
    if record:
        page.write(page.REBUILD, measure.part(found))
        ui.console.print(f"  wrote {page.DOCUMENT.name}")
    return _ended(measure.missed(found))


def on_an_emulator(orders: int, port: int | None) -> int:
    """Run orders through the stack on a separate emulator; return 1 for lost, duplicated or inconsistent results."""
    import tests.conftest  # noqa: F401, PLC0415
    from devtools.bench import stage  # noqa: PLC0415
    from tests.load import emulated  # noqa: PLC0415

    with stage.pipeline(port=port) as target, ui.stage("orders on the emulator") as step:

        def progress(detail: str, share: float) -> None:
            step.detail, step.share = detail, share

        came = emulated.bring(target, orders, progress)
        step.detail = f"{came.events:,} events, {came.twice:,} twice, {orders / came.seconds:.0f} orders a second"
    if not came.differences:
        ui.console.print("  none lost, none twice; ledger and analytics are what the orders come to")
    return _ended(came.differences)


def _ended(missed: list[str]) -> int:
    for one in missed:
        print(f"missed: {one}", file=sys.stderr)
    return 1 if missed else 0


def main(arguments: Namespace) -> int:
    """Run the load that the options select."""
    if arguments.hot:
        return hot_product(record=arguments.record)
    if arguments.invoices:
        return numbering(record=arguments.record)
    if arguments.rebuild:
        return rebuilding(arguments.orders or 100_000, record=arguments.record)
    if arguments.target == "emulator":
        return on_an_emulator(arguments.orders or 5000, arguments.port)
    return in_process(arguments.orders or 100_000, arguments.products, record=arguments.record)


if __name__ == "__main__":
    # Before any of the functions is imported: what they log is not what this is about.
    os.environ["LOG_LEVEL"] = "CRITICAL"
    cli.run("load", main)
