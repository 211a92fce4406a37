"""The captures, refunds and voids that are due, for any history of an order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.domain.commands import Command, RecordCapture, RecordDispute, RecordRefund, RecordRefundFailure, RecordVoid, Refusal, decide
from orderflow.domain.money import Money
from orderflow.domain.order import Order, evolve
from payments.domain.amounts_due import REFUND_ATTEMPTS, AmountDue, Capture, Refund, VoidRemainder, due, unpaid
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

DUE: dict[str, tuple[AmountDue, ...]] = {
    "cancellation failed": (Capture("parcel_1", PART), Capture("parcel_2", REST)),
    "partly dispatched": (Capture("parcel_1", PART),),
    "cancelling the rest": (Capture("parcel_1", PART),),
    "dispatched": (Capture("parcel_1", PART), Capture("parcel_2", REST)),
    "part lost": (Refund("parcel:parcel_1", PART),),
    "found after loss": (Refund("parcel:parcel_1", PART),),
    "refund failed": (Refund("parcel:parcel_1", PART, 2),),
    "refund reversed": (Refund("parcel:parcel_1", PART, 2),),
    "all lost": (Refund("parcel:parcel_1", PART), Refund("parcel:parcel_2", REST)),
    "partly returned": (Refund("return:ret_1", PART),),
    "dispatched after recall": (VoidRemainder(Money(2990, "EUR")),),
    "failed authorized": (VoidRemainder(Money(2990, "EUR")),),
    "cancelling authorized": (VoidRemainder(Money(2990, "EUR")),),
    "recalled": (VoidRemainder(Money(2990, "EUR")),),
}


@pytest.mark.parametrize("state", STATES)
def test_due_amounts_in_every_state(state: str) -> None:
    assert due(after(*STATES[state])) == DUE.get(state, ())


def test_parcel_lost_before_its_capture_is_captured_and_refunded() -> None:
    lost = after(*DISPATCHED, COMMANDS["lose part"])

    assert due(lost) == (Capture("parcel_1", PART), Capture("parcel_2", REST))
    assert due(settled(lost)) == ()
    assert (settled(lost).captured, settled(lost).refunded) == (2990, 1250)


def test_rest_is_voided_after_the_captures() -> None:
    stopped = after(*STATES["cancelling the rest"], COMMANDS["capture part"])

    assert due(stopped) == (VoidRemainder(REST),)


def test_nothing_is_refunded_during_a_dispute() -> None:
    disputed = (*STATES["partly returned"], COMMANDS["dispute"])

    assert due(after(*disputed)) == ()
    assert due(after(*disputed, COMMANDS["win"])) == (Refund("return:ret_1", PART),)
    # The bank withdrew 1250 of 2990; the rest covers the return.
    assert due(after(*disputed, COMMANDS["lose"])) == (Refund("return:ret_1", PART),)


def with_lost_dispute(amount: int) -> Order:
    """Return a lost order of 29.90 with a lost dispute that left `amount` of its captured payment."""
    return after(*STATES["all lost"], RecordDispute("dp_1", Money(2990 - amount, "EUR"), ""), COMMANDS["lose"])


@pytest.mark.parametrize(
    ("left", "refunds", "rest"),
    [
        (2989, (Refund("parcel:parcel_1", PART), Refund("parcel:parcel_2", Money(1739, "EUR"))), 1),
        (1740, (Refund("parcel:parcel_1", PART), Refund("parcel:parcel_2", Money(490, "EUR"))), 1250),
        (300, (Refund("parcel:parcel_1", Money(300, "EUR")),), 2690),
        (0, (), 2990),
        (-500, (), 2990),
    ],
)
def test_refunds_are_limited_by_disputes(left: int, refunds: tuple[AmountDue, ...], rest: int) -> None:
    order = with_lost_dispute(left)

    assert due(order) == refunds
    assert unpaid(order) == rest
    assert settled(order).refunded == max(0, left)
    assert unpaid(settled(order)) == rest


def test_rest_of_a_refund_is_due_after_a_won_dispute() -> None:
    partly = settled(with_lost_dispute(300))
    won = decided_and_applied(partly, COMMANDS["win"])

    assert due(partly) == ()
    assert due(won) == (Refund("parcel:parcel_1", Money(950, "EUR"), 2), Refund("parcel:parcel_2", REST))
    assert (settled(won).refunded, unpaid(settled(won))) == (2990, 0)


def test_no_amount_is_unpaid_during_an_open_dispute() -> None:
    assert unpaid(after(*STATES["all lost"], COMMANDS["dispute"])) == 0


def test_repeated_refund_failures_raise_an_alert() -> None:
    order = after(*STATES["part lost"])
    for number in range(1, REFUND_ATTEMPTS + 1):
        assert due(order) == (Refund("parcel:parcel_1", PART, number),)
        order = decided_and_applied(order, RecordRefundFailure(f"ref_{number}", "parcel:parcel_1", PART, "declined"))

    assert (due(order), unpaid(order)) == ((), 1250)


def settle_one(order: Order, one: AmountDue) -> Order:
    match one:
        case Capture(parcel_id):
            return decided_and_applied(order, RecordCapture(parcel_id, f"cap_{parcel_id}"))
        case Refund(cause, amount, number):
            return decided_and_applied(order, RecordRefund(f"ref_{cause}_{number}", cause, amount))
        case VoidRemainder():
            return decided_and_applied(order, RecordVoid(AUTHORIZATION))


def decided_and_applied(order: Order, command: Command) -> Order:
    decided = decide(order, command)
    assert decided
    assert not isinstance(decided, Refusal), decided
    for data in decided:
        order = evolve(order, event(order, data))
    return order


def settled(order: Order) -> Order:
    while wanted := due(order):
        order = settle_one(order, wanted[0])
    return order


def history_of(names: list[str], settles: list[bool]) -> Order:
    """Return an order after the commands that it accepted, settled after those marked in `settles`."""
    order = after(*CONFIRMED)
    for name, settle in zip(names, settles, strict=True):
        decided = decide(order, NEXT[name])
        for data in () if isinstance(decided, Refusal) else decided:
            order = evolve(order, event(order, data))
        order = settled(order) if settle else order
    return order


histories = st.integers(0, 14).flatmap(
    lambda length: st.builds(
        history_of,
        st.lists(st.sampled_from(sorted(NEXT)), min_size=length, max_size=length),
        st.lists(st.booleans(), min_size=length, max_size=length),
    )
)


@given(histories)
def test_due_amounts_can_be_settled_in_sequence(order: Order) -> None:
    for one in due(order):
        order = settle_one(order, one)


@given(histories)
def test_settled_payment_matches_dispatches_and_refunds(order: Order) -> None:
    order = settled(order)

    left = sum(parcel.amount.amount for parcel in order.parcels)
    lost = sum(parcel.amount.amount for parcel in order.parcels if parcel.state == "lost")
    returned = sum(one.amount.amount for one in order.returns if one.amount)
    assert order.captured == left
    assert order.refunded <= lost + returned
    if all(dispute.outcome for dispute in order.disputes):
        assert order.refunded + unpaid(order) == lost + returned
        if not any(attempt.cause for attempt in order.refunds if not attempt.refunded):
            # Refunds are limited by the amount that the bank left, unless they were paid before the dispute.
            assert unpaid(order) == 0 or order.net_captured <= 0


@given(histories)
def test_no_authorization_remains_after_the_last_dispatch(order: Order) -> None:
    order = settled(order)

    assert order.payment != "authorized" or order.state in {"confirmed", "partly_dispatched", "cancelling"}
