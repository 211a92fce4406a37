"""The ledger audit: every entry and the trial balance sum to zero, and the entries match the order log by the posting rules.

An audit continues where the last one ended, one period shard after the other, closes each complete hour and reads it again a
day later. It reads no older entries, so its cost depends on new postings and not on the size of the ledger. Hours that are not
complete can be included, but are not closed, because they may still get entries.

A difference does not stop the audit. The audit reports it and closes the period with the sums of the entries,
which are the source of truth.
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

# How long after its end an hour counts as complete: well over a function's timeout, the index's lag and clock skew.
COMPLETE_AFTER = timedelta(minutes=15)
# The age of the period shard that is checked again.
RECHECK_AFTER = timedelta(hours=24)
# The begin of the first audit, which runs within the first hour of a new stack.
LOOK_BACK = timedelta(hours=24)
# An entry is compared with its order from at least this many events before it, which covers all orders but very long ones. Each
# event is compared a bounded number of times, and without a gap if the order moves money at least once per window.
WINDOW = 64
# An order is compared once per run, as long as it is among this many in memory.
_MAX_REMEMBERED = 200_000

type Report = Callable[[list[Difference]], None]


class AuditReport(Struct):
    """The number of audited period shards, entries and orders, the differences, and the hour (UTC) up to which all is audited."""

    until: datetime
    period_shards: int = 0
    entries: int = 0
    orders: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])


class LedgerAudit:
    """Compares entries with each other and with the order log, and closes periods with their balances."""

    def __init__(self, entries: EntryStore, balances: BalanceStore, log: OrderLog, report: Report) -> None:
        """Pass differences to `report` before a period is closed."""
        self._entries = entries
        self._balances = balances
        self._log = log
        self._report = report
        self._compared: dict[str, int] = {}

    def audit(self, now: datetime, *, has_time: Callable[[], bool] = lambda: True) -> AuditReport:
        """Audit the complete period shards that were not audited before, as long as `has_time` returns True.

        Raises:
            TransactionConflict: other transactions held the balances in every attempt.
        """
        end = period_shards.first_shard(now - COMPLETE_AFTER)
        position = self._balances.next_shard()
        after = position or period_shards.first_shard(now - LOOK_BACK)
        report = AuditReport(until=period_shards.start_of(after))
        for shard in period_shards.shards_between(after, end):
            if not has_time():
                break
            sums = self._audit_shard(report, shard, now)
            earlier, rechecked, change = self._audit_shard_again(report, shard)
            report.period_shards += 1
            after = period_shards.next_shard(shard)
            if sums or change:
                if not self._balances.close_period({shard: sums, earlier: rechecked}, sum_balances([sums, change]), position, after):
                    return report
                position = after
        if after != position:
            self._balances.close_period({}, {}, position, after)
        report.until = period_shards.start_of(after)
        return report

    def closed_balances(self, report: AuditReport) -> dict[Currency, Balances]:
        """Return the closed balances, and report a trial balance that is not zero."""
        return self._trial_balance(report, self._balances.closed())

    def include_open(self, report: AuditReport, now: datetime) -> dict[Currency, Balances]:
        """Return the balances of all entries, and add the open period shards to the report.

        Raises:
            TransactionConflict: other audits closed periods during every attempt.
        """
        # Period shards that another audit closes after this read are still counted from their entries.
        position, closed = self._balances.closed_at_once()
        open_shards = period_shards.shards_between(
            position or period_shards.first_shard(now - LOOK_BACK), period_shards.first_shard(now + timedelta(hours=1))
        )
        return self._trial_balance(report, sum_balances([closed, *(self._audit_shard(report, shard, now) for shard in open_shards)]))

    def _trial_balance(self, report: AuditReport, sums: dict[Currency, Balances]) -> dict[Currency, Balances]:
        sums_by_currency = {currency: posting_rules.total(one.accounts) for currency, one in sums.items()}
        self._add(report, [Difference("trial_balance", "all", currency, 0, sum_) for currency, sum_ in sums_by_currency.items() if sum_])
        return sums

    def _audit_shard(self, report: AuditReport, shard: str, now: datetime) -> dict[Currency, Balances]:
        """Return the balances of a period shard, and report differences of its entries and their orders."""
        entries = self._entries.of_shard(shard)
        self._add(report, [*_unbalanced_entries(entries), *self._differences_of_orders(report, entries, now)])
        report.entries += len(entries)
        return _balances(entries)

    def _audit_shard_again(self, report: AuditReport, shard: str) -> tuple[str, ByCurrency, ByCurrency]:
        """Read the period shard of a day before again; return its name, its new balances and the change since it was closed."""
        earlier = period_shards.shard_before(shard, RECHECK_AFTER)
        now, then = _balances(self._entries.of_shard(earlier)), self._balances.of_shard(earlier)
        if wrong := list(_shard_differences(earlier, then, now)):
            self._add(report, wrong)
            return earlier, {currency: now.get(currency, ZERO) for currency in {*now, *then}}, sum_balances([now, negated(then)])
        return earlier, {}, {}

    def _add(self, report: AuditReport, found: list[Difference]) -> None:
        if found:
            self._report(found)
        report.differences += found

    def _differences_of_orders(self, report: AuditReport, entries: Iterable[Entry], now: datetime) -> Iterator[Difference]:
        orders: dict[str, list[Entry]] = {}
        for entry in entries:
            orders.setdefault(entry.order_id, []).append(entry)
        for order_id, some in orders.items():
            # The same value for entries close to each other in different period shards.
            after = max(0, (min(_version(entry.event_id) for entry in some) - 1) // WINDOW - 1) * WINDOW
            if self._is_new(order_id, after):
                report.orders += 1
                yield from self._differences_of_order(order_id, some, after, now - COMPLETE_AFTER)

    def _is_new(self, order_id: str, after: int) -> bool:
        """Return whether this run compares the order from this version on for the first time."""
        if self._compared.get(order_id, after + 1) <= after:
            return False
        if len(self._compared) >= _MAX_REMEMBERED:
            self._compared.clear()
        self._compared[order_id] = after
        return True

    def _differences_of_order(self, order_id: str, entries: Sequence[Entry], after: int, horizon: datetime) -> Iterator[Difference]:
        """Yield the differences between an order's entries and its log, for the events after version `after`.

        `entries` are some of the order's entries. Events after `horizon` may not be posted yet.
        """
        currency = entries[0].amount.currency
        history = self._history(order_id, after)
        posted = {entry.event_id: entry for entry in self._posted_entries(order_id, entries, history, after)}
        happened = [event for event in history if event.event_id in posted or event.appended_at < horizon]
        due = {entry.event_id: entry for entry in _expected_entries(happened, posted)}
        expected, found = (posting_rules.net_captured((entry.type, entry.amount) for entry in each.values()) for each in (due, posted))
        if expected != found:
            yield Difference("order", order_id, currency, expected, found)
        for event_id in sorted({*due, *posted}):
            yield from _entry_differences(event_id, due.get(event_id), posted.get(event_id))

    def _posted_entries(self, order_id: str, entries: Sequence[Entry], history: Iterable[Event], after: int) -> list[Entry]:
        if not after:
            return self._entries.of_order(order_id)
        return self._entries.of_events(order_id, [one.event_id for one in (*entries, *_expected_entries(history, {}))])

    def _history(self, order_id: str, after: int) -> list[Event]:
        try:
            return self._log.history(order_id, after=after)
        except OrderNotFound:
            return []


def _version(event_id: str) -> int:
    """Return the order version in an event id; 0 if the id has none."""
    version = event_id.rpartition(":")[2]
    return int(version) if version.isascii() and version.isdecimal() else 0


def _expected_entries(happened: Iterable[Event], posted: Mapping[str, Entry]) -> Iterator[Entry]:
    """Yield the entries that the rules expect for events, with the fees that each was posted with."""
    for event in happened:
        with suppress(posting_rules.NoMoneyMoved):
            entry = posted.get(event.event_id)
            yield posting_rules.entry_for(event, entry.fees if entry else Fees())


def _unbalanced_entries(entries: Iterable[Entry]) -> Iterator[Difference]:
    for entry in entries:
        if sum_ := posting_rules.total(posting_rules.net(entry.postings)):
            yield Difference("entry", entry.event_id, entry.amount.currency, 0, sum_)


def _entry_differences(event_id: str, due: Entry | None, posted: Entry | None) -> Iterator[Difference]:
    """Yield the difference of an entry's amount from the expected one, or else of its accounts."""
    currency = (due or posted).amount.currency  # pyright: ignore[reportOptionalMemberAccess]
    expected, found = (one.amount.amount if one and one.amount.currency == currency else 0 for one in (due, posted))
    if due is None or posted is None or expected != found:
        yield Difference("event", event_id, currency, expected, found)
        return
    yield from _account_differences("event", event_id, currency, posting_rules.net(due.postings), posting_rules.net(posted.postings))


def _shard_differences(shard: str, then: ByCurrency, now: ByCurrency) -> Iterator[Difference]:
    for currency in sorted({*then, *now}):
        expected, found = then.get(currency, ZERO), now.get(currency, ZERO)
        yield from _account_differences("sheet", shard, currency, expected.accounts, found.accounts)
        if expected.entries != found.entries:
            yield Difference("sheet", shard, currency, expected.entries, found.entries, "entries")


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
