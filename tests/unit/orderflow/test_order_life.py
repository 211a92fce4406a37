"""The commands that each state allows (docs/life.md), and invariants of every history."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.domain import events
from orderflow.domain.commands import (
    CloseDispute,
    Command,
    RecordDispute,
    RecordParcelConditions,
    RecordRefund,
    Refusal,
    ReopenDispute,
    RequestReturn,
    decide,
)
from orderflow.domain.events import Alert, ConditionChange, Event, Resolution
from orderflow.domain.money import Money
from orderflow.domain.order import Order, evolve, fold, is_active, marker, saga_blocker
from orderflow.domain.parcel_conditions import MAX_ALERTS
from tests.life import outcome, written
from tests.support import orders
from tests.support.orders import COMMANDS, ORDER_ID, STATES, is_report

LIFE = Path(__file__).parents[3] / "docs" / "life.md"


def _table() -> dict[tuple[str, str], str]:
    """Return the cells of the tables in docs/life.md: by state and command its events, `.` for none; refused commands are missing."""
    cells, heads = dict[tuple[str, str], str](), list[str]()
    for line in LIFE.read_text("utf-8").splitlines():
        if not line.startswith("| "):
            heads = []
            continue
        first, *others = (cell.strip().strip("`") for cell in line.strip("|").split("|"))
        if not heads:
            heads = others
        for state in first.split(", "):
            if state in STATES:
                cells |= {(state, head): cell for head, cell in zip(heads, others, strict=True) if cell}
    return cells


PAGE = _table()


@pytest.mark.parametrize(("state", "command"), [(state, command) for state in STATES for command in COMMANDS])
def test_every_command_in_every_state(state: str, command: str) -> None:
    assert outcome(orders.after(*STATES[state]), COMMANDS[command]) == PAGE.get((state, command), "no")


def test_written_tables_are_those_of_the_page() -> None:
    assert written(LIFE.read_text("utf-8")) == LIFE.read_text("utf-8"), "run `make life`, which writes the tables"


def test_new_command_joins_the_last_table_and_a_removed_one_leaves() -> None:
    page = "# Life\n\n| state | gone | place |\n| --- | --- | --- |\n| new | . | . |\n\nText.\n\n| state | cancel |\n| --- | --- |\n"
    heads = [line for line in written(page).splitlines() if line.startswith("| state")]
    assert heads[0] == "| state | place |"
    assert heads[1] == f"| state | cancel | {' | '.join(name for name in COMMANDS if name not in {'place', 'cancel'})} |"


def test_other_contents_cannot_replace_an_order() -> None:
    other = events.OrderPlaced(orders.ANN, (orders.MUGS,), orders.MUGS.unit_price, orders.ADDRESS, "GB")
    refusal = decide(orders.after(orders.PLACE), type(orders.PLACE)(other))
    assert isinstance(refusal, Refusal)
    assert refusal.why == "PlaceOrder is not possible for an order that is placed"


@pytest.mark.parametrize(
    ("state", "reason", "details"),
    [
        ("out of stock", "out_of_stock", ("MUG-BLUE",)),
        ("refused", "fraud_refused", ()),
        ("declined", "payment_declined", ("card_declined",)),
        ("failed authorized", "fulfilment_failed", ("authorize",)),
    ],
)
def test_rejection_names_the_first_reason(state: str, reason: str, details: tuple[str, ...]) -> None:
    order = orders.after(*STATES[state])
    held = [command for command in (orders.VOID, orders.RELEASE) if outcome(order, command) not in {"no", "."}]
    if order.payment != "authorized":
        held = [command for command in held if command != orders.VOID]
    rejected = orders.history(*STATES[state], *held, orders.REJECT)[-1].data
    assert isinstance(rejected, events.OrderRejected)
    assert (rejected.reason, rejected.details) == (reason, details)


@pytest.mark.parametrize(
    ("state", "active", "blocker"),
    [
        ("new", False, None),
        ("placed", True, None),
        ("held", False, "held"),
        ("review approved", True, None),
        ("declined", True, "failing"),
        ("confirmed", False, "inactive"),
        ("rejected", False, "inactive"),
    ],
)
def test_saga_blocker_in_every_state(state: str, active: bool, blocker: str | None) -> None:
    order = orders.after(*STATES[state])
    assert (is_active(order), saga_blocker(order)) == (active, blocker)


@pytest.mark.parametrize("command", COMMANDS)
def test_approved_order_is_active_again(command: str) -> None:
    """So a late marker always belongs to an active order, which the sweeper reads."""
    order = orders.after(*STATES["held"])
    decided = decide(order, COMMANDS[command])
    if not isinstance(decided, Refusal):
        assert marker(fold(ORDER_ID, orders.history(*STATES["held"], COMMANDS[command]))) in {"held", "open"}


def test_order_that_was_never_placed_has_no_contents() -> None:
    with pytest.raises(ValueError, match="was never placed"):
        _ = Order(order_id=ORDER_ID).customer


@pytest.mark.parametrize("change", ["gap", "repeated", "other order"])
def test_only_the_next_event_of_the_same_order_is_folded(change: str) -> None:
    first, second, third = orders.history(*orders.SCREENED)
    wrong = {"gap": [first, third], "repeated": [first, second, second], "other order": [first]}[change]
    with pytest.raises(ValueError, match="does not follow"):
        fold("ord_other" if change == "other order" else ORDER_ID, wrong)


def disputed(amount: Money, *happened: Command) -> events.PaymentDisputed:
    decided = decide(orders.after(*orders.PAID, *happened), RecordDispute("dp_2", amount, "fraudulent"))
    assert not isinstance(decided, Refusal)
    [data] = decided
    assert isinstance(data, events.PaymentDisputed)
    return data


@pytest.mark.parametrize("amount", [Money(1250, "EUR"), Money(2990, "EUR"), Money(3105, "EUR")])
def test_dispute_in_the_orders_currency_is_booked_as_the_bank_reports_it(amount: Money) -> None:
    assert disputed(amount) == events.PaymentDisputed("dp_2", amount, amount, "fraudulent")


def test_dispute_in_another_currency_is_booked_as_the_net_captured_sum() -> None:
    dollars = Money(3400, "USD")
    assert disputed(dollars) == events.PaymentDisputed("dp_2", Money(2990, "EUR"), dollars, "fraudulent")
    assert disputed(dollars, orders.LOSE_PART, orders.REFUND_LOST).amount == Money(1740, "EUR")
    assert disputed(dollars, orders.DISPUTE).amount == Money(1740, "EUR")
    assert disputed(dollars, RecordDispute("dp_3", dollars, "")).amount == Money(0, "EUR")


def test_several_disputes_on_one_payment_are_all_recorded() -> None:
    order = orders.after(*orders.PAID, orders.DISPUTE, RecordDispute("dp_2", Money(2990, "EUR"), ""), orders.WIN)
    assert [(one.dispute_id, one.state) for one in order.disputes] == [("dp_1", "won"), ("dp_2", "open")]
    assert (order.charged_back, order.net_captured) == (2990, 0)


MONDAY, TUESDAY = orders.START, orders.START + timedelta(days=1)


def decided(*decisions: Command) -> list[str]:
    order = orders.after(*orders.PAID, orders.DISPUTE, *decisions)
    return [one.state for one in order.disputes]


def test_decision_older_than_the_recorded_one_has_no_effect() -> None:
    won, lost = CloseDispute("dp_1", "won", MONDAY), CloseDispute("dp_1", "lost", TUESDAY)
    assert decided(won, lost) == decided(lost, won) == decided(won, lost, won) == ["lost"]
    assert decided(lost, ReopenDispute("dp_1", MONDAY)) == ["lost"]
    assert decided(won, ReopenDispute("dp_1", TUESDAY)) == ["open"]


def test_failed_refund_is_owed_again_and_credited_once() -> None:
    order = orders.after(*STATES["refund reversed"])
    assert (order.refunded, order.parcels[0].refunded) == (0, 0)
    again = orders.after(*STATES["refund reversed"], RecordRefund("ref_3", "parcel:parcel_1"))
    assert (again.refunded, again.parcels[0].refunded) == (1250, 1250)
    assert [one.cause for one in again.corrections] == ["parcel:parcel_1"]


def test_refund_in_parts_is_credited_in_full_once() -> None:
    parts = [RecordRefund(f"part_{number}", "return:ret_1", Money(amount, "EUR")) for number, amount in enumerate((1000, 250))]
    order = orders.after(*orders.RETURNED, *parts)
    assert (order.refunded, order.returns[0].refunded) == (1250, 1250)
    assert [one.amount for one in order.corrections] == [Money(1250, "EUR")]


END = {"OrderConfirmed", "OrderRejected"}
commands = st.lists(st.sampled_from(sorted(COMMANDS)), max_size=40)


def _applied(names: list[str]) -> list[tuple[Order, Order, str, list[Event]]]:
    """Apply the commands; return, for each, the order before and after and the new events."""
    order, steps = Order(order_id=ORDER_ID), list[tuple[Order, Order, str, list[Event]]]()
    for name in names:
        before, added = order, list[Event]()
        decided = decide(order, COMMANDS[name])
        for data in () if isinstance(decided, Refusal) else decided:
            added.append(orders.event(order, data))
            order = evolve(order, added[-1])
        steps.append((before, order, name, added))
    return steps


@given(commands)
def test_versions_have_no_gap_and_the_fold_of_the_log_is_the_order(names: list[str]) -> None:
    steps = _applied(["place", *names])
    log = [event for *_, added in steps for event in added]
    assert [event.order_version for event in log] == list(range(1, len(log) + 1))
    assert fold(ORDER_ID, log) == steps[-1][1]


@given(commands)
def test_order_ends_once_and_nothing_follows_its_end(names: list[str]) -> None:
    types = [event.type for *_, added in _applied(["place", *names]) for event in added]
    log = [kind for kind in types if not is_report(kind)]
    assert all(kind not in END for kind in log[:-1])


@given(commands)
def test_same_command_again_adds_nothing(names: list[str]) -> None:
    for before, after, name, added in _applied(["place", *names]):
        if added:
            assert decide(after, COMMANDS[name]) == (), name
        else:
            assert after == before


@given(commands)
def test_ended_orders_hold_the_right_amounts(names: list[str]) -> None:
    order = _applied(["place", *names])[-1][1]
    if order.state == "confirmed":
        assert (order.reservation, order.payment) == ("held", "authorized")
        assert order.failure is None
    if order.state == "rejected":
        assert order.reservation != "held"
        assert order.payment != "authorized"
        assert order.failure is not None


@given(commands)
def test_nothing_is_released_before_the_failure_is_recorded(names: list[str]) -> None:
    for before, _, _, added in _applied(["place", *names]):
        if {event.type for event in added} & {"StockReleased", "OrderRejected", "OrderCancelled", "OrderLinesCancelled"}:
            assert before.state in {"failing", "cancelling"}


@given(commands)
def test_failed_order_is_never_confirmed(names: list[str]) -> None:
    states = [after.state for _, after, _, _ in _applied(["place", *names])]
    if "failing" in states:
        assert set(states[states.index("failing") :]) <= {"failing", "rejected"}


class TestParcelConditions:
    """Alerts and resolutions on the order: once per cause until resolved, and only for parcels in transit."""

    WARM = Alert(cause="temperature_out_of_range", since=orders.START, lines=orders.ONE_MUG)

    def record(self, order: Order, *changes: ConditionChange) -> tuple[str, ...]:
        decided = decide(order, RecordParcelConditions("parcel_1", changes))
        assert not isinstance(decided, Refusal)
        return tuple(type(one).__name__ for one in decided)

    def test_cause_is_alerted_again_only_after_its_resolution(self) -> None:
        end = Resolution(cause="temperature_out_of_range", until=orders.START)
        changes = (end, self.WARM, self.WARM, end, end, self.WARM)
        recorded = ("ParcelConditionAlerted", "ParcelConditionResolved", "ParcelConditionAlerted")
        assert self.record(orders.after(*orders.PAID), *changes) == recorded

    @pytest.mark.parametrize("state", ["delivered", "part lost", "partly returned", "spoiled delivered"])
    def test_parcel_that_arrived_or_is_lost_is_not_alerted(self, state: str) -> None:
        assert self.record(orders.after(*STATES[state]), self.WARM, *orders.ALERT_SPOILED.changes) == ()

    def test_unknown_parcel_is_refused(self) -> None:
        assert isinstance(decide(orders.after(*orders.CONFIRMED), RecordParcelConditions("parcel_1", (self.WARM,))), Refusal)

    def test_spoiled_goods_are_never_resolved(self) -> None:
        order = orders.after(*STATES["spoiled"])
        assert self.record(order, Resolution(cause="goods_spoiled", until=orders.START)) == ()

    def test_alerts_of_a_parcel_are_limited_except_for_spoiled_goods(self) -> None:
        end = Resolution(cause="temperature_out_of_range", until=orders.START)
        spoiled = Alert(cause="goods_spoiled", since=orders.START, lines=orders.ONE_MUG)
        recorded = self.record(orders.after(*orders.PAID), *[self.WARM, end] * 30, spoiled)
        assert recorded.count("ParcelConditionAlerted") == MAX_ALERTS + 1
        assert recorded[-1] == "ParcelConditionAlerted"

    @pytest.mark.parametrize("cause", get_args(events.ParcelCause))
    def test_alert_holds_only_the_personal_data_that_its_cause_needs(self, cause: events.ParcelCause) -> None:
        here = events.Position(53.8, -1.5)
        alert = Alert(cause=cause, since=orders.START, lines=orders.ONE_MUG, position=here)
        order = orders.after(*orders.PAID)
        decision = decide(order, RecordParcelConditions("parcel_1", (alert,)))
        assert not isinstance(decision, Refusal)
        [data] = decision
        assert isinstance(data, events.ParcelConditionAlerted)
        assert data.customer == events.Customer(order.customer.id, order.customer.email if cause == "goods_spoiled" else "")
        assert data.position == (here if cause == "not_moving" else None)

    def test_order_keeps_conditions_and_spoiled_lines(self) -> None:
        [first, _] = orders.after(*STATES["recovered"]).parcels
        assert [one.cause for one in first.conditions] == ["goods_spoiled"]
        assert (first.spoiled, first.alerts) == (orders.ONE_MUG, 2)


class TestSpoiledReturns:
    """Goods that spoiled in transit can be returned without a time limit, once, after their delivery."""

    def test_spoiled_goods_are_returned_after_the_window(self) -> None:
        order = orders.after(*STATES["spoiled delivered"])
        assert outcome(order, orders.RETURN_SPOILED) == "ReturnRequested"
        late = RequestReturn("ret_9", orders.ONE_MUG, "", orders.START + timedelta(days=60))
        assert isinstance(decide(order, late), Refusal)

    @pytest.mark.parametrize("state", ["spoiled", "delivered"])
    def test_goods_in_transit_or_not_spoiled_are_refused(self, state: str) -> None:
        assert isinstance(decide(orders.after(*STATES[state]), orders.RETURN_SPOILED), Refusal)

    def test_spoiled_goods_are_returned_once(self) -> None:
        order = orders.after(*STATES["spoiled delivered"], orders.RETURN_SPOILED)
        again = RequestReturn("ret_9", orders.ONE_MUG, "", orders.START, "spoiled")
        assert isinstance(decide(order, again), Refusal)
        assert decide(order, orders.RETURN_SPOILED) == ()
