"""`make run`: the whole pipeline on this machine, an order for every outcome followed to its end and beyond."""

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

# A machine may be slow: what takes this long is broken.
FOLLOW_SECONDS = 900.0
EMAIL_SECONDS = 300.0
# Counting takes seconds on the stream, and seconds more until the counts are aggregated.
COUNTED_SECONDS = 300.0
CALL_SECONDS = 60.0
POLL_SECONDS = 0.15
AT_ONCE = 3
# How many events the first order has before others follow: placed, reserved, screened.
EVENTS_BEFORE_OTHERS = 3
SCRIPTS_AT_ONCE = 2
COLUMN = 28


@dataclass(eq=False)
class ScenarioRun:
    """An order of a scenario, and what is known of it so far; `answer` is the API's, once it was asked."""

    scenario: Scenario
    customer: str
    key: str
    answer: Answer | None = None
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def what(self) -> str:
        """What it is for."""
        return self.scenario.what

    @property
    def expected(self) -> str:
        """The state that it must end in."""
        return self.scenario.expected

    @property
    def begun(self) -> bool:
        """Whether it was placed."""
        return self.answer is not None

    @property
    def order_id(self) -> str:
        """The order's id; empty when it was not accepted."""
        return self.answer.json().get("order_id", "") if self.answer else ""

    @property
    def actual(self) -> str:
        """The state that the order is in, or what the API answered instead of accepting it."""
        if self.answer and not self.order_id:
            return f"refused with {self.answer.status}"
        return state_of(self.events)

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.answer is not None and (not self.order_id or is_final(self.actual))

    def step(self, shop: ApiClient) -> None:
        """Place the order if that was not done, or else read its events again."""
        if self.answer is None:
            self.answer = shop.place(self.customer, self.scenario.body, self.key)
        elif self.order_id:
            self.events = shop.events(self.customer, self.order_id) or self.events


@dataclass(frozen=True)
class Row:
    """A line of the result."""

    what: str
    expected: str
    actual: str
    took: str = ""

    @property
    def right(self) -> bool:
        """Whether it came out as it must."""
        return self.expected == self.actual


def main(_: Namespace) -> int:
    """Bring everything up, place the orders, follow them, and say what came of it; 1 when anything differs."""
    began = time.monotonic()
    target = targets.from_environment()
    ui.headline("Bringing the pipeline up")
    bootstrap.ready(target)
    if target.managed:
        targets.remember_port(target.port)
    shop = ApiClient(target, CALL_SECONDS, FOLLOW_SECONDS)
    ui.headline("Placing orders, and following each to its end and beyond: people, the carrier, the books")
    orders, stories = _planned(target)
    since = datetime.now(UTC)
    _follow(shop, orders, stories)
    requests = _requests(shop, orders)
    sent = _emails(target, orders)
    mailed = Row("a mail for each order", f"{len(orders)} mails", f"{len(sent)} mails")
    placed = sum(bool(one.events) for one in [*orders, *stories])
    sales = _sales(target, placed, since)
    rows = [
        *map(_row, orders),
        *map(_row, stories),
        *requests,
        mailed,
        _ledger_row(target),
        sales_row(placed, sales_report.orders_of(sales)),
    ]
    ui.headline("What came of it")
    ui.console.print(result(rows))
    _show_emails(orders, sent)
    sales_report.show(target, sales)
    _next_steps(target, orders)
    wrong = sum(not row.right for row in rows)
    verdict = f"{wrong} of {len(rows)} differ" if wrong else f"all {len(rows)} as expected"
    ui.console.print(f"\n  {verdict}, in {ui.seconds(time.monotonic() - began)}", style="bold red" if wrong else "bold green")
    return 1 if wrong else 0


def _planned(target: Target) -> tuple[list[ScenarioRun], list[ScriptRun]]:
    run = _run()
    names = {scenario.customer: f"{scenario.customer}-{run}" for scenario in SCENARIOS}
    scenarios.prepare(target, names)
    return [
        ScenarioRun(scenario, names[scenario.customer], f"{run}/{scenario.what}") for scenario in SCENARIOS
    ], post_fulfilment.script_runs(target, run)


def _ledger_row(target: Target) -> Row:
    with ui.stage("books") as step:
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
    """Whether analytics counted these orders; somebody else may have placed others meanwhile."""
    return Row("what is sold, by the stream", f"{placed} orders", f"{min(found, placed)} orders")


def _run() -> str:
    # Customers are new in each run: orders of earlier runs would count against them.
    return f"{int(time.time()):x}"[-6:]


def _requests(shop: ApiClient, orders: Sequence[ScenarioRun]) -> list[Row]:
    first = next(order for order in orders if order.scenario.body == scenarios.ORDINARY_BODY)
    visit = RequestContext(shop, first.customer, "eve", first.key, first.answer or Answer(0, b""))
    return [Row(request.what, request.expected, request.send(visit)) for request in REQUESTS]


def _follow(shop: ApiClient, orders: list[ScenarioRun], stories: list[ScriptRun]) -> None:
    """Place the orders and watch until every one has ended and every story is over, or FOLLOW_SECONDS are."""
    screen = _Orders([*orders, *stories])
    if not ui.console.is_terminal:
        _drive(shop, orders, stories, screen.say)
        return
    with Live(screen, console=ui.console, refresh_per_second=10):
        _drive(shop, orders, stories, _on_screen_already)


def _on_screen_already(_: ScenarioRun | ScriptRun) -> None: ...


def _drive(shop: ApiClient, orders: list[ScenarioRun], stories: list[ScriptRun], ended: Callable[[ScenarioRun | ScriptRun], None]) -> None:
    deadline = time.monotonic() + FOLLOW_SECONDS
    waiting, going_on = list(orders), list(stories)
    begun = False
    with ThreadPoolExecutor(AT_ONCE) as pool, ThreadPoolExecutor(SCRIPTS_AT_ONCE) as others:
        while (waiting or going_on) and time.monotonic() < deadline:
            # Each function starts a process for every order that is at it: the first order goes ahead and starts one of each.
            at_once = AT_ONCE if any(len(order.events) >= EVENTS_BEFORE_OTHERS for order in orders) else 1
            list(pool.map(ScenarioRun.step, waiting[:at_once], repeat(shop)))
            over: list[ScenarioRun | ScriptRun] = [one for one in [*waiting, *going_on] if one.ended]
            waiting = [order for order in waiting if order not in over]
            going_on = [told for told in going_on if told not in over]
            for one in over:
                ended(one)
            if not begun and (over or not waiting):
                # The saga's functions are up by now.
                begun = True
                for told in stories:
                    others.submit(told.execute)
            time.sleep(POLL_SECONDS)


@dataclass
class _Orders:
    """The orders as they are now, drawn anew at each refresh."""

    orders: Sequence[ScenarioRun | ScriptRun]
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))

    def __rich__(self) -> Group:
        return Group(*map(self.line, self.orders))

    def say(self, order: ScenarioRun | ScriptRun) -> None:
        """Print one order as it is."""
        ui.console.print(self.line(order))

    def line(self, order: ScenarioRun | ScriptRun) -> Text:
        """An order as one line: how it stands, what it is for, its timeline."""
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
        found[:] = [mail for mail in emails(target) if addresses & set(mail["To"])]
        return len(found) >= len(orders)

    with ui.stage("mails") as step:
        wait_until(all_there, EMAIL_SECONDS)
        step.detail = f"{len(found)} in the inbox"
    return found


def _row(order: ScenarioRun | ScriptRun) -> Row:
    took = timeline.duration(timeline.milliseconds(order.events)[-1]) if order.events else ""
    return Row(order.what, order.expected, order.actual, took)


def result(rows: Sequence[Row]) -> Table:
    """The rows as a table: what, expected, actual, how long, and whether it is right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", width=3)
    for title in ("what", "expected", "actual"):
        table.add_column(title, no_wrap=True, min_width=6)
    table.add_column("took", justify="right", no_wrap=True, min_width=6)
    for row in rows:
        mark, style = ("✓", "green") if row.right else ("✗", "red")
        cells = (Text(f"  {mark}", style), Text(row.what), Text(row.expected), Text(row.actual, style))
        table.add_row(*cells, Text(row.took, "dim"))
    return table


def _show_emails(orders: list[ScenarioRun], sent: list[dict[str, Any]]) -> None:
    ui.headline("Mails, one of each kind")
    by_address = {address: mail for mail in sent for address in mail["To"]}
    shown: set[str] = set()
    for order in orders:
        kind = order.actual.partition(":")[0]
        mail = by_address.get(f"{order.customer}@example.com")
        if mail and kind not in shown:
            shown.add(kind)
            ui.console.print(Text(f"  ✉ to {mail['To'][0]}: {mail['Subject']}"))


def _next_steps(target: Target, orders: list[ScenarioRun]) -> None:
    samples = sorted(path for path in (ROOT / "events/orders/place_order").glob("*.json") if ".answer" not in path.name)
    sample = samples[0].relative_to(ROOT) if samples else "events/orders/place_order/….json"
    traced = next((order.order_id for order in orders if order.order_id), "ord_…")
    shipped = next((order.order_id for order in orders if order.actual == "confirmed"), "ord_…")
    steps = {
        f"make order FILE={sample}": "place the order of a sample event",
        f"make trace ORDER={traced}": "what caused what, and when",
        f"make carrier ORDER={shipped} DO=dispatch": "what the carrier does, told to the webhook",
        "make trial-balance": "the ledger's trial balance",
        "make dashboard": "all of this as plots, live",
        "make sales": "best sellers, and the revenue by minute",
        "make logs": "the functions' log lines, merged",
        "make token CUSTOMER=ann": "a bearer token, for curl",
        "make redrive": "the dead-letter queues, and how to empty them",
        "make stop": "stop what this started",
    }
    ui.headline("The API, and what to try next")
    ui.console.print(Text(f"  {target.api_url()}", "cyan"))
    width = max(map(len, steps))
    for command, purpose in steps.items():
        ui.console.print(Text.assemble("  ", (f"{command:<{width}}", "bold"), f"  {purpose}"))
