"""`make run`: bring the pipeline up, follow an order of every outcome to its final state, and check the results."""

import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

from rich.live import Live

from devtools import target as targets
from devtools import ui
from devtools.local import analytics, bootstrap, post_fulfilment, scenarios
from devtools.local.api_client import ApiClient, emails, wait_until
from devtools.local.demo_output import LiveOrders, Row, result, row_of, show_emails, show_next_steps
from devtools.local.post_fulfilment import ScriptRun
from devtools.local.scenario_run import ScenarioRun
from devtools.local.scenarios import REQUESTS, SCENARIOS, RequestContext
from devtools.ops import sales_report
from devtools.target import Target
from devtools.web import Answer

# Slow machines need minutes; longer means a failure.
FOLLOW_SECONDS = 900.0
EMAIL_SECONDS = 300.0
CALL_SECONDS = 60.0
POLL_SECONDS = 0.15
AT_ONCE = 3
# Events of the first order before others follow: placed, reserved, screened.
EVENTS_BEFORE_OTHERS = 3
SCRIPTS_AT_ONCE = 2


def main(_: Namespace) -> int:
    """Bring the pipeline up, follow the orders, print the results; 1 where one differs from the expected."""
    began = time.monotonic()
    target = targets.from_environment()
    ui.headline("Bringing the pipeline up")
    bootstrap.bring_up(target)
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
    sales = analytics.counted(target, placed, since)
    rows = [
        *map(row_of, orders),
        *map(row_of, scripts),
        *requests,
        emailed,
        _ledger_row(target),
        analytics.sales_row(placed, sales_report.orders_of(sales)),
    ]
    ui.headline("Results")
    ui.console.print(result(rows))
    show_emails(orders, sent)
    sales_report.show(target, sales)
    show_next_steps(target, orders)
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
    return Row("trial balance of the ledger", "balance 0, 0 differences", step.detail)


def _run() -> str:
    # Customers are new in each run, so that earlier orders do not raise their fraud score.
    return f"{int(time.time()):x}"[-6:]


def _requests(api: ApiClient, orders: Sequence[ScenarioRun]) -> list[Row]:
    first = next(order for order in orders if order.scenario.body == scenarios.ORDINARY_BODY)
    context = RequestContext(api, first.customer, "eve", first.key, first.answer or Answer(0, b""))
    return [Row(request.what, request.expected, request.send(context)) for request in REQUESTS]


def _follow(api: ApiClient, orders: list[ScenarioRun], scripts: list[ScriptRun]) -> None:
    """Place the orders and follow them until all orders and scripts have ended, at most FOLLOW_SECONDS."""
    screen = LiveOrders([*orders, *scripts])
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
