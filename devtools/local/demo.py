"""`make run`: bring the pipeline up, follow an order of every outcome to its final state, and check the results."""

import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from devtools import target as targets
from devtools import ui
from devtools.local import bootstrap, post_fulfilment, scenarios
from devtools.local.api_client import ApiClient, emails, is_final, state_of, wait_until
from devtools.local.post_fulfilment import ScriptRun
from devtools.local.scenarios import REQUESTS, SCENARIOS, RequestContext, Scenario
from devtools.ops import sales_report, timeline
from devtools.target import ROOT, Target
from devtools.web import Answer

# Slow machines need minutes; longer means a failure.
FOLLOW_SECONDS = 900.0
EMAIL_SECONDS = 300.0
# Counting takes seconds on the stream, and seconds more until the counts are aggregated.
COUNTED_SECONDS = 300.0
CALL_SECONDS = 60.0
POLL_SECONDS = 0.15
AT_ONCE = 3
# Events of the first order before others follow: placed, reserved, screened.
EVENTS_BEFORE_OTHERS = 3
SCRIPTS_AT_ONCE = 2
COLUMN = 28


@dataclass(eq=False)
class ScenarioRun:
    """A scenario with its order; `answer` is the API's, once the order was sent."""

    scenario: Scenario
    customer: str
    key: str
    answer: Answer | None = None
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def what(self) -> str:
        """The title."""
        return self.scenario.what

    @property
    def expected(self) -> str:
        """The expected final state."""
        return self.scenario.expected

    @property
    def begun(self) -> bool:
        """Whether the order was sent."""
        return self.answer is not None

    @property
    def order_id(self) -> str:
        """The order's id; empty where the API rejected it."""
        return self.answer.json().get("order_id", "") if self.answer else ""

    @property
    def actual(self) -> str:
        """The order's state, or the status with which the API rejected it."""
        if self.answer and not self.order_id:
            return f"rejected with {self.answer.status}"
        return state_of(self.events)

    @property
    def ended(self) -> bool:
        """Whether the order was rejected or has its final state."""
        return self.answer is not None and (not self.order_id or is_final(self.actual))

    def step(self, api: ApiClient) -> None:
        """Place the order, or read its events again if it was placed."""
        if self.answer is None:
            self.answer = api.place(self.customer, self.scenario.body, self.key)
        elif self.order_id:
            self.events = api.events(self.customer, self.order_id) or self.events


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


def main(_: Namespace) -> int:
    """Bring the pipeline up, follow the orders, print the results; 1 where one differs from the expected."""
    began = time.monotonic()
    target = targets.from_environment()
    ui.headline("Bringing the pipeline up")
    bootstrap.ready(target)
    if target.managed:
        targets.remember_port(target.port)
    api = ApiClient(target, CALL_SECONDS, FOLLOW_SECONDS)
    ui.headline("Following orders to their final state: saga, reviewer, carrier, payments, ledger")
    orders, scripts = _planned(target)
    since = datetime.now(UTC)
    _follow(api, orders, scripts)
    requests = _requests(api, orders)
    sent = _emails(target, orders)
    emailed = Row("an email for each order", f"{len(orders)} emails", f"{len(sent)} emails")
    placed = sum(bool(one.events) for one in [*orders, *scripts])
    sales = _sales(target, placed, since)
    rows = [
        *map(_row, orders),
        *map(_row, scripts),
        *requests,
        emailed,
        _ledger_row(target),
        sales_row(placed, sales_report.orders_of(sales)),
    ]
    ui.headline("Results")
    ui.console.print(result(rows))
    _show_emails(orders, sent)
    sales_report.show(target, sales)
    _next_steps(target, orders)
    wrong = sum(not row.right for row in rows)
    outcome = f"{wrong} of {len(rows)} differ" if wrong else f"all {len(rows)} as expected"
    ui.console.print(f"\n  {outcome}, in {ui.seconds(time.monotonic() - began)}", style="bold red" if wrong else "bold green")
    return 1 if wrong else 0


def _planned(target: Target) -> tuple[list[ScenarioRun], list[ScriptRun]]:
    run = _run()
    names = {scenario.customer: f"{scenario.customer}-{run}" for scenario in SCENARIOS}
    scenarios.prepare(target, names)
    orders = [ScenarioRun(scenario, names[scenario.customer], f"{run}/{scenario.what}") for scenario in SCENARIOS]
    return orders, post_fulfilment.script_runs(target, run)


def _ledger_row(target: Target) -> Row:
    with ui.stage("ledger audit") as step:
        step.detail = post_fulfilment.trial_balance(target)
    return Row("trial balance of the ledger", "0, 0 differences", step.detail)


def _sales(target: Target, placed: int, since: datetime) -> list[dict[str, Any]]:
    """Return the sales by minute since a time, once they have this many orders or the time is over."""
    found: list[dict[str, Any]] = []

    def complete() -> bool:
        found[:] = sales_report.aggregated(target, since)
        return sales_report.orders_of(found) >= placed

    with ui.stage("sales") as stage:
        wait_until(complete, COUNTED_SECONDS, pause=1.0)
        stage.detail = f"{sales_report.orders_of(found):,} orders counted"
    return found


def sales_row(placed: int, found: int) -> Row:
    """Return whether analytics counted these orders; there can be orders of other users."""
    return Row("orders counted by analytics", f"{placed} orders", f"{min(found, placed)} orders")


def _run() -> str:
    # Customers are new in each run, so that earlier orders do not raise their fraud score.
    return f"{int(time.time()):x}"[-6:]


def _requests(api: ApiClient, orders: Sequence[ScenarioRun]) -> list[Row]:
    first = next(order for order in orders if order.scenario.body == scenarios.ORDINARY_BODY)
    context = RequestContext(api, first.customer, "eve", first.key, first.answer or Answer(0, b""))
    return [Row(request.what, request.expected, request.send(context)) for request in REQUESTS]


def _follow(api: ApiClient, orders: list[ScenarioRun], scripts: list[ScriptRun]) -> None:
    """Place the orders and follow them until all orders and scripts have ended, at most FOLLOW_SECONDS."""
    screen = _Orders([*orders, *scripts])
    if not ui.console.is_terminal:
        _drive(api, orders, scripts, screen.report)
        return
    with Live(screen, console=ui.console, refresh_per_second=10):
        _drive(api, orders, scripts, _not_reported)


def _not_reported(_: ScenarioRun | ScriptRun) -> None: ...


def _drive(api: ApiClient, orders: list[ScenarioRun], scripts: list[ScriptRun], ended: Callable[[ScenarioRun | ScriptRun], None]) -> None:
    deadline = time.monotonic() + FOLLOW_SECONDS
    waiting, running = list(orders), list(scripts)
    begun = False
    with ThreadPoolExecutor(AT_ONCE) as pool, ThreadPoolExecutor(SCRIPTS_AT_ONCE) as others:
        while (waiting or running) and time.monotonic() < deadline:
            # A function has a process for each concurrent order: the first order runs alone and starts one process of each.
            at_once = AT_ONCE if any(len(order.events) >= EVENTS_BEFORE_OTHERS for order in orders) else 1
            list(pool.map(ScenarioRun.step, waiting[:at_once], repeat(api)))
            over: list[ScenarioRun | ScriptRun] = [one for one in [*waiting, *running] if one.ended]
            waiting = [order for order in waiting if order not in over]
            running = [run for run in running if run not in over]
            for one in over:
                ended(one)
            if not begun and (over or not waiting):
                # The saga's functions have processes now.
                begun = True
                for run in scripts:
                    others.submit(run.execute)
            time.sleep(POLL_SECONDS)


@dataclass
class _Orders:
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


def _emails(target: Target, orders: list[ScenarioRun]) -> list[dict[str, Any]]:
    addresses = {f"{order.customer}@example.com" for order in orders}
    found: list[dict[str, Any]] = []

    def all_there() -> bool:
        found[:] = [email for email in emails(target) if addresses & set(email["To"])]
        return len(found) >= len(orders)

    with ui.stage("emails") as step:
        wait_until(all_there, EMAIL_SECONDS)
        step.detail = f"{len(found)} in the inbox"
    return found


def _row(order: ScenarioRun | ScriptRun) -> Row:
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


def _show_emails(orders: list[ScenarioRun], sent: list[dict[str, Any]]) -> None:
    ui.headline("Emails, one of each kind")
    by_address = {address: email for email in sent for address in email["To"]}
    printed: set[str] = set()
    for order in orders:
        kind = order.actual.partition(":")[0]
        email = by_address.get(f"{order.customer}@example.com")
        if email and kind not in printed:
            printed.add(kind)
            ui.console.print(Text(f"  ✉ to {email['To'][0]}: {email['Subject']}"))


def _next_steps(target: Target, orders: list[ScenarioRun]) -> None:
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
