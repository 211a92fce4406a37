"""Reviewers decide on held orders through the API; the review workflow waits, reminds and times out."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from devtools.local import issuer
from devtools.web import Answer
from tests.integration.world import World, eventually, order_types

PRICE = 120_000
HELD = ["OrderPlaced", "StockReserved", "OrderHeldForReview"]


class Held(NamedTuple):
    """A held order of two units of a product with a stock of 10."""

    customer: str
    sku: str
    order_id: str


@pytest.fixture
def held(world: World) -> Held:
    customer, sku = world.customer("held"), world.product(10, price=PRICE // 2)
    order_id = world.buy(customer, sku, 2)
    assert world.outcome(customer, order_id) == "held"
    eventually(lambda: _token(world, order_id), within=world.patience, what=f"a workflow waits for {order_id}")
    return Held(customer, sku, order_id)


def _row(world: World, order_id: str) -> dict[str, Any]:
    key = {"order_id": {"S": order_id}}
    return world.dynamodb.get_item(TableName=world.table("Reviews"), Key=key, ConsistentRead=True).get("Item", {})


def _token(world: World, order_id: str) -> str:
    return _row(world, order_id).get("token", {}).get("S", "")


def _ask(world: World, method: str, path: str, who: str, body: bytes | None = None, groups: tuple[str, ...] = ("reviewers",)) -> Answer:
    return world.shop.call(method, path, None, body=body, Authorization=f"Bearer {issuer.token(world.target, who, groups)}")


def _decide(world: World, order_id: str, decision: str, who: str = "rex", **more: str) -> Answer:
    body = json.dumps({"decision": decision, **more}).encode()
    return _ask(world, "POST", f"/reviews/{order_id}/decision", who, body)


def _listed(world: World) -> list[str]:
    """The order ids of all open reviews, read in pages of two."""
    found: list[str] = []
    path = "/reviews?limit=2"
    while True:
        page = _ask(world, "GET", path, "rex").json()
        found += [review["order_id"] for review in page["reviews"]]
        if "next" not in page:
            return found
        path = f"/reviews?limit=2&cursor={page['next']}"


def _status(world: World, execution: str) -> str:
    return world.target.client("stepfunctions").describe_execution(executionArn=execution)["status"]


def _execution(world: World, order_id: str) -> str:
    return _row(world, order_id)["execution"]["S"]


def _succeeded(world: World, execution: str) -> None:
    """Wait until the workflow has succeeded."""
    seen = eventually(
        lambda: _status(world, execution), lambda status: status != "RUNNING", within=world.patience, what="the workflow ends"
    )
    assert seen == "SUCCEEDED"


def _problem(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json().get("type", "").rpartition(":")[2]


def test_approved_order_is_confirmed(world: World, held: Held):
    assert held.order_id in _listed(world)

    answer = _decide(world, held.order_id, "approve", note="known customer")

    assert answer.status == 200
    assert answer.json() | {"decided_at": ""} == {
        "order_id": held.order_id,
        "decision": "approve",
        "reviewer": "rex",
        "note": "known customer",
        "decided_at": "",
    }
    _succeeded(world, _execution(world, held.order_id))
    assert world.outcome(held.customer, held.order_id) == "confirmed"
    assert world.stock(held.sku) == (8, 2)
    assert [charge.amount.amount for charge in world.charges(held.order_id)] == [PRICE]
    eventually(lambda: held.order_id not in _listed(world), within=world.patience, what="the order is off the list")


def test_rejected_review_releases_stock_without_a_charge(world: World, held: Held):
    assert _decide(world, held.order_id, "reject").status == 200

    history = world.ended(held.customer, held.order_id)

    assert order_types(history) == [*HELD, "OrderReviewRejected", "StockReleased", "OrderRejected"]
    assert world.outcome(held.customer, held.order_id) == "rejected: review_rejected"
    assert world.stock(held.sku) == (10, 0)
    assert world.charges(held.order_id) == []
    _succeeded(world, _execution(world, held.order_id))


def test_first_decision_is_final(world: World, held: Held):
    first = _decide(world, held.order_id, "approve", note="known customer")
    same = _decide(world, held.order_id, "approve", who="sue", note="seen")
    other = _decide(world, held.order_id, "reject", who="sue")

    assert (same.status, same.body) == (200, first.body)
    assert _problem(other) == (409, "already-decided")
    assert (other.json()["decision"], other.json()["timed_out"]) == ("approve", False)
    assert world.outcome(held.customer, held.order_id) == "confirmed"
    assert [event.type for event in world.log(held.order_id)].count("OrderReviewApproved") == 1


def test_only_reviewers_decide_and_never_on_own_orders(world: World, held: Held):
    body = b'{"decision": "approve"}'
    path = f"/reviews/{held.order_id}/decision"

    assert _problem(_ask(world, "GET", "/reviews", "eve", groups=())) == (403, "forbidden")
    assert _problem(_ask(world, "POST", path, "eve", body, groups=())) == (403, "forbidden")
    assert _problem(_decide(world, held.order_id, "approve", held.customer)) == (403, "own-order")
    assert _problem(_decide(world, "ord_" + "a" * 26, "approve")) == (404, "order-not-found")
    assert [event.type for event in world.log(held.order_id)] == HELD


def test_review_list_holds_no_task_token(world: World, held: Held):
    answer = _ask(world, "GET", "/reviews?limit=50", "rex")

    assert _token(world, held.order_id) not in answer.body.decode()


def test_second_execution_ends_and_the_first_keeps_waiting(world: World, held: Held):
    first, token = _execution(world, held.order_id), _token(world, held.order_id)

    _succeeded(world, _start(world, world.target.resources["Review"], held.order_id))

    assert (_execution(world, held.order_id), _token(world, held.order_id)) == (first, token)
    assert _status(world, first) == "RUNNING"


def _start(world: World, machine: str, order_id: str) -> str:
    ids = {"order_id": order_id, "correlation_id": "test", "event_id": f"{order_id}:3"}
    return world.target.client("stepfunctions").start_execution(stateMachineArn=machine, input=json.dumps(ids))["executionArn"]


def test_undecided_review_times_out(world: World, held: Held):
    """Run the deployed definition with short timeouts on an order whose own execution is stopped."""
    states = world.target.client("stepfunctions")
    deployed = states.describe_state_machine(stateMachineArn=world.target.resources["Review"])
    shortened = json.loads(deployed["definition"])
    shortened["States"]["Wait"] = _shortened(shortened["States"]["Wait"])
    states.stop_execution(executionArn=_execution(world, held.order_id))
    name = f"review-{held.order_id[4:16]}"
    machine = states.create_state_machine(name=name, definition=json.dumps(shortened), roleArn=deployed["roleArn"], type="STANDARD")

    execution = _start(world, machine["stateMachineArn"], held.order_id)

    _succeeded(world, execution)
    assert world.outcome(held.customer, held.order_id) == "rejected: review_timed_out"
    entered = [event["stateEnteredEventDetails"]["name"] for event in _history(world, execution) if "stateEnteredEventDetails" in event]
    assert [state for state in entered if state in {"Tell", "Wait", "Remind", "Expire"}] == [
        "Tell",
        "Wait",
        "Remind",
        "Tell",
        "Wait",
        "Expire",
    ]
    states.delete_state_machine(stateMachineArn=machine["stateMachineArn"])


def _shortened(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != "TimeoutSecondsPath"} | {"TimeoutSeconds": 2}


def _history(world: World, execution: str) -> list[dict[str, Any]]:
    return world.target.client("stepfunctions").get_execution_history(executionArn=execution, maxResults=1000)["events"]


def test_decision_after_the_timeout_is_refused(world: World, held: Held):
    answer = world.invoke("ReviewsExpire", {"order_id": held.order_id, "correlation_id": "test"})
    late = _decide(world, held.order_id, "approve")

    assert answer == {"outcome": "timed_out"}
    assert _problem(late) == (409, "already-decided")
    assert late.json()["timed_out"] is True
    assert world.outcome(held.customer, held.order_id) == "rejected: review_timed_out"
    assert world.stock(held.sku) == (10, 0)
    _succeeded(world, _execution(world, held.order_id))


def test_cancelled_order_leaves_the_review_list(world: World, held: Held):
    answer = world.shop.call("POST", f"/orders/{held.order_id}/cancellation", held.customer, body=b"{}")

    assert answer.status == 202
    _succeeded(world, _execution(world, held.order_id))
    eventually(lambda: held.order_id not in _listed(world), within=world.patience, what="the order is off the list")
    eventually(lambda: world.stock(held.sku), lambda stock: stock == (10, 0), within=world.patience, what="the stock is released")
    assert _problem(_decide(world, held.order_id, "approve")) == (409, "not-held")
