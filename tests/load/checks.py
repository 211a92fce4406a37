"""Compares analytics and ledger with the totals of the synthetic orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from analytics.domain.counting_rules import ALL, LEADERBOARD_SIZE, Rank, units, without_units
from analytics.store import AnalyticsStore
from ledger.domain.posting_rules import ACCOUNTS
from tests.load.synthetic import Totals


def analytics(sums: AnalyticsStore, totals: Totals) -> Iterator[str]:
    """Yield the differences between all-time counters and leaderboards and the expected ones."""
    counters, expected = sums.total(ALL).counters, without_units(totals.counters)
    for name in sorted({*counters, *expected}):
        if counters.get(name, 0) != expected.get(name, 0):
            yield f"analytics: {name} is {counters.get(name, 0)}, expected {expected.get(name, 0)}"
    sold = {sku: units for one in sums.ranges(ALL) for sku, units in one.units.items()}
    if sold != units(totals.counters):
        yield f"analytics: the units of {len(sold)} products differ from the units sold"
    for category, sales in _units(totals.counters).items():
        best = tuple(Rank(sku, number) for sku, number in sorted(sales.items(), key=lambda one: (-one[1], one[0]))[:LEADERBOARD_SIZE])
        if sums.leaderboard(ALL, category) != best:
            yield f"analytics: the leaderboard of {category or 'all products'} differs"


def ledger(entries: Iterable[Any], totals: Totals) -> Iterator[str]:
    """Yield the differences between journal entries and events: their number, and the balance of each account."""
    number, balances = 0, dict[str, Counter[str]]()
    for item in entries:
        number += 1
        accounts = balances.setdefault(item["currency"]["S"], Counter())
        for one in item["postings"]["L"]:
            accounts[one["M"]["account"]["S"]] += int(one["M"]["amount"]["N"])
    if number != totals.entries:
        yield f"ledger: {number} journal entries for {totals.entries} events that move money"
    for currency, expected in totals.balances().items():
        accounts = balances.get(currency, Counter[str]())
        if sum(accounts.values()):
            yield f"ledger: the trial balance is {sum(accounts.values())} {currency}, must be zero"
        if any(accounts[name] != expected[name] for name in ACCOUNTS):
            yield f"ledger: the accounts in {currency} are {dict(accounts)}, expected {expected}"


def _units(counters: Counter[str]) -> dict[str, Counter[str]]:
    """Return the units of each product by category; "" has the units of all products."""
    found: dict[str, Counter[str]] = {}
    for name, number in counters.items():
        if name.startswith("units/"):
            _, category, sku = name.split("/")
            for board in {category, ""}:
                found.setdefault(board, Counter())[sku] += number
    return found
