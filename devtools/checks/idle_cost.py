"""`make idle-cost ENV=prod`: the cost of a stack in a month without orders, itemized from the template.

List prices of devtools/prices.toml, without free tiers: those are an account's, not a stack's. ENV is an environment of
samconfig.toml, `default` (dev) unless given. A resource type that idle_prices.py does not name is an error.
"""

import os
from argparse import Namespace
from dataclasses import dataclass

from rich.table import Table

from devtools import environments, ui
from devtools.bench import page
from devtools.checks.idle_prices import DASHBOARDS, FREE, FREE_DASHBOARDS, PRICED, Resources, rates
from devtools.cli import UsageError, UserError
from devtools.target import ROOT

RECORDED = {"dev": "default", "prod": "prod"}
# Dollars: the document has one sum of the items below; `make idle-cost` lists each.
SMALL = 0.5
_NOTE = """The cost of a stack without orders in a month of 730 hours, computed from the template with the parameters of samconfig.toml
(`make idle-cost`, `make idle-cost ENV=prod`). List prices without free tiers, which apply per account, except an account's first three
dashboards. Scheduled runs are assumed to take 0.2 seconds. The KMS key costs $1 more from each of its first two yearly rotations on.
Target: at most $15 for dev and $30 for prod
([decision 34](decisions/0034-pay-for-idle-capacity-only-where-it-protects.md))."""


@dataclass(frozen=True)
class Item:
    """A line of the sum: an item, its quantity in a month, and US dollars."""

    what: str
    quantity: float
    dollars: float


def bill(resources: Resources) -> list[Item]:
    """Return the items of a month, most expensive first.

    Raises:
        UserError: a resource's type is neither priced nor known to be free, or its settings have another price.
    """
    sums: dict[str, float] = {}
    for name, resource in resources.items():
        if price := PRICED.get(resource["Type"]):
            for what, quantity in price(name, resource["Properties"], resources):
                sums[what] = sums.get(what, 0.0) + quantity
        elif resource["Type"] not in FREE:
            raise UserError(
                f"{name}: the price of {resource['Type']} is unknown; add it to PRICED or FREE in devtools/checks/idle_prices.py"
            )
    if DASHBOARDS in sums:
        sums[DASHBOARDS] = max(0.0, sums[DASHBOARDS] - FREE_DASHBOARDS)
    of_one = rates()
    return sorted((Item(what, quantity, quantity * of_one[what]) for what, quantity in sums.items()), key=lambda item: -item.dollars)


def total(items: list[Item]) -> float:
    """Return the dollars of all items."""
    return sum(item.dollars for item in items)


def part() -> str:
    """Return this part of docs/performance.md: the sums of dev and prod side by side."""
    bills = {
        name: {item.what: item for item in bill(environments.deployed(environments.parameters()[env]))} for name, env in RECORDED.items()
    }
    found = list(dict.fromkeys(what for one in bills.values() for what in one))
    small = {what for what in found if all(what not in one or one[what].dollars < SMALL for one in bills.values())}
    rows = [(what, *(text for one in bills.values() for text in _amounts(one.get(what)))) for what in found if what not in small]
    others = [sum(one[what].dollars for what in small if what in one) for one in bills.values()]
    totals = [total(list(one.values())) for one in bills.values()]
    for name, sums in ((f"{len(small)} others", others), ("total", totals)):
        rows.append((name, *(text for dollars in sums for text in ("", f"{dollars:.2f}"))))
    columns = ("item", *(text for name in bills for text in (f"{name}, a month", f"{name}, $")))
    return f"## Without orders\n\n{_NOTE}\n\n{page.table(columns, rows)}"


def _amounts(item: Item | None) -> tuple[str, str]:
    return (f"{item.quantity:,.0f}", f"{item.dollars:.2f}") if item else ("", "")


def main(arguments: Namespace) -> None:
    """Print the sum of an environment, and which resource types are free while idle; with RECORD=1 write docs/performance.md."""
    if arguments.record:
        page.write(page.IDLE, part())
        ui.console.print(f"  wrote {page.DOCUMENT.relative_to(ROOT)}")
        return
    known = environments.parameters()
    env = arguments.env or os.environ.get("ENV") or "default"
    if env not in known:
        raise UsageError(f"ENV must be an environment of samconfig.toml ({', '.join(known)}), not {env!r}")
    resources = environments.deployed(known[env])
    items = bill(resources)
    table = Table(title=f"{env}: a month without orders", title_justify="left", title_style="bold", show_footer=True)
    table.add_column("item", "total")
    table.add_column("a month", justify="right")
    table.add_column("$", f"{total(items):.2f}", justify="right")
    for item in items:
        table.add_row(item.what, f"{item.quantity:,.0f}", f"{item.dollars:.2f}")
    ui.console.print(table)
    types = {resource["Type"] for resource in resources.values()}
    for reason in sorted({FREE[kind] for kind in types if kind in FREE}):
        kinds = ", ".join(kind.removeprefix("AWS::") for kind in sorted(types) if FREE.get(kind) == reason)
        ui.console.print(f"  {reason}: {kinds}", style="dim")
