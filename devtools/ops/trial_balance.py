"""Audit the ledger and print its trial balance: accounts by currency, in minor units, debits positive."""

from argparse import Namespace
from typing import Any

from rich.table import Table
from rich.text import Text

from devtools import target as targets
from devtools import ui
from devtools.target import Target

# The function audits every entry since the last closed period.
INVOKE_SECONDS = 610
# Holds first, then assets, then revenue and losses.
ACCOUNTS = ("authorizations", "holds", "clearing", "disputes", "revenue", "refunds", "fees", "losses")


def audit(target: Target) -> dict[str, Any]:
    """Audit all entries up to now; return the function's answer. Raises UserError where the audit fails."""
    return target.invoke("LedgerAudit", {"open": True}, seconds=INVOKE_SECONDS)


def table(balances: dict[str, Any]) -> Table:
    """Return the accounts by currency and the trial balance as a table."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2))
    grid.add_column("account", header_style="dim")
    for currency in balances:
        grid.add_column(currency, justify="right", header_style="dim")
    for account in ACCOUNTS:
        grid.add_row(account, *(f"{one['accounts'].get(account, 0):,}" for one in balances.values()))
    grid.add_row("trial balance", *(_zero(one["sum"]) for one in balances.values()), style="bold")
    grid.add_row("entries", *(f"{one['entries']:,}" for one in balances.values()), style="dim")
    return grid


def difference(found: dict[str, Any]) -> str:
    """Return one line about a difference."""
    account = f" {found['account']}" if found.get("account") else ""
    return f"{found['kind']} {found['place']}{account}: {found['found']:,} {found['currency']}, expected {found['expected']:,}"


def _zero(amount: int) -> Text:
    return Text(f"{amount:,}", "red" if amount else "green")


def main(arguments: Namespace) -> int:
    """Print the table and the differences; 1 where there are any."""
    answer = audit(targets.chosen(arguments.stack))
    ui.console.print(table(answer["balances"]))
    scope = f"{answer['entries']:,} entries of {answer['orders']:,} orders audited, up to {answer['until']}"
    ui.console.print(f"\n  {scope}", style="dim")
    for found in answer["differences"]:
        ui.console.print(f"  ✗ {difference(found)}", style="red")
    return 1 if answer["differences"] else 0
