"""`POST /orders/{order_id}/returns`: delivered units can be returned once, within the return window."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orderflow.aws.order_log import OrderLog
from orderflow.domain import events
from orderflow.domain.events import StockLine
from orders import returns
from orders.domain import pricing
from orders.handlers import create_return, get_order
from tests.fakes.aws.dynamodb import Crash, answer_lost, crash_at
from tests.support import orders, samples
from tests.support.prepared import prepare
from tests.unit.orders.conftest import Post, decoded, order_id

if TYPE_CHECKING:
    from tests.fakes.aws.environment import Aws

ORDER = order_id("sample-order-1")
MUG = {"sku": "MUG-BLUE", "quantity": 1}
BODY: dict[str, Any] = {"lines": [MUG], "reason": "too small"}


def request(body: Any = BODY, *, key: str | None = "return-1", customer: str = "ann", order: str = ORDER) -> Any:
    event = samples.sample("orders/create_return/created")
    event["pathParameters"]["order_id"] = order
    event["requestContext"]["authorizer"] |= {"customer_id": customer}
    event["headers"].pop("Idempotency-Key")
    if key is not None:
        event["headers"]["Idempotency-Key"] = key
    event["body"] = body if isinstance(body, str) else json.dumps(body)
    return event


def create(context: Any, body: Any = BODY, **details: Any) -> dict[str, Any]:
    return decoded(create_return.handler(request(body, **details), context))


@pytest.fixture
def log(aws: Aws) -> OrderLog:
    return OrderLog("OrderLog", aws.dynamodb.client)


@pytest.fixture
def delivered(post: Post, log: OrderLog) -> OrderLog:
    """Place and deliver an order of two mugs and one packet of filters; return its log."""
    post(key="sample-order-1")
    advance_to(log, "delivered")
    return log


def advance_to(log: OrderLog, state: str) -> None:
    order = log.load(ORDER)
    for command in orders.STATES[state][1:]:
        order = log.record(order, command, source="tests").order


def requested_returns(log: OrderLog) -> list[Any]:
    return [event.data for event in log.history(ORDER) if event.type == "ReturnRequested"]


def test_return_is_requested_and_answered_with_its_lines(delivered: OrderLog, context: Any) -> None:
    answer = create(context)
    assert answer["statusCode"] == 201
    assert "location" not in answer["headers"]
    assert answer["body"].pop("requested_at").endswith("Z")
    return_id = pricing.return_id(ORDER, "return-1")
    assert answer["body"] == {"return_id": return_id, "state": "requested", "lines": [MUG], "reason": "too small"}
    assert requested_returns(delivered) == [
        events.ReturnRequested(events.CustomerId("ann"), return_id, (StockLine("MUG-BLUE", 1),), "too small")
    ]


def test_return_takes_one_read_and_one_write(delivered: OrderLog, aws: Aws, context: Any) -> None:
    aws.dynamodb.calls.clear()
    create(context)
    assert dict(aws.dynamodb.calls) == {"Query": 1, "PutItem": 1}


def test_repeated_return_request_gets_the_same_answer(delivered: OrderLog, context: Any) -> None:
    first = create(context)
    return_id = first["body"]["return_id"]
    answers = [create(context, json.dumps(dict(reversed(BODY.items())), indent=3))]
    for command in (orders.RecordReturn(return_id), orders.RecordRefund("ref_1", f"return:{return_id}")):
        delivered.record(delivered.load(ORDER), command, source="tests")
        answers.append(create(context))
    assert answers == [first] * 3
    assert len(requested_returns(delivered)) == 1


@pytest.mark.parametrize("reason", [" too small\n", "zu gro\u0308\u00df", "\u202etoo small", "too\x00small", "\u200b"])
def test_reason_stored_uncleaned_matches_the_repeated_request(delivered: OrderLog, context: Any, reason: str) -> None:
    return_id = pricing.return_id(ORDER, "return-1")
    # Versions up to 1.0 neither trimmed nor checked the reason.
    since = datetime.fromisoformat("2026-01-01T00:00:00Z")
    command = orders.RequestReturn(return_id, (StockLine("MUG-BLUE", 1),), reason, since)
    delivered.record(delivered.load(ORDER), command, source="orders")
    answers = [create(context, {"lines": [MUG], "reason": reason}) for _ in range(2)]
    assert [(answer["statusCode"], answer["body"]["return_id"]) for answer in answers] == [(201, return_id)] * 2
    assert create(context, {"lines": [MUG], "reason": "another"})["statusCode"] == 422
    assert create(context, {"lines": [MUG, MUG], "reason": reason})["statusCode"] == 422
    assert len(requested_returns(delivered)) == 1


@pytest.mark.parametrize("other", [BODY | {"lines": [MUG | {"quantity": 2}]}, BODY | {"reason": "too big"}, {"lines": [MUG]}])
def test_other_contents_under_the_same_key_are_refused(delivered: OrderLog, context: Any, other: Any) -> None:
    create(context)
    answer = create(context, other)
    assert (answer["statusCode"], answer["body"]["type"]) == (422, "urn:order-pipeline:problem:idempotency-key-reused")
    assert len(requested_returns(delivered)) == 1


def test_each_key_is_a_return_until_all_units_are_returned(delivered: OrderLog, context: Any) -> None:
    answers = [create(context, key=f"return-{number}") for number in range(3)]
    assert [answer["statusCode"] for answer in answers] == [201, 201, 409]
    assert answers[2]["body"]["type"] == "urn:order-pipeline:problem:not-returnable"
    assert answers[2]["body"]["detail"] == "only delivered lines that are not in another return can be returned"


def test_lines_of_one_product_are_merged(delivered: OrderLog, context: Any) -> None:
    assert create(context, {"lines": [MUG, MUG]})["body"]["lines"] == [MUG | {"quantity": 2}]


@pytest.mark.parametrize(
    "lines", [[MUG | {"quantity": 3}], [MUG, MUG, MUG], [{"sku": "TEAPOT", "quantity": 1}], [MUG, {"sku": "TEAPOT", "quantity": 1}]]
)
def test_unordered_lines_cannot_be_returned(delivered: OrderLog, context: Any, lines: Any) -> None:
    assert create(context, {"lines": lines})["statusCode"] == 409
    assert requested_returns(delivered) == []


@pytest.mark.parametrize(
    ("now", "since"),
    [
        ("2026-03-31T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("2026-03-31T23:59:59.999999Z", "2026-03-01T00:00:00Z"),
        ("2026-04-01T00:00:00Z", "2026-03-02T00:00:00Z"),
    ],
)
def test_return_window_ends_with_the_end_of_its_last_day(now: str, since: str) -> None:
    assert returns.delivered_since(datetime.fromisoformat(now), timedelta(days=30)) == datetime.fromisoformat(since)


@pytest.mark.parametrize("state", ["placed", "held", "confirmed", "partly dispatched", "dispatched", "cancelled", "rejected", "all lost"])
def test_undelivered_lines_cannot_be_returned(post: Post, log: OrderLog, context: Any, state: str) -> None:
    post(key="sample-order-1")
    advance_to(log, state)
    assert create(context)["statusCode"] == 409
    assert requested_returns(log) == []


def test_after_the_return_window_only_created_returns_arrive(delivered: OrderLog, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = create(context)
    monkeypatch.setattr(create_return, "WINDOW", timedelta(days=-1))
    late = create(context, key="return-2")
    assert (late["statusCode"], late["body"]["detail"]) == (409, "the time for returns is over")
    assert create(context) == first


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ("", 400, "malformed-json"),
        ("{", 400, "malformed-json"),
        ("null", 422, "invalid-request"),
        ({}, 422, "invalid-request"),
        ({"lines": []}, 422, "invalid-request"),
        ({"lines": [MUG] * 99}, 422, "invalid-request"),
        ({"lines": [MUG | {"quantity": 0}]}, 422, "invalid-request"),
        ({"lines": [MUG | {"quantity": 1.5}]}, 422, "invalid-request"),
        ({"lines": [MUG | {"sku": "a b"}]}, 422, "invalid-request"),
        ({"lines": [MUG], "reason": "x" * 501}, 422, "invalid-request"),
        ({"lines": [MUG], "amount": 5}, 422, "invalid-request"),
        ({"lines": [MUG | {"quantity": 999}] * 2}, 422, "quantity-too-large"),
        (" " * 65_537, 413, "body-too-large"),
    ],
)
def test_malformed_request_is_refused(delivered: OrderLog, context: Any, body: Any, status: int, kind: str) -> None:
    answer = create(context, body)
    assert (answer["statusCode"], answer["body"]["type"]) == (status, f"urn:order-pipeline:problem:{kind}")
    assert requested_returns(delivered) == []


@pytest.mark.parametrize(("key", "kind"), [(None, "missing"), (" ", "missing"), ("ä", "invalid"), ("k" * 256, "invalid")])
def test_return_without_idempotency_key_is_refused(delivered: OrderLog, context: Any, key: str | None, kind: str) -> None:
    answer = create(context, key=key)
    assert (answer["statusCode"], answer["body"]["type"]) == (400, f"urn:order-pipeline:problem:idempotency-key-{kind}")


def test_order_of_another_customer_cannot_be_returned(delivered: OrderLog, context: Any) -> None:
    others, unknown = create(context, customer="eve"), create(context, order=order_id("nothing"))
    assert others == unknown
    assert (unknown["statusCode"], requested_returns(delivered)) == (404, [])


def test_two_concurrent_requests_are_one_return(delivered: OrderLog, aws: Aws, context: Any) -> None:
    answers: list[Any] = []

    def concurrent_writer(operation: str, _: Any) -> None:
        if operation == "PutItem":
            aws.dynamodb.before = None
            answers.append(create(context))

    aws.dynamodb.before = concurrent_writer
    answers.append(create(context))
    assert answers[0] == answers[1]
    assert len(requested_returns(delivered)) == 1


def test_last_unit_is_returned_by_one_of_two_requests(delivered: OrderLog, aws: Aws, context: Any) -> None:
    body = {"lines": [{"sku": "FILTER-100", "quantity": 1}]}

    def concurrent_writer(operation: str, _: Any) -> None:
        if operation == "PutItem":
            aws.dynamodb.before = None
            assert create(context, body, key="return-2")["statusCode"] == 201

    aws.dynamodb.before = concurrent_writer
    assert create(context, body)["statusCode"] == 409
    assert len(requested_returns(delivered)) == 1


@pytest.mark.parametrize("fault", ["crash", "answer lost"])
def test_return_written_without_an_answer_is_found_on_retry(delivered: OrderLog, aws: Aws, context: Any, fault: str) -> None:
    def lose(operation: str, _: Any) -> None:
        if operation == "PutItem":
            raise answer_lost()

    aws.dynamodb.after = crash_at("PutItem") if fault == "crash" else lose
    if fault == "crash":
        with pytest.raises(Crash):
            create(context)
    else:
        assert create(context)["statusCode"] == 503
    aws.dynamodb.after = None
    assert create(context)["statusCode"] == 201
    assert len(requested_returns(delivered)) == 1


def test_order_shows_its_returns(delivered: OrderLog, context: Any) -> None:
    def displayed() -> Any:
        event = samples.sample("orders/get_order/order")
        return decoded(get_order.handler(event, context))["body"]

    answered = create(context)["body"]
    return_id = answered["return_id"]
    assert displayed()["returns"] == [answered]
    amount = {"amount": 1250, "currency": "EUR"}
    for command, became in (
        (orders.RecordReturn(return_id), {"state": "received", "amount": amount}),
        (orders.RecordRefund("ref_1", f"return:{return_id}"), {"state": "refunded", "amount": amount}),
    ):
        delivered.record(delivered.load(ORDER), command, source="tests")
        assert displayed()["returns"] == [answered | became]
    assert (displayed()["state"], displayed()["refunded"]) == ("partly_returned", amount)


def test_samples_have_their_answers(log: OrderLog, context: Any) -> None:
    """The samples run in the order of `make invoke`: a repeated request after the original."""
    events_ = {name: samples.sample(name) for name in samples.names("orders/create_return")}
    for order in {event["pathParameters"]["order_id"] for event in events_.values()}:
        prepare(log, order)
    for name, event in events_.items():
        assert samples.agrees(create_return.handler(event, context), samples.expected(name)), name


SPOILED = BODY | {"reason_code": "spoiled"}


@pytest.fixture
def spoiled(post: Post, log: OrderLog) -> OrderLog:
    """Place an order and deliver it after a mug of its first parcel spoiled in transit; return its log."""
    post(key="sample-order-1")
    advance_to(log, "spoiled delivered")
    return log


def test_spoiled_goods_are_returned_although_the_window_is_over(spoiled: OrderLog, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create_return, "WINDOW", timedelta(days=-2))
    assert create(context)["body"]["detail"] == "the time for returns is over"
    answer = create(context, SPOILED)
    assert (answer["statusCode"], answer["body"]["reason_code"]) == (201, "spoiled")
    assert create(context, SPOILED, key="return-2")["statusCode"] == 409


def test_order_shows_its_spoiled_lines(spoiled: OrderLog, context: Any) -> None:
    event = samples.sample("orders/get_order/order") | {"pathParameters": {"order_id": ORDER}}
    event["requestContext"]["authorizer"] |= {"customer_id": "ann"}
    parcels = decoded(get_order.handler(event, context))["body"]["parcels"]
    assert [parcel.get("spoiled") for parcel in parcels] == [[MUG], None]


@pytest.mark.parametrize("body", [SPOILED, BODY | {"reason_code": "stale"}])
def test_reason_code_needs_spoiled_goods_and_a_known_value(delivered: OrderLog, context: Any, body: Any) -> None:
    assert create(context, body)["statusCode"] in {409, 422, 400}
    assert requested_returns(delivered) == []
