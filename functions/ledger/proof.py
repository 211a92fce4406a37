"""The proof of the books: every entry and the whole sum to zero, balances are what the entries come to, orders agree.

A proof goes on where the last one ended, sheet by sheet, over the hours that are over. So it never reads what was proven
before, and however large the books are it costs what was posted since. What is not over yet can be looked at as well, but
is not carried: an entry may come to it at any time.

A difference does not stop the proof. The entries are the truth, so what they come to is what is carried on, and the
difference was reported before that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct, field

from ledger import rules, sheets
from ledger.books import Balances, Books, added
from ledger.events import Difference
from orderflow.log import Contention, OrderNotFound
from orderflow.money import Currency, Money

if TYPE_CHECKING:
    from ledger.rules import Entry
    from orderflow.events import Event
    from orderflow.log import OrderLog

# How long after its hour a sheet counts as complete: well over what a function runs, an index lags or a clock is off.
SETTLED = timedelta(minutes=15)
# Where the first proof of all begins: it runs within the hour in which the books are opened.
LOOK_BACK = timedelta(hours=24)
_LOOKS = 3

type Report = Callable[[list[Difference]], None]


class Proof(Struct):
    """What a proof looked at, what it found, and up to which hour (UTC) everything is proven."""

    until: datetime
    sheets: int = 0
    entries: int = 0
    orders: int = 0
    unsettled: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])


class Prover:
    """Proves books against themselves and against the order log."""

    def __init__(self, books: Books, log: OrderLog, report: Report) -> None:
        """Hand what is found to `report` before anything is carried on."""
        self._books = books
        self._log = log
        self._report = report

    def prove(self, now: datetime, *, goes_on: Callable[[], bool] = lambda: True) -> Proof:
        """Prove the sheets that are complete and not proven yet, for as long as `goes_on` says.

        Raises:
            Contention: others kept getting in the way.
        """
        end = sheets.first(now - SETTLED)
        mark = self._books.proven()
        after = mark or sheets.first(now - LOOK_BACK)
        proof = Proof(until=sheets.hour_of(after))
        for sheet in sheets.between(after, end):
            if not goes_on():
                break
            entries = self._books.of_sheet(sheet)
            self._note(proof, [*self._wrong(sheet, entries, self._books.balances(sheet)), *self._orders(proof, entries, now)])
            proof.sheets, proof.entries = proof.sheets + 1, proof.entries + len(entries)
            after = sheets.following(sheet)
            if entries:
                if not self._books.carry(_of(entries), mark, after):
                    return proof
                mark = after
        if after != mark:
            self._books.carry({}, mark, after)
        proof.until = sheets.hour_of(after)
        return proof

    def look(self, proof: Proof, now: datetime) -> None:
        """Add to a proof what the sheets are like that are not proven yet."""
        for sheet in _open(self._books.proven(), now):
            entries, wrong = self._settled(sheet)
            proof.unsettled += wrong is None
            self._note(proof, [*(wrong or ()), *self._orders(proof, entries, now)])
            proof.entries += len(entries)

    def balances(self, proof: Proof, now: datetime) -> dict[Currency, Balances]:
        """Return the balances of everything that was posted, and note in the proof where they do not sum to zero.

        Raises:
            Contention: other proofs kept getting in the way.
        """
        whole = self._whole(now)
        wrong = {currency: rules.total(one.accounts) for currency, one in whole.items()}
        self._note(proof, [Difference("trial_balance", "all", currency, 0, sum_) for currency, sum_ in wrong.items() if sum_])
        return whole

    def _whole(self, now: datetime) -> dict[Currency, Balances]:
        for _ in range(_LOOKS):
            mark = self._books.proven()
            whole = added([self._books.carried(), *(self._books.balances(sheet) for sheet in _open(mark, now))])
            # What another proof has carried meanwhile would be counted twice.
            if mark == self._books.proven():
                return whole
        raise Contention

    def _note(self, proof: Proof, found: list[Difference]) -> None:
        if found:
            self._report(found)
        proof.differences += found

    def _settled(self, sheet: str) -> tuple[list[Entry], list[Difference] | None]:
        """Return a sheet's entries and what is wrong with it; None where it kept changing, or the index has not followed yet."""
        entries: list[Entry] = []
        for _ in range(_LOOKS):
            before, entries, after = self._books.balances(sheet), self._books.of_sheet(sheet), self._books.balances(sheet)
            if before == after and sum(one.entries for one in after.values()) == len(entries):
                return entries, self._wrong(sheet, entries, after)
        return entries, None

    def _wrong(self, sheet: str, entries: list[Entry], there: Mapping[Currency, Balances]) -> list[Difference]:
        unbalanced = ((entry, rules.total(rules.net(entry.postings))) for entry in entries)
        wrong = [Difference("entry", entry.event_id, entry.amount.currency, 0, sum_) for entry, sum_ in unbalanced if sum_]
        return [*wrong, *_unequal(sheet, _of(entries), there)]

    def _orders(self, proof: Proof, entries: Iterable[Entry], now: datetime) -> Iterator[Difference]:
        orders = {entry.order_id: entry.amount.currency for entry in entries}
        proof.orders += len(orders)
        return (difference for one in orders.items() if (difference := self._order(*one, now - SETTLED)))

    def _order(self, order_id: str, currency: Currency, horizon: datetime) -> Difference | None:
        """Return in what an order's entries disagree with its log; events after `horizon` need not have come here yet."""
        posted = self._books.of_order(order_id)
        known = {entry.event_id for entry in posted}
        happened = [
            (event.type, amount)
            for event in self._history(order_id)
            if (event.event_id in known or event.occurred_at < horizon) and isinstance(amount := getattr(event.data, "amount", None), Money)
        ]
        expected, found = rules.kept(happened), rules.kept((entry.type, entry.amount) for entry in posted)
        return Difference("order", order_id, currency, expected, found) if expected != found else None

    def _history(self, order_id: str) -> list[Event]:
        try:
            return self._log.history(order_id)
        except OrderNotFound:
            return []


def _open(mark: str | None, now: datetime) -> Iterator[str]:
    """Return the sheets that are not proven yet, the present hour's included."""
    return sheets.between(mark or sheets.first(now - LOOK_BACK), sheets.first(now + timedelta(hours=1)))


def _of(entries: list[Entry]) -> dict[Currency, Balances]:
    sums = rules.balances(entries)
    counts = {currency: sum(entry.amount.currency == currency for entry in entries) for currency in sums}
    return {currency: Balances(accounts, counts[currency]) for currency, accounts in sums.items()}


def _unequal(sheet: str, wanted: Mapping[Currency, Balances], there: Mapping[Currency, Balances]) -> Iterator[Difference]:
    nothing = Balances({}, 0)
    for currency in sorted({*wanted, *there}):
        expected, found = wanted.get(currency, nothing), there.get(currency, nothing)
        for account in sorted({*expected.accounts, *found.accounts}):
            pair = expected.accounts.get(account, 0), found.accounts.get(account, 0)
            if pair[0] != pair[1]:
                yield Difference("balance", sheet, currency, *pair, account)
        if expected.entries != found.entries:
            yield Difference("balance", sheet, currency, expected.entries, found.entries, "entries")
