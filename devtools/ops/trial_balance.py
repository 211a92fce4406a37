"""Proves the ledger as it stands now and prints its balances: accounts by currency, in minor units, a debit positive."""

import json
from typing import Any, cast

from botocore.config import Config
from rich.table import Table
from rich.text import Text

from devtools import cli, ui
from devtools import target as targets
from devtools.cli import UserError
from devtools.target import Target

# What the function may take.
SECONDS = 600
# What is held, then what is owned, then what was earned and lost.
ACCOUNTS = ("authorizations", "holds", "clearing", "disputes", "revenue", "refunds", "fees", "losses")


def proof(target: Target) -> dict[str, Any]:
    """The answer of the proof of everything that was posted up to now. Raises UserError where it could not be made."""
    function = target.resources.get("LedgerAudit")
    if not function:
        raise UserError("the deployed stack has no ledger; run `make run` to deploy the present one")
    # It takes as long as there is something to prove, and is not to be asked twice for that.
    patient = Config(read_timeout=SECONDS, retries={"total_max_attempts": 1}, proxies={})
    client = cast("Any", target.session).client("lambda", config=patient)
    answer = client.invoke(FunctionName=function, Payload=json.dumps({"open": True}).encode())
    payload: dict[str, Any] = json.loads(answer["Payload"].read() or b"{}")
    if answer.get("FunctionError") or "errorMessage" in payload:
        raise UserError(" ".join(str(payload.get("errorMessage", payload)).split()))
    return payload


def table(balances: dict[str, Any]) -> Table:
    """The accounts by currency, with what they come to together."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2))
    shown.add_column("account", header_style="dim")
    for currency in balances:
        shown.add_column(currency, justify="right", header_style="dim")
    for account in ACCOUNTS:
        shown.add_row(account, *(f"{one['accounts'].get(account, 0):,}" for one in balances.values()))
    shown.add_row("trial balance", *(_zero(one["sum"]) for one in balances.values()), style="bold")
    shown.add_row("entries", *(f"{one['entries']:,}" for one in balances.values()), style="dim")
    return shown


def difference(found: dict[str, Any]) -> str:
    """One line about something that does not add up."""
    account = f" {found['account']}" if found.get("account") else ""
    return f"{found['kind']} {found['place']}{account}: {found['found']:,} {found['currency']}, expected {found['expected']:,}"


def _zero(amount: int) -> Text:
    return Text(f"{amount:,}", "red" if amount else "green")


def main() -> int:
    """Print the table and what does not add up; 1 where anything does not."""
    answer = proof(targets.from_environment())
    ui.console.print(table(answer["balances"]))
    looked = f"{answer['entries']:,} entries of {answer['orders']:,} orders looked at, proven up to {answer['until']}"
    ui.console.print(f"\n  {looked}", style="dim")
    for found in answer["differences"]:
        ui.console.print(f"  ✗ {difference(found)}", style="red")
    return 1 if answer["differences"] else 0


if __name__ == "__main__":
    cli.run(main)
