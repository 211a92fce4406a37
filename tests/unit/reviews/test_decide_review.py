"""The reviewers' decision on a held order: authorization, responses, and that the first decision counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from orderflow.aws.http import MAX_BODY_BYTES
from orderflow.domain.commands import RejectReview, RequestCancellation
from orderflow.domain.events import OrderReviewApproved, OrderReviewRejected
from orderflow.domain.order import marker
from reviews.domain import decisions
from reviews.handlers import decide_review
from tests.fakes.aws.dynamodb import Crash, crash_at
from tests.support import orders, samples
from tests.support.prepared import advance, place

ORDER_ID = f"ord_{1:026}"
type Post = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def post(aws: Any, context: Any) -> Post:
    def send(body: Any = "approve", *, reviewer: str = "rex", groups: str = "reviewers,staff", order_id: str = ORDER_ID) -> tuple[int, Any]:
        request = samples.sample("reviews/decide_review/approve")
        request["pathParameters"]["order_id"] = order_id
        request["requestContext"]["authorizer"] |= {"customer_id": reviewer, "groups": groups}
        request["body"] = body if body.startswith("{") or not body.isalpha() else json.dumps({"decision": body})
        answer = decide_review.handler(request, context)
        return answer["statusCode"], json.loads(answer["body"])

    return send


def hold(customer: str = "ann") -> None:
    place(decide_review.LOG, ORDER_ID, customer=customer, lines={"ESPRESSO-PRO": 1})
    assert advance(decide_review.LOG, ORDER_ID, "inventory.handlers.reserve_stock", "fraud.handlers.screen_order").state == "held"


def record(command: Any) -> None:
    decide_review.LOG.record(decide_review.LOG.load(ORDER_ID), command, source="tests")


def code(document: dict[str, Any]) -> str:
    return document["type"].rpartition(":")[2]


def test_approval_event_names_reviewer_and_note(post: Post) -> None:
    hold()

    status, answer = post('{"decision": "approve", "note": "known customer"}')

    last = decide_review.LOG.history(ORDER_ID)[-1]
    assert last.data == OrderReviewApproved("rex", "known customer")
    assert last.source == "reviews"
    assert (status, answer) == (
        200,
        {
            "order_id": ORDER_ID,
            "decision": "approve",
            "reviewer": "rex",
            "note": "known customer",
            "decided_at": last.occurred_at.isoformat().replace("+00:00", "Z"),
        },
    )
    assert marker(decide_review.LOG.load(ORDER_ID)) == "open"


def test_rejection_starts_the_compensation(post: Post) -> None:
    hold()

    assert post("reject")[0] == 200

    assert decide_review.LOG.history(ORDER_ID)[-1].data == OrderReviewRejected("rex", "", timed_out=False)
    assert decide_review.LOG.load(ORDER_ID).state == "failing"


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_same_decision_gets_the_same_answer_from_any_reviewer(post: Post, decision: str) -> None:
    hold()

    first = post(decision)

    assert post(decision, reviewer="sue") == first
    assert post(decision) == first
    assert decide_review.LOG.load(ORDER_ID).version == 4


@pytest.mark.parametrize(("first", "second"), [("approve", "reject"), ("reject", "approve")])
def test_contrary_decision_is_refused_with_the_first_one(post: Post, first: str, second: str) -> None:
    hold()
    _, decided_before = post(first)

    status, problem = post(second, reviewer="sue")

    assert (status, code(problem)) == (409, "already-decided")
    assert (problem["decision"], problem["decided_at"], problem["timed_out"]) == (first, decided_before["decided_at"], False)
    assert decide_review.LOG.load(ORDER_ID).version == 4


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_decision_after_the_timeout_is_refused(post: Post, decision: str) -> None:
    hold()
    record(RejectReview("", timed_out=True))

    status, problem = post(decision)

    assert (status, code(problem), problem["timed_out"]) == (409, "already-decided", True)


def test_decision_on_a_cancelled_order_is_refused(post: Post) -> None:
    hold()
    record(RequestCancellation("customer"))

    status, problem = post("approve")

    assert (status, code(problem), problem["state"]) == (409, "not-held", "cancelling")


def test_decision_on_an_order_never_held_is_refused(post: Post) -> None:
    place(decide_review.LOG, ORDER_ID)

    assert (post("approve")[0], code(post("approve")[1])) == (409, "not-held")


def test_repeated_decision_after_cancellation_gets_the_same_answer(post: Post) -> None:
    hold()
    first = post("approve")
    record(RequestCancellation("customer"))

    assert post("approve") == first


def test_unknown_order_is_not_found(post: Post) -> None:
    status, problem = post("approve", order_id=f"ord_{2:026}")

    assert (status, code(problem)) == (404, "order-not-found")


@pytest.mark.parametrize("groups", ["", "staff", "Reviewers", "reviewers2"])
def test_non_reviewers_cannot_see_whether_an_order_exists(post: Post, groups: str) -> None:
    hold()

    refused, unknown = post("approve", groups=groups), post("approve", groups=groups, order_id=f"ord_{2:026}")

    assert (refused[0], code(refused[1])) == (403, "forbidden")
    assert refused == unknown
    assert decide_review.LOG.load(ORDER_ID).state == "held"


def test_reviewers_cannot_decide_on_their_own_orders(post: Post) -> None:
    hold(customer="rex")

    assert (post("approve")[0], code(post("approve")[1])) == (403, "own-order")
    assert decide_review.LOG.load(ORDER_ID).state == "held"
    assert post("approve", reviewer="sue")[0] == 200


WRONG = {
    "another decision": ('{"decision": "maybe"}', 422, "invalid-request"),
    "no decision": ('{"note": "x"}', 422, "invalid-request"),
    "an unknown field": ('{"decision": "approve", "amount": 1}', 422, "invalid-request"),
    "a long note": (json.dumps({"decision": "approve", "note": "x" * 1001}), 422, "invalid-request"),
    "no JSON": ("{", 400, "malformed-json"),
    "more than 64 KB": ('{"decision": "approve"}' + " " * MAX_BODY_BYTES, 413, "body-too-large"),
}


@pytest.mark.parametrize("name", WRONG)
def test_malformed_decision_is_refused(post: Post, name: str) -> None:
    hold()
    body, status, problem = WRONG[name]

    answer = post(body)

    assert (answer[0], code(answer[1])) == (status, problem)
    assert decide_review.LOG.load(ORDER_ID).state == "held"


def test_repeated_decision_after_a_crash_is_answered(post: Post, aws: Any) -> None:
    hold()
    aws.dynamodb.after = crash_at("TransactWriteItems")
    with pytest.raises(Crash):
        post("approve")
    aws.dynamodb.after = None

    assert post("approve")[0] == 200
    assert decide_review.LOG.load(ORDER_ID).version == 4


@pytest.mark.parametrize("state", orders.STATES)
def test_only_reviewed_orders_have_a_decision(state: str) -> None:
    history = orders.history(*orders.STATES[state])
    decided = {event.type for event in history} & {"OrderReviewApproved", "OrderReviewRejected"}

    assert (decisions.find_decision(history) is not None) is bool(decided)
