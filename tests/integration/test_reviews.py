"""Held orders and the people who decide on them: through the API, the workflow that waits, and the end of the time."""

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
    """An order that waits for a person: two of a product of which there were 10."""

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
    """The open reviews, through pages of two."""
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


def _over(world: World, execution: str) -> None:
    """Wait until the workflow has ended, and see that it ended well."""
    seen = eventually(lambda: _status(world, execution), lambda status: status != "RUNNING", within=world.patience, what="the wait ends")
    assert seen == "SUCCEEDED"


def _problem(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json().get("type", "").rpartition(":")[2]


def test_an_approved_order_is_confirmed_and_the_wait_is_over(world: World, held: Held):
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
    _over(world, _execution(world, held.order_id))
    assert world.outcome(held.customer, held.order_id) == "confirmed"
    assert world.stock(held.sku) == (8, 2)
    assert [charge.amount.amount for charge in world.charges(held.order_id)] == [PRICE]
    eventually(lambda: held.order_id not in _listed(world), within=world.patience, what="the order is off the list")


def test_a_rejected_order_gives_everything_back_and_is_never_charged(world: World, held: Held):
    assert _decide(world, held.order_id, "reject").status == 200

    history = world.ended(held.customer, held.order_id)

    assert order_types(history) == [*HELD, "OrderReviewRejected", "StockReleased", "OrderRejected"]
    assert world.outcome(held.customer, held.order_id) == "rejected: review_rejected"
    assert world.stock(held.sku) == (10, 0)
    assert world.charges(held.order_id) == []
    _over(world, _execution(world, held.order_id))


def test_a_decision_stands(world: World, held: Held):
    first = _decide(world, held.order_id, "approve", note="known customer")
    same = _decide(world, held.order_id, "approve", who="sue", note="seen")
    other = _decide(world, held.order_id, "reject", who="sue")

    assert (same.status, same.body) == (200, first.body)
    assert _problem(other) == (409, "already-decided")
    assert (other.json()["decision"], other.json()["timed_out"]) == ("approve", False)
    assert world.outcome(held.customer, held.order_id) == "confirmed"
    assert [event.type for event in world.log(held.order_id)].count("OrderReviewApproved") == 1


def test_only_reviewers_decide_and_not_on_their_own_orders(world: World, held: Held):
    body = b'{"decision": "approve"}'
    path = f"/reviews/{held.order_id}/decision"

    assert _problem(_ask(world, "GET", "/reviews", "eve", groups=())) == (403, "forbidden")
    assert _problem(_ask(world, "POST", path, "eve", body, groups=())) == (403, "forbidden")
    assert _problem(_decide(world, held.order_id, "approve", held.customer)) == (403, "own-order")
    assert _problem(_decide(world, "ord_" + "a" * 26, "approve")) == (404, "order-not-found")
    assert [event.type for event in world.log(held.order_id)] == HELD


def test_nothing_of_the_list_says_under_which_token_a_workflow_waits(world: World, held: Held):
    answer = _ask(world, "GET", "/reviews?limit=50", "rex")

    assert _token(world, held.order_id) not in answer.body.decode()


def test_a_second_execution_ends_and_the_first_goes_on_waiting(world: World, held: Held):
    first, token = _execution(world, held.order_id), _token(world, held.order_id)

    _over(world, _start(world, world.target.resources["Review"], held.order_id))

    assert (_execution(world, held.order_id), _token(world, held.order_id)) == (first, token)
    assert _status(world, first) == "RUNNING"


def _start(world: World, machine: str, order_id: str) -> str:
    ids = {"order_id": order_id, "correlation_id": "test", "event_id": f"{order_id}:3"}
    return world.target.client("stepfunctions").start_execution(stateMachineArn=machine, input=json.dumps(ids))["executionArn"]


def test_nobody_decides_until_a_short_time_is_over(world: World, held: Held):
    """The deployed workflow with short times and as it is otherwise, on an order whose own execution was stopped."""
    states = world.target.client("stepfunctions")
    deployed = states.describe_state_machine(stateMachineArn=world.target.resources["Review"])
    hurried = json.loads(deployed["definition"])
    hurried["States"]["Wait"] = _hurried(hurried["States"]["Wait"])
    states.stop_execution(executionArn=_execution(world, held.order_id))
    name = f"review-{held.order_id[4:16]}"
    machine = states.create_state_machine(name=name, definition=json.dumps(hurried), roleArn=deployed["roleArn"], type="STANDARD")

    execution = _start(world, machine["stateMachineArn"], held.order_id)

    _over(world, execution)
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


def _hurried(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != "TimeoutSecondsPath"} | {"TimeoutSeconds": 2}


def _history(world: World, execution: str) -> list[dict[str, Any]]:
    return world.target.client("stepfunctions").get_execution_history(executionArn=execution, maxResults=1000)["events"]


def test_a_decision_after_the_time_is_over_comes_too_late(world: World, held: Held):
    answer = world.invoke("ReviewsExpire", {"order_id": held.order_id, "correlation_id": "test"})
    late = _decide(world, held.order_id, "approve")

    assert answer == {"outcome": "timed_out"}
    assert _problem(late) == (409, "already-decided")
    assert late.json()["timed_out"] is True
    assert world.outcome(held.customer, held.order_id) == "rejected: review_timed_out"
    assert world.stock(held.sku) == (10, 0)
    _over(world, _execution(world, held.order_id))


def test_a_cancelled_order_leaves_the_list(world: World, held: Held):
    answer = world.shop.call("POST", f"/orders/{held.order_id}/cancellation", held.customer, body=b"{}")

    assert answer.status == 202
    _over(world, _execution(world, held.order_id))
    eventually(lambda: held.order_id not in _listed(world), within=world.patience, what="the order is off the list")
    eventually(lambda: world.stock(held.sku), lambda stock: stock == (10, 0), within=world.patience, what="the stock is given back")
    assert _problem(_decide(world, held.order_id, "approve")) == (409, "not-held")
