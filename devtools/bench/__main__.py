"""`make bench`: cold start, latency, the cost of an order, and throughput, as ratios and medians of one run.

--record writes docs/performance.md.
"""

import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from devtools import cli, ui
from devtools.bench import build, cost, imports, latency, proxy, stage, throughput
from devtools.cli import UserError
from devtools.target import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
MARK = "<!-- written by `make bench RECORD=1` -->"
IMPORT_TARGET = 4.0
POST_TARGET = 1.6
DOLLARS_TARGET = 30.0

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
        lines = ["| " + " | ".join(row) + " |" for row in (columns, ("---",) + ("--:",) * (len(columns) - 1), *rows)]
        self.sections.append("\n".join([f"## {title}", "", note, "", *lines]))

    def target(self, what: str, *, reached: bool) -> str:
        """Note whether a target was reached; return the word for it."""
        if not reached:
            self.missed.append(what)
        return "reached" if reached else "missed"


def main() -> int:
    """Measure everything, print it, and with --record write it down; 1 when a target was missed."""
    if os.environ.get("BACKEND", "embedded") != "embedded":
        raise UserError("the bench runs on the embedded emulator only")
    if os.getloadavg()[0] > 2 * (os.cpu_count() or 1):
        print("note: this machine is busy, so times will be long", file=sys.stderr)
    report = Report()
    with stage.pipeline() as target:
        _imports(report, build.build(target))
        posts = latency.posts(target)
        # Before anything else runs: single orders, one after the other.
        times = cost.usual_times(target)
        _latency(report, {"POST /orders": posts, **latency.invocations(target)})
        _throughput(report, throughput.measure(target))
    _cost(report, _counted(times))
    if "--record" in sys.argv[1:]:
        DOCUMENT.write_text(document(report.sections), "utf-8")
        ui.console.print(f"  wrote {DOCUMENT.relative_to(ROOT)}")
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
    items = cost.bill(counted.usage, counted.orders)
    total = sum(item.dollars for item in items)
    reached = report.target(f"${total:.2f} for a million orders, ${DOLLARS_TARGET:.0f} allowed", reached=total <= DOLLARS_TARGET)
    note = (
        f"Counted over {counted.orders} orders of two lines, {cost.AT_ONCE} at a time, each by a customer of its own so that the "
        "authorizer's cache never helps, and with hardly anything to batch for the publisher; at list prices "
        "([prices.toml](../devtools/prices.toml)). Lambda's and the workflow's time is the median of single orders on the emulator's "
        f"host. From placed to confirmed a million orders cost ${total:.2f} (at most ${DOLLARS_TARGET:.0f} wanted: {reached})."
    )
    report.table("Placed to confirmed", note, ("paid for", "an order", "$ a million orders"), _lines(items, total))
    sandbox = cost.bill(counted.sandbox_usage, counted.orders)
    note = "The sandbox's own store, which is no part of the sum above: a real payment provider sends its own bill."
    report.table(
        "The payment sandbox", note, ("paid for", "an order", "$ a million orders"), _lines(sandbox, sum(item.dollars for item in sandbox))
    )
    after = cost.bill(counted.mail_usage, counted.orders)
    note = "What follows: the mail that the customer gets. SES is nearly all of it."
    report.table("The mail", note, ("paid for", "an order", "$ a million orders"), _lines(after, sum(item.dollars for item in after)))


def _calls(report: Report, counted: cost.Counted) -> None:
    rows = [(name, f"{count / counted.orders:.2f}") for name, count in sorted(counted.calls.items())]
    rows += [(f"{name} (mail)", f"{count / counted.orders:.2f}") for name, count in sorted(counted.mail_calls.items())]
    rows += [(f"Lambda {name}", f"{count / counted.orders:.2f}") for name, count in sorted(counted.invocations.items()) if count]
    note = "Recorded between the functions and AWS, and from the functions' logs."
    report.table("Calls and invocations of a confirmed order", note, ("call", "an order"), rows)


def _lines(items: list[cost.Item], total: float) -> Rows:
    return [
        *((item.what, f"{item.quantity:,.3f}".rstrip("0").rstrip("."), f"{item.dollars:.2f}") for item in items),
        ("all", "", f"{total:.2f}"),
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def document(sections: list[str]) -> str:
    """Return docs/performance.md with these sections."""
    machine = f"{os.cpu_count()} cores, {_processor()}, {platform.system()}, Python {platform.python_version()}"
    head = [
        "# Performance",
        "",
        MARK,
        "",
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
