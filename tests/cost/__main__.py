"""`make cost`: the cost of a stack without orders and of an order, compared with the last release.

Counted from the template and from the functions' calls on AWS in memory, in a few seconds. CHECK=1 fails where a figure grew by more
than 5 % without a reason in devtools/costs.toml. REASON="…" states one, RELEASE=1.1.0 makes the present figures those of the last
release, RECORD=1 writes docs/performance.md.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter

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
# Dollars: the document has one sum of the items below.
SMALL = 0.5

type Rows = list[tuple[str, ...]]

_NOTES = {
    "costs": (
        "A month without orders, from the template, and a million orders, from the calls of one order of two lines on AWS in memory, at "
        "list prices ([prices.toml](../devtools/prices.toml)). Archive, analytics and emails are not included in an order's cost. "
        "`make check` fails where a figure is more than 5 % above the last release and [costs.toml](../devtools/costs.toml) states no "
        "reason ([decision 51](decisions/0051-state-why-costs-grow.md)). `make cost` also prints the calls "
        "and the items that are not included."
    ),
    "items": (
        "Per order, and in $ per million orders. Until it is confirmed, an order uses API, saga and publisher; until delivery also "
        "invoice, points, one parcel, capture, ledger and order view. An order is counted alone, so nothing is batched and its customer "
        "is not in the authorizer's cache. An invocation takes 20 ms, the saga 0.3 s; a hundredth of the orders is traced. Idle "
        "costs (stream shards, polls of empty queues, schedules) and customers' own reads are not included."
    ),
    "contexts": ("In $ per million orders. A context's row has its functions, its published events, and the messages that trigger it."),
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
    sections += [("Cost of an order", _NOTES["items"], page.table(*_itemized(counted)))]
    sections += [("Cost of a delivered order, by context", _NOTES["contexts"], page.table(*by_context(counted)))]
    return "\n\n".join(f"## {title}\n\n{note}\n\n{table}" for title, note, table in sections)


def _calls(counted: Counted) -> tuple[tuple[str, ...], Rows]:
    """Return the table of the calls to AWS and of the invocations.

    The publisher's calls count for the second column only, because one call may publish events of several contexts.
    """
    delivered = sum((calls for part, calls in counted.calls.items() if part not in parts.APART), Counter[str]())
    rows = [(name, str(counted.calls[CONFIRMED][name]), str(number)) for name, number in sorted(delivered.items())]
    rows += [(f"{name} (email)", "", str(number)) for name, number in sorted(counted.calls[parts.MAIL].items())]
    rows += [(f"Lambda {name}", "", str(number)) for name, number in sorted(counted.invocations.items())]
    return ("call", "to confirmed", "to delivered"), rows


def _itemized(counted: Counted) -> tuple[tuple[str, ...], Rows]:
    """Return the table of the items of an order until it is confirmed and until it is delivered, most expensive first."""
    confirmed = {item.what: item for item in bill.bill(counted.usage[CONFIRMED])}
    delivered = bill.bill(counted.total_usage())
    rows: Rows = []
    small = [item for item in delivered if item.dollars < SMALL]
    for item in delivered:
        if item in small:
            continue
        first = _amounts(confirmed[item.what]) if item.what in confirmed else ("", "")
        rows.append((item.what, *first, *_amounts(item)))
    others = {item.what for item in small}
    for name, chosen in ((f"{len(small)} others", others), ("total", {item.what for item in delivered})):
        sums = (sum(item.dollars for item in items if item.what in chosen) for items in (confirmed.values(), delivered))
        rows.append((name, *(text for dollars in sums for text in ("", f"{dollars:.2f}"))))
    return ("item", "to confirmed", "$", "to delivered", "$"), rows


def _amounts(item: bill.Item) -> tuple[str, str]:
    return f"{item.quantity:,.3f}".rstrip("0").rstrip("."), f"{item.dollars:.2f}"


def _apart(counted: Counted) -> tuple[tuple[str, ...], Rows]:
    """Return the table of the parts that the cost of an order excludes.

    Firehose bills each archived record as at least 5 KB; storage is not counted.
    """
    rows = [(part, item.what, *_amounts(item)) for part in parts.APART for item in bill.bill(counted.usage[part])]
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
        ("Calls and invocations of an order", _calls(counted)),
        ("Not included in the cost of an order", _apart(counted)),
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
