"""The proof of the books: every entry and the whole sum to zero, and entries are what the rules make of the order log.

A proof goes on where the last one ended, sheet by sheet, over the hours that are over, and reads each a second time a day
later. So it never reads what is older, and however large the books are it costs what was posted since. What is not over yet
can be looked at as well, but is not carried: an entry may come to it at any time.

A difference does not stop the proof. The entries are the truth, so what they come to is what is carried on, and the
difference was reported before that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct, field

from ledger.balance_store import ZERO, Balances, BalanceStore, negated, sum_balances
from ledger.domain import period_shards, posting_rules
from ledger.domain.events import Difference, Kind
from ledger.domain.posting_rules import Entry, Fees
from orderflow.aws.order_log import OrderNotFound
from orderflow.domain.money import Currency

if TYPE_CHECKING:
    from ledger.balance_store import ByCurrency
    from ledger.entry_store import EntryStore
    from orderflow.aws.order_log import OrderLog
    from orderflow.domain.events import Event

# How long after its hour a sheet counts as complete: well over what a function runs, an index lags or a clock is off.
COMPLETE_AFTER = timedelta(minutes=15)
# How much later than a sheet the same sheet of another hour is proven when it is read again.
RECHECK_AFTER = timedelta(hours=24)
# Where the first proof of all begins: it runs within the hour in which the books are opened.
LOOK_BACK = timedelta(hours=24)
# An entry is compared with its order from so many events before it on, at least, which is the whole of all but very long orders. An
# order whose events move money at least that often is compared without a gap, and each of its events a bounded number of times.
WINDOW = 64
# An order is compared once a run, as far as so many orders are remembered.
_MOST_REMEMBERED = 200_000

type Report = Callable[[list[Difference]], None]


class AuditReport(Struct):
    """What a proof looked at, what it found, and up to which hour (UTC) everything is proven."""

    until: datetime
    period_shards: int = 0
    entries: int = 0
    orders: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])


class LedgerAudit:
    """Proves entries against themselves and against the order log, and carries what they come to."""

    def __init__(self, entries: EntryStore, books: BalanceStore, log: OrderLog, report: Report) -> None:
        """Hand what is found to `report` before anything is carried on."""
        self._entries = entries
        self._books = books
        self._log = log
        self._report = report
        self._compared: dict[str, int] = {}

    def audit(self, now: datetime, *, goes_on: Callable[[], bool] = lambda: True) -> AuditReport:
        """Prove the sheets that are complete and not proven yet, for as long as `goes_on` says.

        Raises:
            TransactionConflict: others kept getting in the way.
        """
        end = period_shards.first_shard(now - COMPLETE_AFTER)
        mark = self._books.next_shard()
        after = mark or period_shards.first_shard(now - LOOK_BACK)
        proof = AuditReport(until=period_shards.start_of(after))
        for sheet in period_shards.shards_between(after, end):
            if not goes_on():
                break
            sums = self._checked(proof, sheet, now)
            earlier, again, moved = self._recheck(proof, sheet)
            proof.period_shards += 1
            after = period_shards.next_shard(sheet)
            if sums or moved:
                if not self._books.close_period({sheet: sums, earlier: again}, sum_balances([sums, moved]), mark, after):
                    return proof
                mark = after
        if after != mark:
            self._books.close_period({}, {}, mark, after)
        proof.until = period_shards.start_of(after)
        return proof

    def closed_balances(self, proof: AuditReport) -> dict[Currency, Balances]:
        """Return the balances of what is proven, and note in the proof where they do not sum to zero."""
        return self._trial_balance(proof, self._books.closed())

    def include_open(self, proof: AuditReport, now: datetime) -> dict[Currency, Balances]:
        """Return the balances of everything, and add to a proof what the sheets are like that are not proven yet.

        Raises:
            TransactionConflict: other proofs kept getting in the way.
        """
        # What another proof carries from here on stays on its sheet, and is counted there.
        mark, carried = self._books.closed_at_once()
        following = period_shards.shards_between(
            mark or period_shards.first_shard(now - LOOK_BACK), period_shards.first_shard(now + timedelta(hours=1))
        )
        return self._trial_balance(proof, sum_balances([carried, *(self._checked(proof, sheet, now) for sheet in following)]))

    def _trial_balance(self, proof: AuditReport, sums: dict[Currency, Balances]) -> dict[Currency, Balances]:
        wrong = {currency: posting_rules.total(one.accounts) for currency, one in sums.items()}
        self._add(proof, [Difference("trial_balance", "all", currency, 0, sum_) for currency, sum_ in wrong.items() if sum_])
        return sums

    def _checked(self, proof: AuditReport, sheet: str, now: datetime) -> dict[Currency, Balances]:
        """Return what the entries of a sheet come to, and note what is wrong with them and their orders."""
        entries = self._entries.of_shard(sheet)
        self._add(proof, [*_unbalanced(entries), *self._orders(proof, entries, now)])
        proof.entries += len(entries)
        return _balances(entries)

    def _recheck(self, proof: AuditReport, sheet: str) -> tuple[str, ByCurrency, ByCurrency]:
        """Read the sheet of a day before again; return its name, what it comes to now, and by how much that is not what was carried."""
        earlier = period_shards.shard_before(sheet, RECHECK_AFTER)
        now, then = _balances(self._entries.of_shard(earlier)), self._books.of_shard(earlier)
        if wrong := list(_shard_differences(earlier, then, now)):
            self._add(proof, wrong)
            return earlier, {currency: now.get(currency, ZERO) for currency in {*now, *then}}, sum_balances([now, negated(then)])
        return earlier, {}, {}

    def _add(self, proof: AuditReport, found: list[Difference]) -> None:
        if found:
            self._report(found)
        proof.differences += found

    def _orders(self, proof: AuditReport, entries: Iterable[Entry], now: datetime) -> Iterator[Difference]:
        orders: dict[str, list[Entry]] = {}
        for entry in entries:
            orders.setdefault(entry.order_id, []).append(entry)
        for order_id, some in orders.items():
            # The same for entries close to each other, which are on several sheets.
            after = max(0, (min(_version(entry.event_id) for entry in some) - 1) // WINDOW - 1) * WINDOW
            if self._is_new(order_id, after):
                proof.orders += 1
                yield from self._order(order_id, some, after, now - COMPLETE_AFTER)

    def _is_new(self, order_id: str, after: int) -> bool:
        """Tell whether this run has not compared the order from this version on yet, and note that it does now."""
        if self._compared.get(order_id, after + 1) <= after:
            return False
        if len(self._compared) >= _MOST_REMEMBERED:
            self._compared.clear()
        self._compared[order_id] = after
        return True

    def _order(self, order_id: str, entries: Sequence[Entry], after: int, horizon: datetime) -> Iterator[Difference]:
        """Yield in what an order's entries disagree with its log, from the event after a version on.

        `entries` are some of them. Events after `horizon` need not have come here yet.
        """
        currency = entries[0].amount.currency
        history = self._history(order_id, after)
        posted = {entry.event_id: entry for entry in self._posted(order_id, entries, history, after)}
        happened = [event for event in history if event.event_id in posted or event.appended_at < horizon]
        wanted = {entry.event_id: entry for entry in _due(happened, posted)}
        expected, found = (posting_rules.net_captured((entry.type, entry.amount) for entry in each.values()) for each in (wanted, posted))
        if expected != found:
            yield Difference("order", order_id, currency, expected, found)
        for event_id in sorted({*wanted, *posted}):
            yield from _entry_differences(event_id, wanted.get(event_id), posted.get(event_id))

    def _posted(self, order_id: str, entries: Sequence[Entry], history: Iterable[Event], after: int) -> list[Entry]:
        if not after:
            return self._entries.of_order(order_id)
        return self._entries.of_events(order_id, [one.event_id for one in (*entries, *_due(history, {}))])

    def _history(self, order_id: str, after: int) -> list[Event]:
        try:
            return self._log.history(order_id, after=after)
        except OrderNotFound:
            return []


def _version(event_id: str) -> int:
    """Return the version that an event made its order, by its id; 0 for an id that has none."""
    version = event_id.rpartition(":")[2]
    return int(version) if version.isascii() and version.isdecimal() else 0


def _due(happened: Iterable[Event], posted: Mapping[str, Entry]) -> Iterator[Entry]:
    """Yield the entries that the rules make of events, by the fees that each was posted with."""
    for event in happened:
        with suppress(posting_rules.NoMoneyMoved):
            there = posted.get(event.event_id)
            yield posting_rules.entry_for(event, there.fees if there else Fees())


def _unbalanced(entries: Iterable[Entry]) -> Iterator[Difference]:
    for entry in entries:
        if sum_ := posting_rules.total(posting_rules.net(entry.postings)):
            yield Difference("entry", entry.event_id, entry.amount.currency, 0, sum_)


def _entry_differences(event_id: str, wanted: Entry | None, there: Entry | None) -> Iterator[Difference]:
    """Yield in what an entry is not the one that is wanted: its amount, or else some accounts."""
    currency = (wanted or there).amount.currency  # pyright: ignore[reportOptionalMemberAccess]
    expected, found = (one.amount.amount if one and one.amount.currency == currency else 0 for one in (wanted, there))
    if wanted is None or there is None or expected != found:
        yield Difference("event", event_id, currency, expected, found)
        return
    yield from _account_differences("event", event_id, currency, posting_rules.net(wanted.postings), posting_rules.net(there.postings))


def _shard_differences(sheet: str, then: ByCurrency, now: ByCurrency) -> Iterator[Difference]:
    for currency in sorted({*then, *now}):
        expected, found = then.get(currency, ZERO), now.get(currency, ZERO)
        yield from _account_differences("sheet", sheet, currency, expected.accounts, found.accounts)
        if expected.entries != found.entries:
            yield Difference("sheet", sheet, currency, expected.entries, found.entries, "entries")


def _account_differences(
    kind: Kind, place: str, currency: Currency, expected: Mapping[str, int], found: Mapping[str, int]
) -> Iterator[Difference]:
    for account in sorted({*expected, *found}):
        pair = expected.get(account, 0), found.get(account, 0)
        if pair[0] != pair[1]:
            yield Difference(kind, place, currency, *pair, account)


def _balances(entries: list[Entry]) -> dict[Currency, Balances]:
    sums = posting_rules.balances(entries)
    counts = {currency: sum(entry.amount.currency == currency for entry in entries) for currency in sums}
    return {currency: Balances(accounts, counts[currency]) for currency, accounts in sums.items()}
