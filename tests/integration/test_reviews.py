"""Reviewers decide on held orders through the API; the review workflow waits, reminds and times out."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from devtools.web import Answer
from tests.integration.deployed_stack import DeployedStack, eventually, order_types

PRICE = 120_000
HELD = ["OrderPlaced", "StockReserved", "OrderHeldForReview"]


class Held(NamedTuple):
    """A held order of two units of a product with a stock of 10."""

    customer: str
    sku: str
    order_id: str


@pytest.fixture
def held(stack: DeployedStack) -> Held:
    customer, sku = stack.customer("held"), stack.product(10, price=PRICE // 2)
    order_id = stack.buy(customer, sku, 2)
    assert stack.outcome(customer, order_id) == "held"
    eventually(lambda: _token(stack, order_id), within=stack.patience, what=f"a workflow waits for {order_id}")
    return Held(customer, sku, order_id)


def _row(stack: DeployedStack, order_id: str) -> dict[str, Any]:
    key = {"order_id": {"S": order_id}}
    return stack.dynamodb.get_item(TableName=stack.table("Reviews"), Key=key, ConsistentRead=True).get("Item", {})


def _token(stack: DeployedStack, order_id: str) -> str:
    return _row(stack, order_id).get("token", {}).get("S", "")


def _call(
    stack: DeployedStack, method: str, path: str, caller: str, body: bytes | None = None, groups: tuple[str, ...] = ("reviewers",)
) -> Answer:
    return stack.shop.call(method, path, None, body=body, Authorization=f"Bearer {stack.sign_in(caller, *groups).token}")


def _decide(stack: DeployedStack, order_id: str, decision: str, caller: str = "rex", **more: str) -> Answer:
    body = json.dumps({"decision": decision, **more}).encode()
    return _call(stack, "POST", f"/reviews/{order_id}/decision", caller, body)


def _listed(stack: DeployedStack) -> list[str]:
    """The order ids of all open reviews, read in pages of two."""
    found: list[str] = []
    path = "/reviews?limit=2"
    while True:
        page = _call(stack, "GET", path, "rex").json()
        found += [review["order_id"] for review in page["reviews"]]
        if "next" not in page:
            return found
        path = f"/reviews?limit=2&cursor={page['next']}"


def _status(stack: DeployedStack, execution: str) -> str:
    return stack.target.client("stepfunctions").describe_execution(executionArn=execution)["status"]


def _execution(stack: DeployedStack, order_id: str) -> str:
    return _row(stack, order_id)["execution"]["S"]


def _succeeded(stack: DeployedStack, execution: str) -> None:
    """Wait until the workflow has succeeded."""
    seen = eventually(
        lambda: _status(stack, execution), lambda status: status != "RUNNING", within=stack.patience, what="the workflow ends"
    )
    assert seen == "SUCCEEDED"


def _problem(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json().get("type", "").rpartition(":")[2]


def test_approved_order_is_confirmed(stack: DeployedStack, held: Held):
    assert held.order_id in _listed(stack)

    answer = _decide(stack, held.order_id, "approve", note="known customer")

    assert answer.status == 200
    assert answer.json() | {"decided_at": ""} == {
        "order_id": held.order_id,
        "decision": "approve",
        "reviewer": stack.sign_in("rex").customer,
        "note": "known customer",
        "decided_at": "",
    }
    _succeeded(stack, _execution(stack, held.order_id))
    assert stack.outcome(held.customer, held.order_id) == "confirmed"
    assert stack.stock(held.sku) == (8, 2)
    assert [charge.amount.amount for charge in stack.charges(held.order_id)] == [PRICE]
    eventually(lambda: held.order_id not in _listed(stack), within=stack.patience, what="the order leaves the list")


def test_rejected_review_releases_stock_without_a_charge(stack: DeployedStack, held: Held):
    assert _decide(stack, held.order_id, "reject").status == 200

    history = stack.ended(held.customer, held.order_id)

    assert order_types(history) == [*HELD, "OrderReviewRejected", "StockReleased", "OrderRejected"]
    assert stack.outcome(held.customer, held.order_id) == "rejected: review_rejected"
    assert stack.stock(held.sku) == (10, 0)
    assert stack.charges(held.order_id) == []
    _succeeded(stack, _execution(stack, held.order_id))


def test_first_decision_is_final(stack: DeployedStack, held: Held):
    first = _decide(stack, held.order_id, "approve", note="known customer")
    same = _decide(stack, held.order_id, "approve", caller="sue", note="seen")
    other = _decide(stack, held.order_id, "reject", caller="sue")

    assert (same.status, same.body) == (200, first.body)
    assert _problem(other) == (409, "already-decided")
    assert (other.json()["decision"], other.json()["timed_out"]) == ("approve", False)
    assert stack.outcome(held.customer, held.order_id) == "confirmed"
    assert [event.type for event in stack.log(held.order_id)].count("OrderReviewApproved") == 1


def test_only_reviewers_decide_and_never_on_own_orders(stack: DeployedStack, held: Held):
    body = b'{"decision": "approve"}'
    path = f"/reviews/{held.order_id}/decision"

    assert _problem(_call(stack, "GET", "/reviews", "eve", groups=())) == (403, "forbidden")
    assert _problem(_call(stack, "POST", path, "eve", body, groups=())) == (403, "forbidden")
    assert _problem(_decide(stack, held.order_id, "approve", held.customer)) == (403, "own-order")
    assert _problem(_decide(stack, "ord_" + "a" * 26, "approve")) == (404, "order-not-found")
    assert [event.type for event in stack.log(held.order_id)] == HELD


def test_review_list_holds_no_task_token(stack: DeployedStack, held: Held):
    answer = _call(stack, "GET", "/reviews?limit=50", "rex")

    assert _token(stack, held.order_id) not in answer.body.decode()


def test_second_execution_ends_and_the_first_continues(stack: DeployedStack, held: Held):
    first, token = _execution(stack, held.order_id), _token(stack, held.order_id)

    _succeeded(stack, _start(stack, stack.target.resources["Review"], held.order_id))

    assert (_execution(stack, held.order_id), _token(stack, held.order_id)) == (first, token)
    assert _status(stack, first) == "RUNNING"


def _start(stack: DeployedStack, machine: str, order_id: str) -> str:
    ids = {"order_id": order_id, "correlation_id": "test", "event_id": f"{order_id}:3"}
    return stack.target.client("stepfunctions").start_execution(stateMachineArn=machine, input=json.dumps(ids))["executionArn"]


def test_undecided_review_times_out(stack: DeployedStack, held: Held):
    """Run the deployed definition with short timeouts on an order whose own execution has ended."""
    states = stack.target.client("stepfunctions")
    deployed = states.describe_state_machine(stateMachineArn=stack.target.resources["Review"])
    shortened = json.loads(deployed["definition"])
    shortened["States"]["Wait"] = _shortened(shortened["States"]["Wait"])
    first = _execution(stack, held.order_id)
    states.send_task_success(taskToken=_token(stack, held.order_id), output="{}")
    _succeeded(stack, first)
    name = f"review-{held.order_id[4:16]}"
    machine = states.create_state_machine(name=name, definition=json.dumps(shortened), roleArn=deployed["roleArn"], type="STANDARD")

    execution = _start(stack, machine["stateMachineArn"], held.order_id)

    _succeeded(stack, execution)
    assert stack.outcome(held.customer, held.order_id) == "rejected: review_timed_out"
    entered = [event["stateEnteredEventDetails"]["name"] for event in _history(stack, execution) if "stateEnteredEventDetails" in event]
    assert [state for state in entered if state in {"NotifyReviewers", "Wait", "Remind", "Expire"}] == [
        "NotifyReviewers",
        "Wait",
        "Remind",
        "NotifyReviewers",
        "Wait",
        "Expire",
    ]
    states.delete_state_machine(stateMachineArn=machine["stateMachineArn"])


def _shortened(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != "TimeoutSecondsPath"} | {"TimeoutSeconds": 2}


def _history(stack: DeployedStack, execution: str) -> list[dict[str, Any]]:
    return stack.target.client("stepfunctions").get_execution_history(executionArn=execution, maxResults=1000)["events"]


def test_decision_after_the_timeout_is_refused(stack: DeployedStack, held: Held):
    answer = stack.invoke("ReviewsExpire", {"order_id": held.order_id, "correlation_id": "test"})
    late = _decide(stack, held.order_id, "approve")

    assert answer == {"outcome": "timed_out"}
    assert _problem(late) == (409, "already-decided")
    assert late.json()["timed_out"] is True
    assert stack.outcome(held.customer, held.order_id) == "rejected: review_timed_out"
    assert stack.stock(held.sku) == (10, 0)
    _succeeded(stack, _execution(stack, held.order_id))


def test_cancelled_order_leaves_the_review_list(stack: DeployedStack, held: Held):
    answer = stack.shop.call("POST", f"/orders/{held.order_id}/cancellation", held.customer, body=b"{}")

    assert answer.status == 202
    _succeeded(stack, _execution(stack, held.order_id))
    eventually(lambda: held.order_id not in _listed(stack), within=stack.patience, what="the order leaves the list")
    eventually(lambda: stack.stock(held.sku), lambda stock: stock == (10, 0), within=stack.patience, what="the stock is released")
    assert _problem(_decide(stack, held.order_id, "approve")) == (409, "not-held")
