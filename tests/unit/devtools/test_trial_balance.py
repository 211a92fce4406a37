"""`make trial-balance`: a table of accounts, and a line for each difference."""

from rich.console import Console

from devtools.ops import trial_balance
from ledger.domain.posting_rules import ACCOUNTS

BALANCES = {
    "EUR": {"accounts": {"clearing": 1_234_567, "revenue": -1_234_567}, "entries": 1200, "sum": 0},
    "USD": {"accounts": {"holds": -1}, "entries": 1, "sum": -1},
}


def test_table_has_accounts_by_currency_and_trial_balance() -> None:
    console = Console(width=120, color_system=None)
    with console.capture() as captured:
        console.print(trial_balance.table(BALANCES))
    rows = {line.split("  ")[0].strip() or line.split()[0]: line.split()[-2:] for line in captured.get().splitlines() if line.strip()}
    assert set(ACCOUNTS) <= set(rows)
    assert rows["clearing"] == ["1,234,567", "0"]
    assert rows["trial balance"] == ["0", "-1"]
    assert rows["entries"] == ["1,200", "1"]


def test_difference_is_one_line_with_place_and_amounts() -> None:
    found = {"kind": "sheet", "place": "2026-01-15T10#3", "currency": "EUR", "expected": -2990, "found": -2985, "account": "holds"}
    assert trial_balance.difference(found) == "sheet 2026-01-15T10#3 holds: -2,985 EUR, expected -2,990"
    assert trial_balance.difference(found | {"kind": "order", "place": "ord_1", "account": None}).startswith("order ord_1: ")
