"""Double entry: every entry sums to zero, and each state of an order leads to its balances."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devtools.target import ROOT
from ledger.domain import period_shards, posting_rules
from ledger.domain.posting_rules import ACCOUNTS, Fees, InvalidFees, NoMoneyMoved
from orderflow.domain import events
from orderflow.domain.commands import Command
from orderflow.domain.events import EVENT_TYPES, Event, EventData
from orderflow.domain.money import Money
from orderflow.domain.order import Order
from tests.support.orders import (
    ANN,
    CAPTURE_PART,
    CAPTURE_REST,
    DISPUTE,
    LOSE,
    PAID,
    POSTED_EVENTS,
    REFUND_LOST,
    REOPEN,
    START,
    STATES,
    WIN,
    event,
    history,
)

FEES = Fees(basis_points=140, fixed={"EUR": 25, "USD": 30})

LEDGER_PAGE = (ROOT / "docs" / "ledger.md").read_text("utf-8")

amounts = st.builds(Money, st.integers(0, 10**9), st.sampled_from(["EUR", "USD", "JPY"]))
event_data: st.SearchStrategy[EventData] = amounts.flatmap(
    lambda amount: st.sampled_from(
        [
            events.PaymentAuthorized("auth_1", amount),
            events.PaymentVoided("auth_1", amount),
            events.PaymentCaptured("auth_1", "cap_1", "parcel_1", amount),
            events.PaymentRefunded(ANN, "ref_1", "parcel:parcel_1", amount),
            events.PaymentRefundReversed("ref_1", "parcel:parcel_1", amount, "declined"),
            events.PaymentDisputed("dp_1", amount, amount, ""),
            events.DisputeClosed("dp_1", amount, "won"),
            events.DisputeClosed("dp_1", amount, "lost"),
            events.DisputeOutcomeChanged("dp_1", amount, "won", "lost"),
        ]
    )
)


def posted(happened: list[Event], fees: Fees = FEES) -> list[posting_rules.Entry]:
    return [posting_rules.entry_for(one, fees) for one in happened if one.type in POSTED_EVENTS]


def of(data: EventData) -> Event:
    return event(Order(order_id="ord_1", version=3), data)


@given(st.lists(event_data), st.builds(Fees, st.integers(0, 10_000), st.dictionaries(st.sampled_from(["EUR", "JPY"]), st.integers(0, 500))))
def test_any_events_sum_to_zero_and_balances_are_their_postings(sequence: list[EventData], fees: Fees) -> None:
    entries = [posting_rules.entry_for(of(data), fees) for data in sequence]
    assert all(posting_rules.total(posting_rules.net(entry.postings)) == 0 for entry in entries)
    balances = posting_rules.balances(entries)
    assert all(posting_rules.total(accounts) == 0 for accounts in balances.values())
    recomputed: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        for posting in entry.postings:
            recomputed[entry.amount.currency, posting.account] += posting.amount
    assert {key: sum_ for key, sum_ in recomputed.items() if sum_} == {
        (currency, account): sum_ for currency, accounts in balances.items() for account, sum_ in accounts.items() if sum_
    }


@given(event_data)
def test_no_posting_is_empty_and_every_account_exists(data: EventData) -> None:
    for posting in posting_rules.entry_for(of(data), FEES).postings:
        assert posting.amount
        assert posting.account in ACCOUNTS


@given(st.integers(0, 10**12), st.integers(0, 10_000))
def test_fee_is_rounded_half_even(amount: int, basis_points: int) -> None:
    exact = Fraction(amount * basis_points, 10_000)
    assert posting_rules.fee(Money(amount, "EUR"), Fees(basis_points)) == round(exact)


@pytest.mark.parametrize(
    ("amount", "fee"),
    [(Money(1250, "EUR"), 18 + 25), (Money(2500, "USD"), 35 + 30), (Money(2500, "JPY"), 35), (Money(0, "EUR"), 0), (Money(1, "EUR"), 25)],
)
def test_fee_is_a_rate_plus_a_fixed_amount_by_currency(amount: Money, fee: int) -> None:
    assert posting_rules.fee(amount, FEES) == fee


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        ("authorized", {"authorizations": 2990, "holds": -2990}),
        ("voided", {}),
        ("cancelled", {}),
        ("rest cancelled", {"clearing": 1250 - 43, "revenue": -1250, "fees": 43}),
        ("paid", {"clearing": 2990 - 43 - 49, "revenue": -2990, "fees": 43 + 49}),
        ("return refunded", {"clearing": 1740 - 92, "revenue": -2990, "fees": 92, "refunds": 1250}),
        ("disputed", {"clearing": 1740 - 92, "revenue": -2990, "fees": 92, "disputes": 1250}),
        ("dispute won", {"clearing": 2990 - 92, "revenue": -2990, "fees": 92}),
        ("dispute lost", {"clearing": 1740 - 92, "revenue": -2990, "fees": 92, "losses": 1250}),
        ("dispute reopened", {"clearing": 1740 - 92, "revenue": -2990, "fees": 92, "disputes": 1250}),
        ("lost refunded", {"clearing": 1740 - 92, "revenue": -2990, "fees": 92, "refunds": 1250}),
        ("refund failed", {"clearing": 2990 - 92, "revenue": -2990, "fees": 92}),
        ("refund reversed", {"clearing": 2990 - 92, "revenue": -2990, "fees": 92}),
    ],
)
def test_each_order_state_has_its_balances(state: str, wanted: dict[str, int]) -> None:
    balances = posting_rules.balances(posted(history(*STATES[state])))
    assert {account: sum_ for account, sum_ in balances["EUR"].items() if sum_} == wanted


@pytest.mark.parametrize(
    ("decisions", "wanted"),
    [
        ((LOSE, WIN), {}),
        ((WIN, LOSE), {"losses": 1250}),
        ((WIN, LOSE, WIN, LOSE), {"losses": 1250}),
        ((LOSE, REOPEN, WIN), {}),
        ((WIN, REOPEN), {"disputes": 1250}),
    ],
)
def test_changed_dispute_outcome_moves_between_accounts(decisions: tuple[Command, ...], wanted: dict[str, int]) -> None:
    accounts = posting_rules.balances(posted(history(*PAID, DISPUTE, *decisions)))["EUR"]
    assert {account: accounts[account] for account in ("disputes", "losses") if accounts[account]} == wanted
    assert accounts["clearing"] == 2990 - 92 - sum(wanted.values())


@pytest.mark.parametrize("state", sorted(STATES))
def test_holds_are_authorized_less_captured_and_voided(state: str) -> None:
    happened = history(*STATES[state])
    accounts = posting_rules.balances(posted(happened)).get("EUR", Counter())
    assert accounts["holds"] == -accounts["authorizations"] <= 0
    assert -accounts["revenue"] - accounts["refunds"] == posting_rules.net_captured(
        (one.type, one.data.amount) for one in posted_events(happened)
    )


def posted_events(happened: list[Event]) -> list[Any]:
    return [one for one in happened if one.type in POSTED_EVENTS]


@pytest.mark.parametrize("state", sorted(STATES))
def test_event_without_money_has_no_entry(state: str) -> None:
    for one in history(*STATES[state]):
        if one.type not in POSTED_EVENTS:
            with pytest.raises(NoMoneyMoved):
                posting_rules.entry_for(one, FEES)


def test_entry_depends_on_its_event_alone() -> None:
    life: tuple[Command, ...] = (*PAID[:-2], CAPTURE_PART, CAPTURE_REST)
    captured = next(one for one in history(*life) if one.type == "PaymentCaptured")
    entry = posting_rules.entry_for(captured, FEES)
    assert (entry.event_id, entry.order_id, entry.occurred_at) == (captured.event_id, captured.order_id, captured.occurred_at)
    assert entry == posting_rules.entry_for(captured, FEES)


def test_net_captured_is_captured_less_refunded() -> None:
    happened = history(*STATES["part lost"], REFUND_LOST)
    assert posting_rules.net_captured((one.type, one.amount) for one in posted(happened)) == 2990 - 1250


@pytest.mark.parametrize("text", ["", "[]", '{"basis_points": 10001}', '{"basis_points": 1.5}', '{"fixed": {"euro": 1}}', '{"rate": 1}'])
def test_malformed_fees_are_rejected(text: str) -> None:
    with pytest.raises(InvalidFees):
        posting_rules.parse_fees(text)


@pytest.mark.parametrize("account", ACCOUNTS)
def test_every_account_is_documented(account: str) -> None:
    assert f"| `{account}` |" in LEDGER_PAGE


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_documented_events_match_the_posting_rules(event_type: str) -> None:
    assert (f"| `{event_type}`" in LEDGER_PAGE) == (event_type in POSTED_EVENTS)


@given(st.text(min_size=1), st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - the strategy adds the time zone
def test_period_shard_is_stable_and_within_its_hour(event_id: str, moment: datetime) -> None:
    shard = period_shards.shard_of(event_id, moment)
    hour = list(period_shards.shards_between(period_shards.first_shard(moment), period_shards.first_shard(moment + timedelta(hours=1))))
    assert shard in hour
    assert len(hour) == period_shards.SHARDS
    assert hour == sorted(hour)
    assert timedelta(0) <= moment - period_shards.start_of(shard) < timedelta(hours=1)


def test_period_shards_continue_over_midnight() -> None:
    begin, end = period_shards.first_shard(START), period_shards.first_shard(START + timedelta(days=1))
    assert len(list(period_shards.shards_between(begin, end))) == 24 * period_shards.SHARDS
    assert list(period_shards.shards_between(end, begin)) == []
