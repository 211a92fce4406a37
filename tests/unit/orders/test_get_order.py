"""`GET /orders/{order_id}` and its timeline, for the owner only, and the OpenAPI document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from devtools.checks.openapi.command import DOCUMENT
from orderflow.aws.order_log import OrderLog
from orderflow.domain.commands import Command
from orders.handlers import get_openapi, get_order
from tests.support import orders, samples
from tests.unit.orders.conftest import Post, decoded, order_id

if TYPE_CHECKING:
    from tests.fakes.aws.environment import Aws

ORDER = order_id("sample-order-1")


def get(context: Any, *, events: bool = False, customer: str = "ann", order: str = ORDER) -> dict[str, Any]:
    event = samples.sample("orders/get_order/timeline" if events else "orders/get_order/order")
    event["pathParameters"]["order_id"] = order
    event["requestContext"]["authorizer"]["customer_id"] = customer
    return decoded(get_order.handler(event, context))


@pytest.fixture
def placed(post: Post, aws: Aws) -> Any:
    """Place the order of the samples and return a function that applies commands to it."""
    post(key="sample-order-1")
    log = OrderLog("OrderLog", aws.dynamodb.client)

    def apply(*commands: Command) -> None:
        order = log.load(ORDER)
        for command in commands:
            order = log.record(order, command, source="tests").order

    return apply


STATES = {
    "placed": ("placed", ()),
    "reserved": ("placed", ()),
    "held": ("held", ()),
    "review approved": ("placed", ()),
    "confirmed": ("confirmed", ()),
    "declined": ("placed", ()),
    "failed authorized": ("placed", ()),
    "rejected": ("rejected", ("fulfilment_failed", None)),
}


@pytest.mark.parametrize("state", STATES)
def test_owner_gets_the_state(placed: Any, context: Any, state: str) -> None:
    placed(*orders.STATES[state][1:])
    displayed, reason = STATES[state]
    answer = get(context)
    assert (answer["statusCode"], answer["body"]["state"]) == (200, displayed)
    assert answer["body"]["total"] == {"amount": 2990, "currency": "EUR"}
    assert (answer["body"].get("reason"), answer["body"].get("details")) == (reason or (None, None))


@pytest.mark.parametrize(
    ("commands", "reason", "details"),
    [
        ((orders.SHORTAGE,), "out_of_stock", ["MUG-BLUE"]),
        ((orders.RESERVE, orders.APPROVE, orders.DECLINE, orders.RELEASE), "payment_declined", ["card_declined"]),
        ((orders.RESERVE, orders.REFUSE, orders.RELEASE), "fraud_refused", []),
        ((orders.FAIL,), "fulfilment_failed", []),
        ((orders.RESERVE, orders.HOLD, orders.REJECT_REVIEW, orders.RELEASE), "review_rejected", []),
    ],
)
def test_order_and_timeline_show_the_details_that_help_the_customer(
    placed: Any, context: Any, commands: tuple[Command, ...], reason: str, details: list[str]
) -> None:
    placed(*commands, orders.REJECT)
    answer, last = get(context)["body"], get(context, events=True)["body"]["events"][-1]
    assert (answer["reason"], answer.get("details", [])) == (reason, details)
    assert (last["type"], last["data"]["reason"], last["data"]["details"]) == ("OrderRejected", reason, details)


def test_order_shows_the_accepted_contents(post: Post, context: Any) -> None:
    answered = post(key="sample-order-1")["body"]
    assert get(context)["body"] == answered


def test_timeline_has_every_event_and_its_cause(placed: Any, context: Any) -> None:
    placed(*orders.STATES["confirmed"][1:])
    body = get(context, events=True)["body"]
    assert body["order_id"] == ORDER
    assert [(entry["version"], entry["type"]) for entry in body["events"]] == [
        (1, "OrderPlaced"),
        (2, "StockReserved"),
        (3, "OrderScreened"),
        (4, "PaymentAuthorized"),
        (5, "OrderConfirmed"),
    ]
    assert [entry["causation_id"] for entry in body["events"]] == [None, *(f"{ORDER}:{version}" for version in range(1, 5))]


def test_timeline_hides_fraud_reasons_and_reviewers(placed: Any, context: Any) -> None:
    placed(*orders.STATES["review approved"][1:])
    text = json.dumps(get(context, events=True))
    assert not any(word in text for word in ("score", "reasons", "amount_large", "rex", "known customer", "tok_"))


PARCELS = [
    {"parcel_id": "parcel_1", "lines": [{"sku": "MUG-BLUE", "quantity": 1}], "state": "dispatched"},
    {
        "parcel_id": "parcel_2",
        "lines": [{"sku": "MUG-BLUE", "quantity": 1}, {"sku": "FILTER-100", "quantity": 1}],
        "state": "dispatched",
    },
]


def eur(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "EUR"}


@pytest.mark.parametrize(
    ("state", "displayed"),
    [
        ("confirmed", {"state": "confirmed"}),
        ("cancelling authorized", {"state": "cancelling"}),
        ("cancelled", {"state": "cancelled"}),
        ("partly dispatched", {"state": "partly_dispatched", "parcels": PARCELS[:1]}),
        (
            "rest cancelled",
            {"state": "dispatched", "parcels": PARCELS[:1], "cancelled": PARCELS[1]["lines"], "captured": eur(1250)},
        ),
        ("paid", {"state": "dispatched", "parcels": PARCELS, "captured": eur(2990)}),
        ("lost refunded", {"state": "delivered", "captured": eur(2990), "refunded": eur(1250)}),
    ],
)
def test_answer_has_parcels_and_amounts_once_they_exist(placed: Any, context: Any, state: str, displayed: Any) -> None:
    placed(*orders.STATES[state][1:])
    body = get(context)["body"]
    if "parcels" in body and "parcels" not in displayed:
        assert [(parcel["state"], "delivered_at" in parcel) for parcel in body.pop("parcels")] == [("lost", False), ("delivered", True)]
    assert {name: body[name] for name in body if name not in {"order_id", "lines", "total", "placed_at"}} == displayed


def test_timeline_hides_failures_and_document_keys(placed: Any, context: Any) -> None:
    placed(*orders.STATES["cancellation failed"][1:], orders.INVOICE)
    entries = {entry["type"]: entry["data"] for entry in get(context, events=True)["body"]["events"]}
    assert entries["CancellationFailed"] == {}
    assert set(entries["InvoiceIssued"]) == {"number", "total"}


def test_answer_has_the_ids_of_carrier_and_provider(placed: Any, context: Any) -> None:
    placed(*orders.STATES["return refunded"][1:])
    text = json.dumps(get(context, events=True))
    assert all(displayed in text for displayed in (orders.AUTHORIZATION, "cap_1", "ref_1", "parcel_1", "ship_1"))


def test_timeline_hides_the_failed_step(placed: Any, context: Any) -> None:
    placed(*orders.STATES["failed unreserved"][1:])
    (entry,) = [entry for entry in get(context, events=True)["body"]["events"] if entry["type"] == "FulfilmentFailed"]
    assert entry["data"] == {}


@pytest.mark.parametrize(("state", "event"), [("refund failed", "PaymentRefundFailed"), ("refund reversed", "PaymentRefundReversed")])
def test_timeline_hides_why_a_refund_failed(placed: Any, context: Any, state: str, event: str) -> None:
    """Stripe's reason can be `lost_or_stolen_card`."""
    placed(*orders.STATES[state][1:])
    (entry,) = [entry for entry in get(context, events=True)["body"]["events"] if entry["type"] == event]
    assert set(entry["data"]) == {"refund_id", "cause", "amount"}


@pytest.mark.parametrize("events", [True, False])
def test_order_of_another_customer_answers_like_an_unknown_one(placed: Any, context: Any, events: bool) -> None:
    others, unknown = get(context, customer="eve", events=events), get(context, order=order_id("nothing"), events=events)
    assert others == unknown
    assert (unknown["statusCode"], unknown["body"]["type"]) == (404, "urn:order-pipeline:problem:order-not-found")


@pytest.mark.parametrize("order", ["x", "ord_", "ord_" + "a" * 3000, "../orders", "%00", "ORD_IBAZLC3EQVBFDEOIWT32N4TOFU", " "])
def test_malformed_order_id_is_not_found_without_a_read(aws: Aws, context: Any, order: str) -> None:
    """DynamoDB rejects keys of more than 2048 bytes, so the id is checked first."""
    assert get(context, order=order)["statusCode"] == 404
    assert not aws.dynamodb.calls


@pytest.mark.parametrize("name", samples.names("orders/get_order"))
def test_samples_have_their_answers(name: str, placed: Any, context: Any) -> None:
    assert samples.agrees(get_order.handler(samples.sample(name), context), samples.expected(name))


def openapi(context: Any, **headers: str) -> Any:
    """Return the answer to a request for the OpenAPI document with these headers."""
    event: Any = samples.sample("orders/get_openapi/document")
    event["headers"] |= {name.replace("_", "-"): value for name, value in headers.items()}
    return get_openapi.handler(event, context)


@pytest.mark.parametrize("name", samples.names("orders/get_openapi"))
def test_openapi_samples_have_their_answers(name: str, context: Any) -> None:
    assert samples.agrees(get_openapi.handler(samples.sample(name), context), samples.expected(name))


@pytest.mark.parametrize("known", ["{tag}", "{strong}", '"other", {tag}', "*"])
def test_client_with_the_current_openapi_gets_304(context: Any, known: str) -> None:
    headers = openapi(context)["headers"]
    tag = headers["etag"]
    answer = openapi(context, If_None_Match=known.format(tag=tag, strong=tag.removeprefix("W/")))
    assert (answer["statusCode"], answer["body"]) == (304, "")
    assert {answer["headers"][name] == headers[name] for name in ("etag", "cache-control")} == {True}


def test_client_with_another_openapi_gets_the_current_one(context: Any) -> None:
    assert openapi(context, If_None_Match='"other"')["statusCode"] == 200


def test_openapi_answers_the_committed_document(context: Any) -> None:
    answer = get_openapi.handler(samples.sample("orders/get_openapi/document"), context)
    assert set(json.loads(answer["body"])["paths"]) == set(json.loads(DOCUMENT.read_text("utf-8"))["paths"])
