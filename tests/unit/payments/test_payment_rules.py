"""What of an order's money is due, over any life of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.commands import Command, RecordCapture, RecordRefund, RecordVoid, Refusal, decide
from orderflow.money import Money
from orderflow.order import Order, evolve
from payments.rules import Capture, Due, Refund, VoidRest, due
from tests.support.orders import (
    AUTHORIZATION,
    COMMANDS,
    CONFIRMED,
    DISPATCHED,
    LOSE_REST,
    STATES,
    after,
    event,
)

PART, REST = Money(1250, "EUR"), Money(1740, "EUR")
NEXT = {**COMMANDS, "lose rest": LOSE_REST}
del NEXT["void"], NEXT["capture part"], NEXT["capture rest"], NEXT["refund lost"], NEXT["refund return"]

DUE: dict[str, tuple[Due, ...]] = {
    "cancellation failed": (Capture("parcel_1", PART), Capture("parcel_2", REST)),
    "partly dispatched": (Capture("parcel_1", PART),),
    "cancelling the rest": (Capture("parcel_1", PART),),
    "dispatched": (Capture("parcel_1", PART), Capture("parcel_2", REST)),
    "part lost": (Refund("parcel:parcel_1", PART),),
    "all lost": (Refund("parcel:parcel_1", PART), Refund("parcel:parcel_2", REST)),
    "partly returned": (Refund("return:ret_1", PART),),
    "failed authorized": (VoidRest(Money(2990, "EUR")),),
    "cancelling authorized": (VoidRest(Money(2990, "EUR")),),
    "recalled": (VoidRest(Money(2990, "EUR")),),
}


@pytest.mark.parametrize("state", STATES)
def test_what_is_due_in_every_state(state: str) -> None:
    assert due(after(*STATES[state])) == DUE.get(state, ())


def test_a_parcel_that_was_lost_before_it_was_paid_for_is_paid_for_and_given_back() -> None:
    lost = after(*DISPATCHED, COMMANDS["lose part"])

    assert due(lost) == (Capture("parcel_1", PART), Capture("parcel_2", REST))
    assert due(settled(lost)) == ()
    assert (settled(lost).captured, settled(lost).refunded) == (2990, 1250)


def test_the_rest_is_given_back_once_what_left_is_paid_for() -> None:
    stopped = after(*STATES["cancelling the rest"], COMMANDS["capture part"])

    assert due(stopped) == (VoidRest(REST),)


def test_nothing_is_refunded_while_a_bank_has_the_money_back() -> None:
    disputed = (*STATES["partly returned"], COMMANDS["dispute"])

    assert due(after(*disputed)) == ()
    assert due(after(*disputed, COMMANDS["win"])) == (Refund("return:ret_1", PART),)
    # Of 2990 the bank has left 1740, which covers the return.
    assert due(after(*disputed, COMMANDS["lose"])) == (Refund("return:ret_1", PART),)
    assert due(after(*STATES["all lost"], COMMANDS["dispute"], COMMANDS["lose"])) == (Refund("parcel:parcel_1", PART),)


def done(order: Order, one: Due) -> Order:
    match one:
        case Capture(parcel_id):
            return carried_out(order, RecordCapture(parcel_id, f"cap_{parcel_id}"))
        case Refund(cause):
            return carried_out(order, RecordRefund(f"ref_{cause}", cause))
        case VoidRest():
            return carried_out(order, RecordVoid(AUTHORIZATION))


def carried_out(order: Order, command: Command) -> Order:
    facts = decide(order, command)
    assert facts
    assert not isinstance(facts, Refusal), facts
    for fact in facts:
        order = evolve(order, event(order, fact))
    return order


def settled(order: Order) -> Order:
    while wanted := due(order):
        order = done(order, wanted[0])
    return order


def lived(names: list[str], settles: list[bool]) -> Order:
    """Return an order to which these things happened, as far as it allowed them; its money was settled in between."""
    order = after(*CONFIRMED)
    for name, settle in zip(names, settles, strict=True):
        facts = decide(order, NEXT[name])
        for fact in () if isinstance(facts, Refusal) else facts:
            order = evolve(order, event(order, fact))
        order = settled(order) if settle else order
    return order


lives = st.integers(0, 14).flatmap(
    lambda length: st.builds(
        lived,
        st.lists(st.sampled_from(sorted(NEXT)), min_size=length, max_size=length),
        st.lists(st.booleans(), min_size=length, max_size=length),
    )
)


@given(lives)
def test_all_that_is_due_can_be_done_one_after_the_other(order: Order) -> None:
    for one in due(order):
        order = done(order, one)


@given(lives)
def test_what_was_settled_took_what_left_and_gave_back_what_was_lost_or_returned(order: Order) -> None:
    order = settled(order)

    left = sum(parcel.amount.amount for parcel in order.parcels)
    lost = sum(parcel.amount.amount for parcel in order.parcels if parcel.state == "lost")
    returned = sum(one.amount.amount for one in order.returns if one.amount)
    assert order.captured == left
    assert order.refunded <= lost + returned
    if not order.disputes:
        assert order.refunded == lost + returned
    if all(dispute.outcome for dispute in order.disputes):
        charged_back = sum(dispute.amount.amount for dispute in order.disputes if dispute.outcome == "lost")
        assert order.refunded + charged_back <= order.captured or not order.refunded


@given(lives)
def test_nothing_stays_held_when_nothing_more_will_leave(order: Order) -> None:
    order = settled(order)

    assert order.payment != "authorized" or order.state in {"confirmed", "partly_dispatched", "cancelling"}
