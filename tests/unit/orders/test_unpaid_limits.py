"""The limit of a customer's unpaid orders and units: the rule, and `POST /orders`."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orderflow.aws import dynamodb
from orders.domain import pricing
from orders.domain.unpaid_limits import DECLINES_COUNT, MAX_ORDERS, MAX_UNITS, Counted, UnpaidLimitReached, check, counted, is_unpaid
from orders.handlers import place_order
from tests.fakes.aws.dynamodb import conflict
from tests.support import orders
from tests.support.clock import recorded_at
from tests.support.prepared import SAGA_STEPS, advance
from tests.unit.orders.conftest import Post, changed, request

if TYPE_CHECKING:
    from tests.fakes.aws.environment import Aws

AUTHORIZED, CONFIRMED = SAGA_STEPS[:3], SAGA_STEPS
DECLINED_STEPS = (
    "inventory.handlers.reserve_stock",
    "fraud.handlers.screen_order",
    "payments.decline",
    "inventory.handlers.release_stock",
    "orders.handlers.finalize_order",
)
FAILED = (
    "inventory.handlers.reserve_stock",
    "orders.handlers.record_failure",
    "inventory.handlers.release_stock",
    "orders.handlers.finalize_order",
)
CANCELLED = ("customer.cancels", "orders.handlers.finalize_order")


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb.time, "sleep", lambda _: None)


def one(quantity: int = 1, sku: str = "MUG-BLUE") -> dict[str, Any]:
    return changed(lines=[{"sku": sku, "quantity": quantity}])


def row(shop: Aws) -> dict[str, Any]:
    (found,) = shop.dynamodb.items("Allowances")
    return found


@pytest.mark.parametrize(
    ("commands", "unpaid"),
    [
        ((orders.PLACE,), True),
        (orders.RESERVED, True),
        (orders.SCREENED, True),
        ((*orders.RESERVED, orders.HOLD), True),
        ((*orders.RESERVED, orders.HOLD, orders.EXPIRE), True),
        ((*orders.RESERVED, orders.EXPIRE), True),
        ((*orders.SCREENED, orders.DECLINE), True),
        ((*orders.RESERVED, orders.CANCEL), True),
        ((*orders.SCREENED, orders.DECLINE, orders.RELEASE), False),
        ((*orders.SCREENED, orders.DECLINE, orders.RELEASE, orders.REJECT), False),
        ((orders.PLACE, orders.SHORTAGE), False),
        ((orders.PLACE, orders.CANCEL), False),
        (orders.AUTHORIZED, False),
        (orders.CONFIRMED, False),
        (orders.RETURNED, False),
    ],
)
def test_order_counts_while_it_holds_stock_without_payment(commands: tuple[Any, ...], unpaid: bool) -> None:
    assert is_unpaid(orders.after(*commands)) is unpaid


DECLINED = orders.after(*orders.SCREENED, orders.DECLINE, orders.RELEASE)
UNPAID = orders.after(orders.PLACE)  # two mugs and a pack of filters


def test_limits_are_inclusive() -> None:
    check(orders.STOCK, Counted((UNPAID,) * (MAX_ORDERS - 1)))
    with pytest.raises(UnpaidLimitReached, match=f"you have {MAX_ORDERS} unpaid orders, and the limit is {MAX_ORDERS}"):
        check(orders.STOCK, Counted((UNPAID,) * MAX_ORDERS))


@pytest.mark.parametrize(("unpaid", "declined"), [(0, MAX_ORDERS), (1, MAX_ORDERS - 1), (MAX_ORDERS - 1, 1)])
def test_declined_orders_count_with_the_unpaid_ones(unpaid: int, declined: int) -> None:
    check(orders.STOCK, Counted((UNPAID,) * unpaid, (DECLINED,) * (declined - 1)))
    with pytest.raises(UnpaidLimitReached, match=rf"{declined} orders? of the last 24 hours whose payment") as reached:
        check(orders.STOCK, Counted((UNPAID,) * unpaid, (DECLINED,) * declined))
    assert (len(reached.value.unpaid), len(reached.value.declined), reached.value.skus) == (unpaid, declined, ())


def test_units_of_declined_orders_do_not_count() -> None:
    check([orders.StockLine("MUG-BLUE", MAX_UNITS)], Counted((), (DECLINED,) * (MAX_ORDERS - 1)))


@pytest.mark.parametrize(
    ("commands", "age", "unpaid", "declined"),
    [
        ((*orders.SCREENED, orders.DECLINE), 0, 1, 0),  # its stock is not released yet
        ((*orders.SCREENED, orders.DECLINE, orders.RELEASE), 0, 0, 1),
        ((*orders.SCREENED, orders.DECLINE, orders.RELEASE, orders.REJECT), 0, 0, 1),
        ((*orders.SCREENED, orders.DECLINE, orders.RELEASE, orders.REJECT), 24, 0, 0),
        ((orders.PLACE, orders.SHORTAGE, orders.REJECT), 0, 0, 0),
        ((orders.PLACE, orders.CANCEL), 0, 0, 0),
        (orders.CONFIRMED, 0, 0, 0),
    ],
)
def test_declined_order_counts_for_24_hours(commands: tuple[Any, ...], age: int, unpaid: int, declined: int) -> None:
    order = orders.after(*commands)
    assert order.placed_at
    found = counted([order], order.placed_at + timedelta(hours=age))
    assert (len(found.unpaid), len(found.declined)) == (unpaid, declined)


class TestLimit:
    def test_unpaid_orders_are_limited(self, post: Post, shop: Aws) -> None:
        placed = [post(key=f"key-{number}")["body"]["order_id"] for number in range(MAX_ORDERS)]
        refused = post(key="one-more")
        assert (refused["statusCode"], refused["body"]["type"]) == (409, "urn:order-pipeline:problem:unpaid-limit-reached")
        assert sorted(refused["body"]["unpaid_orders"]) == sorted(placed)
        assert "cancel" in refused["body"]["detail"]
        assert len(shop.dynamodb.items("OrderLog")) == len(shop.dynamodb.items("PaymentTokens")) == MAX_ORDERS

    def test_unpaid_units_of_a_product_are_limited(self, post: Post, shop: Aws) -> None:
        assert post(one(MAX_UNITS - 1), key="key-1")["statusCode"] == 201
        refused = post(one(2), key="key-2")
        assert (refused["statusCode"], refused["body"]["skus"]) == (409, ["MUG-BLUE"])
        assert f"MUG-BLUE ({MAX_UNITS - 1} unpaid, 2 more requested)" in refused["body"]["detail"]
        assert post(one(1), key="key-3")["statusCode"] == 201
        assert post(one(MAX_UNITS, "FILTER-100"), key="key-4")["statusCode"] == 201
        assert row(shop)["units:MUG-BLUE"] == row(shop)["units:FILTER-100"] == {"N": str(MAX_UNITS)}

    def test_order_over_the_limit_is_refused_with_the_limit(self, post: Post) -> None:
        refused = post(one(MAX_UNITS + 1))
        assert (refused["statusCode"], refused["body"]["type"]) == (422, "urn:order-pipeline:problem:quantity-too-large")
        assert refused["body"]["detail"] == f"{MAX_UNITS + 1} units of MUG-BLUE were requested; the limit is {MAX_UNITS}"

    def test_other_customers_have_limits_of_their_own(self, post: Post) -> None:
        assert [post(one(MAX_UNITS), customer=name)["statusCode"] for name in ("ann", "bob")] == [201, 201]

    @pytest.mark.parametrize("steps", [AUTHORIZED, CONFIRMED, FAILED, CANCELLED])
    def test_paid_and_ended_orders_do_not_count(self, post: Post, shop: Aws, steps: tuple[str, ...]) -> None:
        first = post(one(MAX_UNITS), key="key-1")["body"]["order_id"]
        assert post(one(1), key="key-2")["statusCode"] == 409
        advance(place_order.LOG, first, *steps)
        second = post(one(MAX_UNITS), key="key-2")
        assert second["statusCode"] == 201
        assert row(shop)["orders"] == {"SS": [second["body"]["order_id"]]}
        assert row(shop)["units:MUG-BLUE"] == {"N": str(MAX_UNITS)}
        assert post(one(1), key="key-3")["statusCode"] == 409

    def test_recount_keeps_unpaid_orders(self, post: Post, shop: Aws) -> None:
        first = post(one(60), key="key-1")["body"]["order_id"]
        second = post(one(40), key="key-2")["body"]["order_id"]
        advance(place_order.LOG, first, *CONFIRMED)
        third = post(one(60), key="key-3")["body"]["order_id"]
        assert sorted(row(shop)["orders"]["SS"]) == sorted([second, third])
        assert post(one(1), key="key-4")["statusCode"] == 409

    def test_order_missing_from_the_log_does_not_count(self, post: Post, shop: Aws) -> None:
        post(one(MAX_UNITS), key="key-1")
        (order_id,) = row(shop)["orders"]["SS"]
        shop.dynamodb.client.delete_item(TableName="OrderLog", Key={"order_id": {"S": order_id}, "version": {"N": "1"}})
        assert post(one(MAX_UNITS), key="key-2")["statusCode"] == 201


class TestDeclined:
    """An account cannot try any number of stolen cards."""

    def decline(self, post: Post, number: int, **sent: Any) -> str:
        """Place an order whose payment is declined and return its id."""
        placed = post(key=f"key-{number}", **sent)
        assert placed["statusCode"] == 201
        advance(place_order.LOG, placed["body"]["order_id"], *DECLINED_STEPS)
        return placed["body"]["order_id"]

    def test_declined_orders_are_limited(self, post: Post, shop: Aws) -> None:
        declined = [self.decline(post, number) for number in range(MAX_ORDERS)]
        refused = post(key="one-more")
        assert (refused["statusCode"], refused["body"]["type"]) == (409, "urn:order-pipeline:problem:unpaid-limit-reached")
        assert sorted(refused["body"]["declined_orders"]) == sorted(declined)
        assert (refused["body"]["unpaid_orders"], refused["body"]["skus"]) == ([], [])
        assert "declined" in refused["body"]["detail"]
        assert "cancel" not in refused["body"]["detail"]
        assert post(key="one-more", customer="bob")["statusCode"] == 201

    def test_declined_order_stays_counted_without_its_units(self, post: Post, shop: Aws) -> None:
        first = self.decline(post, 1, body=one(MAX_UNITS))
        second = post(one(MAX_UNITS), key="key-2")["body"]["order_id"]
        assert sorted(row(shop)["orders"]["SS"]) == sorted([first, second])
        assert row(shop)["units:MUG-BLUE"] == {"N": str(MAX_UNITS)}

    def test_declined_orders_count_until_24_hours_after_they_were_placed(self, post: Post, shop: Aws) -> None:
        with recorded_at(datetime.now(UTC) - DECLINES_COUNT):
            for number in range(MAX_ORDERS - 1):
                self.decline(post, number)
        last = self.decline(post, MAX_ORDERS)
        placed = post(key="one-more")["body"]["order_id"]
        assert sorted(row(shop)["orders"]["SS"]) == sorted([last, placed])

    def test_paid_orders_leave_room_beside_declined_ones(self, post: Post) -> None:
        for number in range(MAX_ORDERS - 1):
            self.decline(post, number)
        for number in range(3):
            paid = post(key=f"paid-{number}")
            assert paid["statusCode"] == 201
            advance(place_order.LOG, paid["body"]["order_id"], *CONFIRMED)
        self.decline(post, MAX_ORDERS)
        assert post(key="one-more")["statusCode"] == 409

    def test_refusal_names_unpaid_and_declined_orders_apart(self, post: Post) -> None:
        declined = [self.decline(post, number) for number in range(MAX_ORDERS - 1)]
        unpaid = post(key="unpaid")["body"]["order_id"]
        body = post(key="one-more")["body"]
        assert (body["unpaid_orders"], sorted(body["declined_orders"])) == ([unpaid], sorted(declined))
        assert f"1 unpaid order and {MAX_ORDERS - 1} orders of the last 24 hours whose payment was declined" in body["detail"]


class TestRepeated:
    def test_repeated_request_counts_once(self, post: Post, shop: Aws) -> None:
        first = post(one(MAX_UNITS))
        assert [post(one(MAX_UNITS)) for _ in range(3)] == [first] * 3
        assert row(shop)["units:MUG-BLUE"] == {"N": str(MAX_UNITS)}

    def test_repeated_request_at_the_limit_gets_its_old_answer(self, post: Post) -> None:
        answers = {key: post(key=key) for key in (f"key-{number}" for number in range(MAX_ORDERS))}
        assert post(key="one-more")["statusCode"] == 409
        assert {key: post(key=key) for key in answers} == answers
        assert post(one(1), key="key-0")["body"]["type"] == "urn:order-pipeline:problem:idempotency-key-reused"

    def test_refused_request_succeeds_once_orders_are_paid(self, post: Post) -> None:
        first = post(one(MAX_UNITS), key="key-1")["body"]["order_id"]
        assert post(one(1), key="key-2")["statusCode"] == 409
        advance(place_order.LOG, first, *CONFIRMED)
        assert post(one(1), key="key-2")["statusCode"] == 201


class TestConcurrent:
    def place_all(self, context: Any, quantities: list[int]) -> list[int]:
        def send(number: int, quantity: int) -> int:
            return place_order.handler(request(one(quantity), key=f"key-{number}"), context)["statusCode"]

        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(send, range(len(quantities)), quantities))

    def test_concurrent_orders_never_exceed_a_limit(self, shop: Aws, context: Any) -> None:
        statuses = self.place_all(context, [30] * 16)
        assert sorted(set(statuses)) == [201, 409]
        assert statuses.count(201) == MAX_UNITS // 30
        assert row(shop)["units:MUG-BLUE"] == {"N": "90"}

    def test_allowance_changed_during_the_recount_is_read_again(self, post: Post, shop: Aws) -> None:
        first = post(one(60), key="key-1")["body"]["order_id"]
        post(one(30), key="key-2")
        advance(place_order.LOG, first, *CONFIRMED)
        seen: list[str] = []

        def race(operation: str, _given: Any) -> None:
            if operation == "Query" and not seen:  # the recount has read the row
                seen.append(operation)
                assert post(one(5), key="key-3")["statusCode"] == 201

        shop.dynamodb.before = race
        assert post(one(60), key="key-4")["statusCode"] == 201
        shop.dynamodb.before = None
        assert row(shop)["units:MUG-BLUE"] == {"N": "95"}
        assert len(row(shop)["orders"]["SS"]) == 3

    def test_conflicting_transactions_are_retried(self, post: Post, shop: Aws) -> None:
        conflicts: list[str] = []

        def conflict_first(operation: str, given: Any) -> None:
            if operation == "TransactWriteItems" and len(conflicts) < 5:
                conflicts.append(operation)
                raise conflict(given)

        shop.dynamodb.before = conflict_first
        assert post()["statusCode"] == 201


def test_fifty_lines_are_counted_in_one_request(post: Post, shop: Aws) -> None:
    lines = [{"sku": f"SKU-{number:03}", "quantity": MAX_UNITS} for number in range(50)]
    assert post(changed(lines=lines))["statusCode"] == 201
    assert len([name for name in row(shop) if name.startswith("units:")]) == 50


def test_allowance_holds_no_personal_data_but_the_customer_id(post: Post, shop: Aws) -> None:
    post()
    assert set(row(shop)) == {"customer_id", "orders", "revision", "expires_at", "units:MUG-BLUE", "units:FILTER-100"}


def test_allowances_and_tokens_outlive_the_longest_unpaid_order(post: Post, shop: Aws) -> None:
    post()
    (token,) = shop.dynamodb.items("PaymentTokens")
    placed = json.loads(shop.dynamodb.items("OrderLog")[0]["event"]["S"])["occurred_at"]
    for item in (token, row(shop)):
        lived = int(item["expires_at"]["N"]) - datetime.fromisoformat(placed).timestamp()
        assert lived == pytest.approx(86_400 + 7 * 86_400, abs=5)


def test_payment_token_is_only_in_its_own_table(post: Post, shop: Aws) -> None:
    post(changed(payment={"token": "tok_secret", "country": "GB"}))
    (token,) = shop.dynamodb.items("PaymentTokens")
    assert (token["order_id"]["S"], token["payment_token"]["S"]) == (pricing.order_id("ann", "key-1"), "tok_secret")
    others = [shop.dynamodb.items(table) for table in ("OrderLog", "Allowances")]
    assert "tok_secret" not in json.dumps([others, shop.dynamodb.changes["OrderLog"]])
