"""`make load`: measure the pipeline with many orders.

By default, ORDERS=100000 synthetic orders for PRODUCTS=2000 products pass publisher, stream, analytics and ledger in this process.
TARGET=emulator sends orders, 5000 by default, through a separate emulator instead. HOT=1 simulates orders for one hot product,
INVOICES=1 simulates the numbering of invoices, and REBUILD=1 rebuilds every store from the order log and compares it with the
original. RECORD=1 writes the results to docs/performance.md.
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
    """Simulate orders for one product at several rates, on one row and sharded; return 1 if orders need too many attempts."""
    from tests.load import hot  # noqa: PLC0415 - importing the in-memory services takes a while

    rows: Rows = []
    missed: list[str] = []
    with ui.stage("one product") as step:
        for number, rate in enumerate(hot.RATES):
            label = "all at once" if rate == hot.ALL_AT_ONCE else str(rate)
            step.share, step.detail = number / len(hot.RATES), f"orders per second: {label}"
            one_row, sharded, slow = (
                hot.simulate(case) for case in (hot.Case(rate, sharded=False), hot.Case(rate), hot.Case(rate, slowness=2))
            )
            rows.append(
                (
                    label,
                    f"{one_row.attempts_per_order:.2f}",
                    str(one_row.outcomes["rejected"]),
                    f"{sharded.attempts_per_order:.2f}",
                    str(sharded.outcomes["rejected"]),
                    f"{slow.attempts_per_order:.2f}",
                )
            )
            step.share = (number + 1) / len(hot.RATES)
            all_reserved = sharded.outcomes["reserved"] == sharded.outcomes.total()
            if rate == hot.TARGET_RATE and (sharded.attempts_per_order > hot.MAX_ATTEMPTS or not all_reserved):
                attempts = f"{sharded.attempts_per_order:.2f} attempts per order"
                missed.append(f"{attempts} at {rate} orders per second, {hot.MAX_ATTEMPTS} allowed")
    columns = ("orders per second", "one row", "rejected", "sharded", "rejected", "sharded, AWS twice as slow")
    show(f"Attempts per order, {hot.Case(1).orders:,} orders for one product", columns, rows)
    if record:
        page.write(page.HOT, _hot_part(columns, rows, reached=not missed))
        ui.console.print(f"  wrote {page.DOCUMENT.name}")
    return _exit_code(missed)


def _hot_part(columns: tuple[str, ...], rows: Rows, *, reached: bool) -> str:
    note = (
        "Attempts per order, of 1,000 orders for one product with 2,000 units, in a simulation of the real code with DynamoDB's "
        "documented conflicts (`tests/load/hot.py` lists the assumptions; `make load HOT=1`): on one row, and on 16 stock shards "
        "([decision 31](decisions/0031-shard-hot-products-across-stock-rows.md)). Orders that fail after the workflow's retries are "
        f"rejected. Target: at most 1.7 attempts per order at 125 a second, {'reached' if reached else 'missed'}."
    )
    return f"## One hot product\n\n{note}\n\n{page.table(columns, rows)}"


def numbering(*, record: bool) -> int:
    """Simulate the numbering of invoices at several rates, singly and in batches; return 1 if batches miss their target."""
    from tests.load import invoices  # noqa: PLC0415 - importing the in-memory services takes a while

    tables: dict[bool, Rows] = {False: [], True: []}
    missed: list[str] = []
    with ui.stage("invoices") as step:
        cases = [invoices.Case(rate, batched=batched) for batched in tables for rate in invoices.RATES]
        for number, case in enumerate(cases):
            step.share, step.detail = number / len(cases), "in batches" if case.batched else "one by one"
            outcome = invoices.simulate(case)
            tables[case.batched].append(invoices.row(case, outcome))
            missed += invoices.missed(case, outcome) if case.batched else []
    for batched, rows in tables.items():
        show(f"Invoices numbered {'in batches' if batched else 'one by one'}", invoices.COLUMNS, rows)
    if record:
        page.write(page.INVOICES, _numbering_part(invoices.COLUMNS, tables, reached=not missed))
        ui.console.print(f"  wrote {page.DOCUMENT.name}")
    return _exit_code(missed)


def _numbering_part(columns: tuple[str, ...], tables: dict[bool, Rows], *, reached: bool) -> str:
    note = (
        "2,000 confirmed orders, invoiced by two functions at once, in a simulation of the real code with DynamoDB's documented conflicts "
        "(`tests/load/invoices.py` lists the assumptions; `make load INVOICES=1`). A batch of up to 40 orders is one transaction; its "
        "documents are rewritten if another function took the numbers. Orders without a number after eight attempts are retried from the "
        "queue. Target: no gaps, 200 a second if all orders arrive at once, and each within a second at up to 200 a second, "
        f"{'reached' if reached else 'missed'}. A transaction for each order numbers {tables[False][-1][1]} a second."
    )
    return f"## Invoices numbered without a gap\n\n{note}\n\n{page.table(columns, tables[True])}"


def in_process(orders: int, products: int, *, record: bool) -> int:
    """Run orders through the pipeline in this process; return 1 if a measure grows with their number or a total differs."""
    # samtranslator warns about unused metrics.
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    # Before any function is imported, because it sets their environment and the in-memory services.
    import tests.conftest  # noqa: F401, PLC0415
    from tests.load import flatness, synthetic  # noqa: PLC0415

    with ui.stage("orders in process") as step, TemporaryDirectory() as folder:

        def progress(done: int, total: int, per_second: float, megabytes: float) -> None:
            step.share = done / total
            step.detail = f"{done:,} of {total:,} orders, {per_second:,.0f} per second, {megabytes:.0f} MB"

        measured = flatness.measure(orders, Path(folder), progress, products)
        step.detail = f"{measured.events:,} events, {measured.duplicates:,} duplicates, {measured.late:,} late"
    columns, rows = flatness.table(measured)
    show("Orders since the previous row", columns, rows)
    missed = [*flatness.growing(measured, products), *measured.differences]
    for line in flatness.results(measured):
        ui.console.print(f"  {line}", highlight=False)
    if record:
        many = products > synthetic.PRODUCTS
        page.write(page.PRODUCTS if many else page.LOAD, flatness.many_products(measured, products) if many else flatness.part(measured))
        ui.console.print(f"  wrote {page.DOCUMENT.name}")
    return _exit_code(missed)


def rebuilding(orders: int, *, record: bool) -> int:
    """Rebuild every store from the log of this number of orders; return 1 if a table differs from the original."""
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
    return _exit_code(measure.missed(found))


def on_an_emulator(orders: int, port: int | None) -> int:
    """Run orders through the stack on a separate emulator; return 1 for lost, duplicated or inconsistent results."""
    import tests.conftest  # noqa: F401, PLC0415
    from devtools.bench import stage  # noqa: PLC0415
    from tests.load import emulated  # noqa: PLC0415

    with stage.pipeline(port=port) as target, ui.stage("orders on the emulator") as step:

        def progress(detail: str, share: float) -> None:
            step.detail, step.share = detail, share

        measured = emulated.run(target, orders, progress)
        step.detail = f"{measured.events:,} events, {measured.duplicates:,} duplicates, {orders / measured.seconds:.0f} orders per second"
    if not measured.differences:
        ui.console.print("  no event was lost or counted twice; ledger and analytics equal the orders")
    return _exit_code(measured.differences)


def _exit_code(missed: list[str]) -> int:
    """Print the missed targets; return 1 if there are any."""
    for one in missed:
        print(f"missed: {one}", file=sys.stderr)
    return 1 if missed else 0


def main(arguments: Namespace) -> int:
    """Run the load test that the options select."""
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
    # Before any function is imported, because its logger reads the level at import.
    os.environ["LOG_LEVEL"] = "CRITICAL"
    cli.run("load", main)
