"""`make run`: the whole pipeline on this machine, an order for every outcome followed to its end, expected against actual."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from devtools import cli, scenarios, timeline, ui, up
from devtools.scenarios import REQUESTS, SCENARIOS, Scenario, Visit
from devtools.shop import Shop, has_ended, mails, state_of, wait_until
from devtools.target import ROOT, Target
from devtools.web import Answer

FOLLOW_SECONDS = 60.0
MAIL_SECONDS = 15.0
POLL_SECONDS = 0.15
COLUMN = 28


@dataclass
class Followed:
    """An order that was placed, and what is known of it so far."""

    scenario: Scenario
    customer: str
    key: str
    answer: Answer
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def order_id(self) -> str:
        """The order's id; empty when it was not accepted."""
        return self.answer.json().get("order_id", "")

    @property
    def actual(self) -> str:
        """The state that the order is in, or what the API answered instead of accepting it."""
        return state_of(self.events) if self.order_id else f"refused with {self.answer.status}"

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to wait for."""
        return not self.order_id or has_ended(self.actual)

    def look(self, shop: Shop) -> None:
        """Read the order's events again."""
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


def main() -> int:
    """Bring everything up, place the orders, follow them, and say what came of it; 1 when anything differs."""
    began = time.monotonic()
    ui.headline("Bringing the pipeline up")
    target = up.ready()
    shop = Shop(target)
    ui.headline("Placing orders, and following each to its end")
    orders = _place_all(shop)
    requests = _requests(shop, orders)
    _follow(shop, orders)
    sent = _mails(target, orders)
    rows = [*map(_row, orders), *requests, Row("a mail for each order", f"{len(orders)} mails", f"{len(sent)} mails")]
    ui.headline("What came of it")
    ui.console.print(result(rows))
    _show_mails(orders, sent)
    _next_steps(target, orders)
    wrong = sum(not row.right for row in rows)
    verdict = f"{wrong} of {len(rows)} differ" if wrong else f"all {len(rows)} as expected"
    ui.console.print(
        f"\n  {verdict}, in {ui.seconds(time.monotonic() - began)}", style="bold red" if wrong else "bold green"
    )
    return 1 if wrong else 0


def _place_all(shop: Shop) -> list[Followed]:
    # Customers are new in each run: orders of earlier runs would count against them.
    run = f"{int(time.time()):x}"[-6:]
    names = {scenario.customer: f"{scenario.customer}-{run}" for scenario in SCENARIOS}
    scenarios.prepare(shop.target, names)
    return [_place(shop, scenario, names[scenario.customer], run) for scenario in SCENARIOS]


def _place(shop: Shop, scenario: Scenario, customer: str, run: str) -> Followed:
    key = f"{run}/{scenario.what}"
    return Followed(scenario, customer, key, shop.place(customer, scenario.body, key))


def _requests(shop: Shop, orders: Sequence[Followed]) -> list[Row]:
    first = next(order for order in orders if order.scenario.body == SCENARIOS[1].body)
    visit = Visit(shop, first.customer, "eve", first.key, first.answer)
    return [Row(request.what, request.expected, request.send(visit)) for request in REQUESTS]


def _follow(shop: Shop, orders: list[Followed]) -> None:
    """Watch until every order has ended, or FOLLOW_SECONDS are over."""
    deadline = time.monotonic() + FOLLOW_SECONDS
    screen = _Orders(orders)
    with ThreadPoolExecutor(4) as pool:
        if not ui.console.is_terminal:
            _poll(shop, orders, pool, deadline, screen.say)
            return
        with Live(screen, console=ui.console, refresh_per_second=10):
            _poll(shop, orders, pool, deadline, lambda _: None)


def _poll(shop: Shop, orders: list[Followed], pool: ThreadPoolExecutor, deadline: float, ended: Any) -> None:
    waiting = list(orders)
    while waiting and time.monotonic() < deadline:
        list(pool.map(lambda order: order.look(shop), (order for order in waiting if order.order_id)))
        for order in [order for order in waiting if order.ended]:
            waiting.remove(order)
            ended(order)
        time.sleep(POLL_SECONDS if waiting else 0)


@dataclass
class _Orders:
    """The orders as they are now, drawn anew at each refresh."""

    orders: list[Followed]
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))

    def __rich__(self) -> Group:
        return Group(*map(self.line, self.orders))

    def say(self, order: Followed) -> None:
        """Print one order as it is."""
        ui.console.print(self.line(order))

    def line(self, order: Followed) -> Text:
        """An order as one line: how it stands, what it is for, its timeline."""
        frame = self._spinner.render(time.monotonic())
        busy = (frame.plain if isinstance(frame, Text) else "…", "cyan")
        right = order.actual == order.scenario.expected
        mark = (("✓", "green") if right else ("✗", "red")) if order.ended else busy
        return Text.assemble(
            "  ",
            mark,
            f" {order.scenario.what:<{COLUMN}} ",
            timeline.line(order.events),
            no_wrap=True,
            overflow="ellipsis",
        )


def _mails(target: Target, orders: list[Followed]) -> list[dict[str, Any]]:
    addresses = {f"{order.customer}@example.com" for order in orders}
    found: list[dict[str, Any]] = []

    def all_there() -> bool:
        found[:] = [mail for mail in mails(target) if addresses & set(mail["To"])]
        return len(found) >= len(orders)

    with ui.stage("mails") as step:
        wait_until(all_there, MAIL_SECONDS)
        step.detail = f"{len(found)} in the inbox"
    return found


def _row(order: Followed) -> Row:
    took = timeline.duration(timeline.milliseconds(order.events)[-1]) if order.events else ""
    return Row(order.scenario.what, order.scenario.expected, order.actual, took)


def result(rows: Sequence[Row]) -> Table:
    """The rows as a table: what, expected, actual, how long, and whether it is right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("", "what", "expected", "actual"):
        table.add_column(title, no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    for row in rows:
        mark, style = ("✓", "green") if row.right else ("✗", "red")
        table.add_row(f"  [{style}]{mark}[/]", row.what, row.expected, Text(row.actual, style), Text(row.took, "dim"))
    return table


def _show_mails(orders: list[Followed], sent: list[dict[str, Any]]) -> None:
    ui.headline("Mails, one of each kind")
    by_address = {address: mail for mail in sent for address in mail["To"]}
    shown: set[str] = set()
    for order in orders:
        kind = order.actual.partition(":")[0]
        mail = by_address.get(f"{order.customer}@example.com")
        if mail and kind not in shown:
            shown.add(kind)
            ui.console.print(Text(f"  ✉ to {mail['To'][0]}: {mail['Subject']}"))


def _next_steps(target: Target, orders: list[Followed]) -> None:
    samples = sorted((ROOT / "events" / "orders" / "place").glob("*.json"))
    traced = next((order.order_id for order in orders if order.order_id), "ord_…")
    steps = {
        f"make order FILE={samples[0].relative_to(ROOT) if samples else 'events/orders/place/….json'}": "place the order of a sample event",
        f"make trace ORDER={traced}": "what caused what, and when",
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


if __name__ == "__main__":
    cli.run(main)
