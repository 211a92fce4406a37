"""Whether analytics and ledger are what the orders come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from analytics.domain.counting_rules import ALL, LEADERBOARD_SIZE, Rank, units, without_units
from analytics.store import AnalyticsStore
from ledger.domain.posting_rules import ACCOUNTS
from tests.load.synthetic import Truth


def analytics(sums: AnalyticsStore, truth: Truth) -> Iterator[str]:
    """Yield the differences between all-time counters and leaderboards and the expected ones."""
    counters, wanted = sums.total(ALL).counters, without_units(truth.counters)
    for name in sorted({*counters, *wanted}):
        if counters.get(name, 0) != wanted.get(name, 0):
            yield f"analytics count {counters.get(name, 0)} {name}, there were {wanted.get(name, 0)}"
    sold = {sku: units for one in sums.ranges(ALL) for sku, units in one.units.items()}
    if sold != units(truth.counters):
        yield f"analytics count units of {len(sold)} products otherwise than they were sold"
    for category, sales in _units(truth.counters).items():
        best = tuple(Rank(sku, number) for sku, number in sorted(sales.items(), key=lambda one: (-one[1], one[0]))[:LEADERBOARD_SIZE])
        if sums.leaderboard(ALL, category) != best:
            yield f"the leaderboard of {category or 'all products'} is another"


def ledger(entries: Iterable[Any], truth: Truth) -> Iterator[str]:
    """Yield the differences between stored entries and events: their number, and each account's balance."""
    number, balances = 0, dict[str, Counter[str]]()
    for item in entries:
        number += 1
        accounts = balances.setdefault(item["currency"]["S"], Counter())
        for one in item["postings"]["L"]:
            accounts[one["M"]["account"]["S"]] += int(one["M"]["amount"]["N"])
    if number != truth.entries:
        yield f"{number} entries in the ledger for {truth.entries} events"
    for currency, expected in truth.balances().items():
        accounts = balances.get(currency, Counter[str]())
        if sum(accounts.values()):
            yield f"the ledger sums to {sum(accounts.values())} {currency}, not to zero"
        if any(accounts[name] != expected[name] for name in ACCOUNTS):
            yield f"the accounts in {currency} are {dict(accounts)}, not {expected}"


def _units(counters: Counter[str]) -> dict[str, Counter[str]]:
    """Return the units of each product by category, and under "" all of them."""
    found: dict[str, Counter[str]] = {}
    for name, number in counters.items():
        if name.startswith("units/"):
            _, category, sku = name.split("/")
            for board in {category, ""}:
                found.setdefault(board, Counter())[sku] += number
    return found
