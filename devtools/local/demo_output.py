"""The output of `make run`: the orders while they run, the table of results, emails, and commands to try next."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from devtools import ui
from devtools.local.post_fulfilment import ScriptRun
from devtools.local.scenario_run import ScenarioRun
from devtools.ops import timeline
from devtools.target import ROOT, Target

COLUMN = 28


@dataclass(frozen=True)
class Row:
    """A row of the results."""

    what: str
    expected: str
    actual: str
    took: str = ""

    @property
    def right(self) -> bool:
        """Whether the result is the expected one."""
        return self.expected == self.actual


@dataclass
class LiveOrders:
    """The orders, rendered at each refresh."""

    orders: Sequence[ScenarioRun | ScriptRun]
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))

    def __rich__(self) -> Group:
        return Group(*map(self.line, self.orders))

    def report(self, order: ScenarioRun | ScriptRun) -> None:
        """Print one order."""
        ui.console.print(self.line(order))

    def line(self, order: ScenarioRun | ScriptRun) -> Text:
        """Render an order as one line: result, title, timeline."""
        frame = self._spinner.render(time.monotonic())
        busy = (frame.plain if isinstance(frame, Text) else "…", "cyan")
        right = order.actual == order.expected
        started = busy if order.begun else ("·", "dim")
        mark = (("✓", "green") if right else ("✗", "red")) if order.ended else started
        events = timeline.fitted(order.events, ui.console.width - COLUMN - 6)
        return Text.assemble("  ", mark, f" {order.what:<{COLUMN}} ", events)


def row_of(order: ScenarioRun | ScriptRun) -> Row:
    """Return the row of an order."""
    took = timeline.duration(timeline.milliseconds(order.events)[-1]) if order.events else ""
    return Row(order.what, order.expected, order.actual, took)


def result(rows: Sequence[Row]) -> Table:
    """Return the rows as a table: result, title, expected, actual, duration."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", width=3)
    for title in ("order", "expected", "actual"):
        table.add_column(title, no_wrap=True, min_width=6)
    table.add_column("took", justify="right", no_wrap=True, min_width=6)
    for row in rows:
        mark, style = ("✓", "green") if row.right else ("✗", "red")
        cells = (Text(f"  {mark}", style), Text(row.what), Text(row.expected), Text(row.actual, style))
        table.add_row(*cells, Text(row.took, "dim"))
    return table


def show_emails(orders: list[ScenarioRun], sent: list[dict[str, Any]]) -> None:
    """Print one email of each kind."""
    ui.headline("Emails, one of each kind")
    by_address = {address: email for email in sent for address in email["To"]}
    printed: set[str] = set()
    for order in orders:
        kind = order.actual.partition(":")[0]
        email = by_address.get(f"{order.customer}@example.com")
        if email and kind not in printed:
            printed.add(kind)
            ui.console.print(Text(f"  ✉ to {email['To'][0]}: {email['Subject']}"))


def show_next_steps(target: Target, orders: list[ScenarioRun]) -> None:
    """Print the API's URL and commands to try next."""
    samples = sorted(path for path in (ROOT / "events/orders/place_order").glob("*.json") if ".answer" not in path.name)
    sample = samples[0].relative_to(ROOT) if samples else "events/orders/place_order/….json"
    traced = next((order.order_id for order in orders if order.order_id), "ord_…")
    shipped = next((order.order_id for order in orders if order.actual == "confirmed"), "ord_…")
    steps = {
        f"make order FILE={sample}": "place the order of a sample event",
        f"make trace ORDER={traced}": "its events by cause, with times and log lines",
        f"make carrier ORDER={shipped} DO=dispatch": "dispatch it: a webhook event of the carrier",
        "make trial-balance": "the ledger's trial balance",
        "make dashboard": "live plots of orders, revenue and queues",
        "make sales": "best sellers, and the revenue by minute",
        "make logs": "the functions' log lines",
        "make token CUSTOMER=ann": "a bearer token, for curl",
        "make redrive": "the dead-letter queues and their redrive",
        "make stop": "stop the emulator",
    }
    ui.headline("The API, and commands to try next")
    ui.console.print(Text(f"  {target.api_url()}", "cyan"))
    width = max(map(len, steps))
    for command, purpose in steps.items():
        ui.console.print(Text.assemble("  ", (f"{command:<{width}}", "bold"), f"  {purpose}"))
