"""Points follow the net amount of confirmed orders, for any order of events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.domain import point_rules, routed_events
from loyalty.handlers import award_points, get_points
from loyalty.point_store import Award, PointStore
from orderflow.domain.money import Money, whole_dollars
from tests.fakes.aws.dynamodb import PAGE_BYTES
from tests.fakes.aws.environment import Aws
from tests.support import orders, samples
from tests.support.prepared import an_order, prepare

# The orders of tests.support.orders cost EUR 29.90: two mugs at EUR 12.50, filters at EUR 4.90.
WORTH = {
    "placed": 0,
    "authorized": 0,
    "rejected": 0,
    "cancelled": 0,
    "confirmed": 29,
    "cancelling shipping": 29,
    "paid": 29,
    "rest cancelled": 12,
    "part lost": 29,
    "lost refunded": 17,
    "partly returned": 29,
    "return refunded": 17,
}
amounts = st.integers(0, 10**12)
currencies = st.sampled_from(["EUR", "JPY", "KWD", "CLF"])


def points_of(aws: Aws, customer: str = "ann") -> int:
    return PointStore("LoyaltyPoints", aws.dynamodb.client).balance(customer)


@pytest.mark.parametrize("state", WORTH)
def test_points_follow_the_net_amount_of_an_order(state: str) -> None:
    assert point_rules.points_due(orders.after(*orders.STATES[state]), 1) == WORTH[state]


@pytest.mark.parametrize("state", sorted(set(orders.STATES) - {"new"}))
def test_points_are_never_negative(state: str) -> None:
    assert 0 <= point_rules.points_due(orders.after(*orders.STATES[state]), 3) <= 3 * 29


@pytest.mark.parametrize("state", sorted(set(orders.STATES) - {"new"}))
def test_only_the_consumed_events_change_points(state: str) -> None:
    history = orders.history(*orders.STATES[state])
    worth = [point_rules.points_due(orders.folded(history[:number]), 1) for number in range(1, len(history) + 1)]
    for number, event in enumerate(history):
        before = worth[number - 1] if number else 0
        assert worth[number] == before or event.type in routed_events.AWARD_POINTS
        known = point_rules.version(orders.folded(history[:number]))
        assert point_rules.version(orders.folded(history[: number + 1])) == (
            event.order_version if event.type in routed_events.AWARD_POINTS else known
        )


@given(amounts, currencies, st.integers(0, 100))
def test_only_whole_dollars_count(amount: int, currency: str, rate: int) -> None:
    points = point_rules.points(Money(amount, currency), rate)
    assert points % max(rate, 1) == 0
    assert points == whole_dollars(Money(amount, currency)) * rate


@pytest.mark.parametrize("money", [Money(2_000, "EUR"), Money(500_000, "VND"), Money(6_200, "KWD"), Money(3_000, "JPY")])
def test_equal_value_earns_equal_points_in_every_currency(money: Money) -> None:
    assert point_rules.points(money, 1) == 20


@given(amounts, amounts, currencies)
def test_larger_amounts_never_earn_fewer_points(one: int, two: int, currency: str) -> None:
    low, high = sorted((one, two))
    assert point_rules.points(Money(low, currency), 1) <= point_rules.points(Money(high, currency), 1)


@given(st.lists(st.tuples(st.sampled_from(["ord_1", "ord_2"]), st.integers(0, 5)), max_size=12))
def test_newest_award_counts_in_any_order_of_writes(deliveries: list[tuple[str, int]]) -> None:
    """A slow worker may write the points of an older version."""
    worth = [0, 0, 25, 25, 10, 0]
    aws = Aws()
    points = PointStore("LoyaltyPoints", aws.dynamodb.client)
    for order_id, version in deliveries:
        points.award("ann", order_id, Award(worth[version], version))
    newest = {order_id: max(version for name, version in deliveries if name == order_id) for order_id, _ in deliveries}
    assert points.balance("ann") == sum(worth[version] for version in newest.values())


def test_order_cancelled_during_an_award_earns_nothing(aws: Aws) -> None:
    points = PointStore("LoyaltyPoints", aws.dynamodb.client)

    def cancelled_meanwhile(operation: str, _: Any) -> None:
        if operation == "PutItem":
            aws.dynamodb.before = None
            assert points.award("ann", "ord_1", Award(0, 9))

    aws.dynamodb.before = cancelled_meanwhile
    assert not points.award("ann", "ord_1", Award(25, 5))
    assert points_of(aws) == 0


def test_award_costs_one_query_and_one_write(aws: Aws, context: Any) -> None:
    an_order(award_points.LOG, "ord_1").confirmed()
    aws.dynamodb.calls.clear()
    award_points.handler(samples.order_batch("ord_1"), context)
    assert aws.dynamodb.calls == {"Query": 1, "PutItem": 1}


def test_same_or_older_award_changes_nothing(aws: Aws) -> None:
    points = PointStore("LoyaltyPoints", aws.dynamodb.client)
    assert points.award("ann", "ord_1", Award(25, 5))
    assert not points.award("ann", "ord_1", Award(25, 5))
    assert points.award("ann", "ord_1", Award(12, 6))
    assert not points.award("ann", "ord_1", Award(25, 5))
    assert points_of(aws) == 12


def test_balance_sums_more_orders_than_a_page_holds(aws: Aws) -> None:
    """Two pages of a query, and the balance item of an older version."""
    length = 1000
    orders_ = [f"ord_{number:0{length}}" for number in range(PAGE_BYTES // length + 50)]
    rows = [{"customer_id": {"S": "ann"}, "entry": {"S": name}, "points": {"N": "2"}, "version": {"N": "5"}} for name in orders_]
    aws.dynamodb.seed("LoyaltyPoints", *rows, {"customer_id": {"S": "ann"}, "entry": {"S": "balance"}, "points": {"N": "7"}})
    assert points_of(aws) == 2 * len(rows)
    assert aws.dynamodb.calls["Query"] == 2


def test_redelivered_order_counts_once(aws: Aws, context: Any) -> None:
    for order_id in ("ord_1", "ord_2"):
        an_order(award_points.LOG, order_id).confirmed()
    for _ in range(3):
        assert award_points.handler(samples.order_batch("ord_1", "ord_2", "ord_1"), context) == {"batchItemFailures": []}
    assert (points_of(aws), points_of(aws, "bob")) == (50, 0)


@pytest.mark.parametrize("name", samples.names("loyalty/award_points"))
def test_samples_have_their_documented_answers(name: str, aws: Aws, context: Any) -> None:
    for order_id in ("ord_000000000000awardconfirmed", "ord_000000000000awardcancelled"):
        prepare(award_points.LOG, order_id)
    assert award_points.handler(samples.sample(name), context) == samples.expected(name)


def test_customers_read_their_own_points(aws: Aws, context: Any) -> None:
    PointStore("LoyaltyPoints", aws.dynamodb.client).award("ann", "ord_1", Award(25, 5))
    answers = [get_points.handler(samples.sample(name), context) for name in ("loyalty/get_points/points", "loyalty/get_points/none-yet")]
    assert [json.loads(answer["body"]) for answer in answers] == [{"points": 25}, {"points": 0}]
