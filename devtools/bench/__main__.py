"""`make bench`: cold start, latency, the cost of an order, and throughput, as ratios and medians of one run.

RECORD=1 writes docs/performance.md.
"""

import os
import platform
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from devtools import cli, ui
from devtools.bench import build, cost, imports, latency, long_orders, page, parts, proxy, stage, throughput
from devtools.bench.parts import CONFIRMED
from devtools.cli import UserError
from devtools.target import ROOT

IMPORT_TARGET = 4.0
# 1.6 for one conditional write; on the emulator the transaction with the token and the limit takes 2 ms more (decisions 6, 38).
POST_TARGET = 1.8
DOLLARS_TARGET = 30.0
# $60, and $1.20 for the message to the loyalty points since a shard serves no fifth reader (decision 25). $3.75 for six write units:
# placing is a transaction (1) that stores the payment token (2) and counts unpaid orders (2), and the token is deleted (1).
LIFE_TARGET = 64.95
FOLD_TARGET = 0.015

type Rows = list[tuple[str, ...]]


class Report:
    """What was measured: printed at once, and kept for the document."""

    def __init__(self) -> None:
        """Start with nothing measured."""
        self.sections: list[str] = []
        self.missed: list[str] = []

    def table(self, title: str, note: str, columns: tuple[str, ...], rows: Rows) -> None:
        """Print a table, and keep it."""
        shown = Table(title=title, title_justify="left", title_style="bold")
        for number, column in enumerate(columns):
            shown.add_column(column, justify="left" if number == 0 else "right")
        for row in rows:
            shown.add_row(*row)
        ui.console.print(shown)
        self.sections.append(f"## {title}\n\n{note}\n\n{page.table(columns, rows)}")

    def target(self, what: str, *, reached: bool) -> str:
        """Note whether a target was reached; return the word for it."""
        if not reached:
            self.missed.append(what)
        return "reached" if reached else "missed"


def main() -> int:
    """Measure everything, print it, and with RECORD=1 write it down; 1 when a target was missed."""
    if os.environ.get("BACKEND", "embedded") != "embedded":
        raise UserError("the bench runs on the embedded emulator only")
    if os.getloadavg()[0] > 2 * (os.cpu_count() or 1):
        print("note: this machine is busy, so times will be long", file=sys.stderr)
    report = Report()
    _folding(report)
    with stage.pipeline() as target:
        _imports(report, build.build(target))
        posts = latency.posts(target)
        # Before anything else runs: single orders, one after the other.
        times = cost.usual_times(target)
        _latency(report, {"POST /orders": posts, **latency.invocations(target)})
        _throughput(report, throughput.measure(target))
    _cost(report, _counted(times))
    if cli.option("RECORD"):
        page.write(page.BENCH, document(report.sections))
        ui.console.print(f"  wrote {page.DOCUMENT.relative_to(ROOT)}")
    for missed in report.missed:
        print(f"missed: {missed}", file=sys.stderr)
    return 1 if report.missed else 0


def _counted(times: cost.Times) -> cost.Counted:
    """Count on an emulator of its own, whose functions reach AWS through the proxy."""
    port, through = stage.free_port(), stage.free_port()
    with proxy.recording(f"http://127.0.0.1:{port}", through) as recorder, stage.pipeline(f"http://127.0.0.1:{through}", port) as target:
        return cost.count(target, recorder, times)


def _imports(report: Report, artifacts: Mapping[str, build.Artifact]) -> None:
    seconds = imports.measure(artifacts)
    ratio = seconds["control"] / seconds["order API"]
    reached = report.target(f"import {ratio:.1f}x faster than the control, {IMPORT_TARGET:.0f}x wanted", reached=ratio >= IMPORT_TARGET)
    note = (
        "Processor time of importing the handler in a new process, median of interleaved runs. The control does what the order API "
        "does with Powertools' parser, event handler, idempotency and Tracer and with boto3, and is what `sam build` ships. "
        f"The order API is {ratio:.1f}x faster than the control (at least {IMPORT_TARGET:.0f}x wanted: {reached})."
    )
    rows = [(name, _ms(value), f"{value / seconds['order API']:.2f}") for name, value in seconds.items()]
    report.table("Cold import", note, ("handler", "ms", "of the order API's"), rows)


def _latency(report: Report, measured: Mapping[str, latency.Samples]) -> None:
    medians = {name: latency.medians(samples) for name, samples in measured.items()}
    ratio = medians["POST /orders"]["order API"] / medians["POST /orders"]["bare"]
    reached = report.target(f"POST /orders {ratio:.2f}x a no-op, {POST_TARGET}x allowed", reached=ratio <= POST_TARGET)
    note = (
        "On the emulator, asked in turn, no order under way meanwhile. The bare function answers 201 and does nothing; it is behind the "
        f"same authorizer. POST /orders takes {ratio:.2f}x as long (at most {POST_TARGET}x wanted: {reached})."
    )
    rows = [
        (name, _ms(median["bare"]), _ms(median["order API"]), f"{median['order API'] / median['bare']:.2f}")
        for name, median in medians.items()
    ]
    report.table("Latency (p50)", note, ("", "bare, ms", "order API, ms", "ratio"), rows)


def _folding(report: Report) -> None:
    seconds = long_orders.times()
    longest = max(seconds)
    what = f"{seconds[longest] * 1000:.1f} ms to fold an order of {longest:,} events, {FOLD_TARGET * 1000:.0f} ms allowed"
    reached = report.target(what, reached=seconds[longest] <= FOLD_TARGET)
    note = (
        "Processor time of folding an order from its decoded events: each piece in a parcel of its own, captured, delivered, sent back, "
        f"refunded and credited. At most {FOLD_TARGET * 1000:.0f} ms are allowed for {longest:,} events: {reached}."
    )
    rows = [(f"{number:,}", _ms(value), f"{value / number * 1e6:.1f}") for number, value in seconds.items()]
    report.table("Folding a long order", note, ("events", "ms", "µs an event"), rows)


def _throughput(report: Report, result: throughput.Result) -> None:
    faults = {"lost": result.lost, "twice": result.twice, "stuck": result.stuck, "in another end state than they must": result.wrong}
    clean = report.target(f"orders lost, twice, stuck or wrong: {faults}", reached=not any(faults.values()))
    note = (
        f"{result.orders} orders, {throughput.AT_ONCE} under way at any time, each by another customer, until the last one's end. "
        f"None may be lost, twice or stuck, and each must end as it has to, with one mail: {clean}."
    )
    rows = [("orders per second", f"{result.per_second:.1f}"), *((state, str(count)) for state, count in sorted(result.ends.items()))]
    report.table("Throughput", note, ("", "orders"), [*rows, *((name, str(count)) for name, count in faults.items())])


def _cost(report: Report, counted: cost.Counted) -> None:
    _calls(report, counted)
    items = cost.bill(counted.usage[CONFIRMED], counted.orders)
    total = sum(item.dollars for item in items)
    reached = report.target(f"${total:.2f} for a million orders, ${DOLLARS_TARGET:.0f} allowed", reached=total <= DOLLARS_TARGET)
    note = (
        f"Counted over {counted.orders} orders of two lines, {cost.AT_ONCE} at a time, each by a customer of its own so that the "
        "authorizer's cache never helps, and with hardly anything to batch for the publisher; at list prices "
        "([prices.toml](../devtools/prices.toml)). Lambda's and the workflow's time is the median of single orders on the emulator's "
        "host. Of log lines those count that AWS would keep: none of Lambda's own for an invocation that did not fail, and the id of a "
        "trace only on one of twenty, which is how many are kept. Traces count where they begin, at requests and sagas. "
        "It is the API's, the saga's and the publisher's share, by function and event: what an event wakes beside the saga is below. "
        f"From placed to confirmed a million orders cost ${total:.2f} (at most ${DOLLARS_TARGET:.0f} wanted: {reached})."
    )
    report.table("Placed to confirmed", note, ("paid for", "an order", "$ a million orders"), _lines(items))
    _life(report, counted)
    notes = {
        parts.ARCHIVE: (
            "What keeping every event of these orders costs beside their lives: delivered in records that count 5 KB each at least. "
            "The objects themselves are few, and not in it."
        ),
        parts.ANALYTICS: "What counting them for analytics costs, beside their lives as well.",
        parts.PAYMENT_SANDBOX: "The sandbox's own store, which is no part of the sums above: a real payment provider sends its own bill.",
        parts.CARRIER_SANDBOX: "The same for the carrier.",
        parts.MAIL: "The mails that the customer gets, when the order is confirmed and when it leaves. SES is nearly all of it.",
    }
    for part, note in notes.items():
        if part not in counted.usage:
            continue
        after = cost.bill(counted.usage.get(part, {}), counted.orders)
        report.table(f"The {part}", note, ("paid for", "an order", "$ a million orders"), _lines(after))


def _life(report: Report, counted: cost.Counted) -> None:
    items = cost.bill(counted.whole(), counted.orders)
    total = sum(item.dollars for item in items)
    loaded = sum(item.dollars for item in cost.bill(counted.at_load(), counted.orders))
    what = f"${total:.2f} for a million whole lives, ${LIFE_TARGET:.2f} allowed"
    reached = report.target(what, reached=total <= LIFE_TARGET)
    note = (
        "The same orders to their end: invoiced, points awarded, asked of the carrier, left in one parcel, captured, entered in the "
        "ledger, delivered, and current in the customer's list all the way. The carrier sends its two messages to the webhook's "
        "function URL, which costs nothing but the function. Every message of a queue counts three requests to SQS, one to send, receive "
        "and delete it, and consumers are invoked as often as they were here, hardly ever for two at once; where every batch from a queue "
        "is full, as at load, the sum is "
        f"${loaded:.2f}. Reading a stream costs nothing. What is there whether there are orders or not is not in it: the hours of a "
        "stream's shards, polls of empty queues, what runs by the clock; nor are a customer's own looks at the order. "
        f"From placed to delivered a million orders cost ${total:.2f} (at most ${LIFE_TARGET:.2f} wanted: {reached})."
    )
    report.table("Placed to delivered", note, ("paid for", "an order", "$ a million orders"), _lines(items))
    note = (
        "Whose it is, in $ a million orders: of the first row what is above, of the others what the context's functions do, the events "
        "that it says with their way onto the bus, and the messages that wake it."
    )
    columns = ("context", *cost.GROUPS, "all")
    sums = cost.by_part(counted)
    rows = [(part, *(f"{groups[group]:.2f}" for group in cost.GROUPS), f"{sum(groups.values()):.2f}") for part, groups in sums.items()]
    report.table("Placed to delivered, by context", note, columns, rows)


def _calls(report: Report, counted: cost.Counted) -> None:
    names = sorted({name for calls in counted.calls.values() for name in calls})
    first = counted.calls[CONFIRMED]
    whole = {name: sum(calls[name] for part, calls in counted.calls.items() if part not in parts.APART) for name in names}
    rows = [(name, _each(first[name], counted), _each(whole[name], counted)) for name in names if whole[name]]
    rows += [
        (f"{name} (mail)", "", _each(number, counted)) for name, number in sorted(counted.calls.get(parts.MAIL, Counter[str]()).items())
    ]
    rows += [(f"Lambda {name}", "", _each(number, counted)) for name, number in sorted(counted.invocations.items())]
    note = (
        "Recorded between the functions and AWS, and from the functions' logs. The publisher's calls all count for the whole life, "
        "because one may carry events of several parts."
    )
    report.table("Calls and invocations of an order", note, ("call", "to confirmed", "to delivered"), rows)


def _each(number: float, counted: cost.Counted) -> str:
    return f"{number / counted.orders:.2f}"


def _lines(items: list[cost.Item]) -> Rows:
    return [
        *((item.what, f"{item.quantity:,.3f}".rstrip("0").rstrip("."), f"{item.dollars:.2f}") for item in items),
        ("all", "", f"{sum(item.dollars for item in items):.2f}"),
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def document(sections: list[str]) -> str:
    """Return this command's part of docs/performance.md with these sections."""
    machine = f"{os.cpu_count()} cores, {_processor()}, {platform.system()}, Python {platform.python_version()}"
    head = [
        f"Measured with `make bench RECORD=1` on {datetime.now(UTC):%d %B %Y}: {machine}; botocore {version('botocore')}.",
        "Times differ from machine to machine, and other programs on it lengthen them; ratios and counts hardly do.",
        "",
    ]
    return "\n".join(head) + "\n" + "\n\n".join(sections) + "\n"


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    lines = known.read_text("utf-8").splitlines() if known.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    cli.run(main)
