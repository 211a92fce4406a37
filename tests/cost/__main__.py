"""`make cost`: the cost of a stack without orders and of an order, compared with the last release.

Counted from the template and from the functions' calls on AWS in memory, in a few seconds. CHECK=1 fails where a figure grew by more
than 5 % without a reason in devtools/costs.toml. REASON="…" states one, RELEASE=1.1.0 makes the present figures those of the last
release, RECORD=1 writes docs/performance.md.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping

from rich.table import Table

from devtools import cli, environments, ui
from devtools.bench import page
from devtools.billing import bill, parts
from devtools.billing.parts import CONFIRMED
from devtools.billing.usage import Counted
from devtools.checks import cost_growth, idle_cost
from devtools.checks.cost_growth import Figures, Recorded
from devtools.target import ROOT

DELIVERED = "placed to delivered"

type Rows = list[tuple[str, ...]]

_NOTES = {
    "costs": (
        "The output of `make cost`: a month without orders, from the template, and a million orders, from the calls of one order of two "
        "lines on AWS in memory, at list prices ([prices.toml](../devtools/prices.toml)). Archive, analytics and emails are not included "
        "in an order's cost. `make check` fails where a figure is more than 5 % above the last release and "
        "[costs.toml](../devtools/costs.toml) states no reason ([decision 51](decisions/0051-state-why-costs-grow.md))."
    ),
    "calls": "The publisher's calls count for the second column only, because one call may publish events of several contexts.",
    CONFIRMED: (
        "The shares of API, saga and publisher. An order is counted alone, so nothing is batched, its customer is not in the authorizer's "
        "cache, and an invocation takes 20 ms, the saga 0.3 s. Log lines count as AWS stores them: none of Lambda's own for successful "
        "invocations. A hundredth of the orders is traced."
    ),
    DELIVERED: (
        "The same order until delivery: invoice, points, shipment request, one parcel, capture, ledger, order view. The carrier's two "
        "webhook events cost only the function. A queued message counts three SQS requests: send, receive, delete. Reading a stream costs "
        "nothing. Idle costs (stream shards, polls of empty queues, schedules) and customers' own reads are not included."
    ),
    "contexts": (
        "The same sum by context, in $ per million orders. The first row is from placed to confirmed; a context's row has its functions, "
        "its events including publishing, and the messages that trigger it."
    ),
    "apart": (
        "Not included above. Firehose bills each archived record as at least 5 KB; storage is not counted. The sandboxes have tables of "
        "their own; real payment providers and carriers send bills of their own."
    ),
}


def figures(counted: Counted) -> Figures:
    """Return the compared costs: of a month without orders by environment, and of a million orders by part."""
    idle = {
        f"idle {name}": idle_cost.total(idle_cost.bill(environments.deployed(environments.parameters()[env])))
        for name, env in idle_cost.RECORDED.items()
    }
    confirmed, delivered = (sum(item.dollars for item in bill.bill(usage)) for usage in (counted.usage[CONFIRMED], counted.total_usage()))
    others = {part: sum(item.dollars for item in bill.bill(counted.usage[part])) for part in (parts.ARCHIVE, parts.ANALYTICS, parts.MAIL)}
    return {name: round(dollars, 2) for name, dollars in {**idle, CONFIRMED: confirmed, DELIVERED: delivered, **others}.items()}


def compared(recorded: Recorded, present: Figures) -> tuple[tuple[str, ...], Rows]:
    """Return the table of the figures beside those of the last release."""
    reasons: dict[str, str] = {one.figure: one.reason for one in recorded.growth}
    rows = [
        (
            name,
            f"{dollars:.2f}",
            f"{before:.2f}" if (before := recorded.figures.get(name)) else "",
            cost_growth.change(recorded, name, dollars),
            reasons.get(name, ""),
        )
        for name, dollars in present.items()
    ]
    return ("", "$", f"$ at {recorded.release}", "change", "reason"), rows


def by_context(counted: Counted) -> tuple[tuple[str, ...], Rows]:
    """Return the table of the cost of a million delivered orders by context."""
    sums = bill.by_part(counted)
    rows = [(part, *(f"{groups[group]:.2f}" for group in bill.GROUPS), f"{sum(groups.values()):.2f}") for part, groups in sums.items()]
    return ("context", *bill.GROUPS, "total"), rows


def part(counted: Counted, recorded: Recorded, present: Figures) -> str:
    """Return this part of docs/performance.md."""
    sections = [("Costs since the last release", _NOTES["costs"], page.table(*compared(recorded, present)))]
    sections += [("Calls and invocations of an order", _NOTES["calls"], page.table(*_calls(counted)))]
    sections += [
        (f"{title[0].upper()}{title[1:]}", _NOTES[title], page.table(*_itemized(usage)))
        for title, usage in ((CONFIRMED, counted.usage[CONFIRMED]), (DELIVERED, counted.total_usage()))
    ]
    sections += [("Placed to delivered, by context", _NOTES["contexts"], page.table(*by_context(counted)))]
    sections += [("Beside an order", _NOTES["apart"], page.table(*_apart(counted)))]
    return "\n\n".join(f"## {title}\n\n{note}\n\n{table}" for title, note, table in sections)


def _calls(counted: Counted) -> tuple[tuple[str, ...], Rows]:
    """Return the table of the calls to AWS and of the invocations."""
    delivered = sum((calls for part, calls in counted.calls.items() if part not in parts.APART), Counter[str]())
    rows = [(name, str(counted.calls[CONFIRMED][name]), str(number)) for name, number in sorted(delivered.items())]
    rows += [(f"{name} (email)", "", str(number)) for name, number in sorted(counted.calls[parts.MAIL].items())]
    rows += [(f"Lambda {name}", "", str(number)) for name, number in sorted(counted.invocations.items())]
    return ("call", "to confirmed", "to delivered"), rows


def _itemized(usage: Mapping[str, float]) -> tuple[tuple[str, ...], Rows]:
    items = bill.bill(usage)
    rows = [(item.what, f"{item.quantity:,.3f}".rstrip("0").rstrip("."), f"{item.dollars:.2f}") for item in items]
    return ("item", "per order", "$ per million orders"), [*rows, ("total", "", f"{sum(item.dollars for item in items):.2f}")]


def _apart(counted: Counted) -> tuple[tuple[str, ...], Rows]:
    rows = [
        (part, item.what, f"{item.quantity:,.3f}".rstrip("0").rstrip("."), f"{item.dollars:.2f}")
        for part in parts.APART
        for item in bill.bill(counted.usage[part])
    ]
    return ("part", "item", "per order", "$ per million orders"), rows


def main(arguments: Namespace) -> int:
    """Count, print, compare; return 1 with CHECK=1 where a cost grew without a stated reason."""
    # Before any function is imported, because it sets their environment and the in-memory services.
    import tests.conftest  # noqa: F401, PLC0415
    from tests.cost import counting  # noqa: PLC0415

    counted = counting.count()
    present = figures(counted)
    recorded = Recorded(arguments.release, present) if arguments.release else cost_growth.read()
    if arguments.reason:
        recorded = cost_growth.with_reason(recorded, present, arguments.reason)
    if arguments.release or arguments.reason:
        cost_growth.write(recorded)
    wrong = cost_growth.findings(recorded, present)
    if not arguments.check:
        _print(counted, recorded, present)
        if arguments.record:
            page.write(page.COST, part(counted, recorded, present))
            page.write(page.IDLE, idle_cost.part())
            ui.console.print(f"  wrote {page.DOCUMENT.relative_to(ROOT)}")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong and arguments.check else 0


def _print(counted: Counted, recorded: Recorded, present: Figures) -> None:
    for title, (columns, rows) in (
        ("A million orders, placed to delivered, by context ($)", by_context(counted)),
        ("A month without orders, and a million orders", compared(recorded, present)),
    ):
        table = Table(title=title, title_justify="left", title_style="bold")
        for number, column in enumerate(columns):
            table.add_column(column, justify="left" if number == 0 or column == "reason" else "right")
        for row in rows:
            table.add_row(*row)
        ui.console.print(table)
    ui.console.print("  `make idle-cost` itemizes a month without orders.", style="dim")


if __name__ == "__main__":
    cli.run("cost", main)
