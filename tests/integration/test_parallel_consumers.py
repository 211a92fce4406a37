"""Consumers of a confirmed order run independently: a failing one is retried alone and delays no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.integration.deployed_stack import DeployedStack, eventually

# Seconds until a message whose first delivery failed, such as in a burst of cold starts, is redelivered.
REDELIVERY_SECONDS = 240.0
VISIBILITY_SECONDS = 2


def _points(stack: DeployedStack, customer: str) -> int:
    answer = stack.shop.call("GET", "/points", customer)
    assert answer.status == 200, answer
    return answer.json()["points"]


def _invoice(stack: DeployedStack, customer: str, order_id: str) -> Any:
    return stack.shop.call("GET", f"/orders/{order_id}/invoice", customer)


def _listed(stack: DeployedStack, customer: str) -> dict[str, str]:
    orders = stack.shop.call("GET", "/orders", customer).json()["orders"]
    return {order["order_id"]: order["state"] for order in orders}


def _invoiced(stack: DeployedStack, customer: str, order_id: str) -> str:
    answer = eventually(
        lambda: _invoice(stack, customer, order_id),
        lambda answer: answer.status == 200,
        within=REDELIVERY_SECONDS,
        what="the invoice exists",
    )
    return answer.body.decode()


def _earned(stack: DeployedStack, customer: str, points: int) -> None:
    eventually(lambda: _points(stack, customer), lambda found: found == points, within=REDELIVERY_SECONDS, what=f"{points} points")


def test_confirmed_order_is_invoiced_listed_and_earns_points(stack: DeployedStack):
    customer, stranger, sku = stack.customer(), stack.customer("stranger"), stack.product(price=1250)
    order_id = stack.buy(customer, sku, 3)
    assert stack.outcome(customer, order_id) == "confirmed"

    page = _invoiced(stack, customer, order_id)
    _earned(stack, customer, 37)

    (number,) = [event["data"]["number"] for event in stack.shop.events(customer, order_id) if event["type"] == "InvoiceIssued"]
    for part in (number, order_id, sku, "EUR 12.50", "EUR 37.50"):
        assert part in page
    assert _invoice(stack, customer, order_id).headers["content-type"].startswith("text/html")
    assert _invoice(stack, stranger, order_id).status == 404
    assert _points(stack, stranger) == 0


def test_invoice_numbers_have_no_gap_and_no_duplicate(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product()
    bought = [stack.buy(customer, sku) for _ in range(4)]
    for order_id in bought:
        _invoiced(stack, customer, order_id)

    rows = [item for item in stack.scan("Invoices") if item["position"]["N"] != "0"]

    for series in {row["series"]["S"] for row in rows}:
        positions = sorted(int(row["position"]["N"]) for row in rows if row["series"]["S"] == series)
        assert positions == list(range(1, len(positions) + 1))
    assert {row["order_id"]["S"] for row in rows} >= set(bought)
    invoices = [row["order_id"]["S"] for row in rows if not row["series"]["S"].startswith("CN-")]
    assert len(set(invoices)) == len(invoices)


def test_cancelled_invoiced_order_gets_a_credit_note(stack: DeployedStack):
    customer, stranger, sku = stack.customer(), stack.customer("stranger"), stack.product(price=1250)
    order_id = stack.buy(customer, sku, 2)
    assert stack.outcome(customer, order_id) == "confirmed"
    invoice = _invoiced(stack, customer, order_id)

    assert stack.shop.cancel(customer, order_id).status == 202
    assert stack.outcome(customer, order_id) == "cancelled"

    (note,) = eventually(
        lambda: [event["data"] for event in stack.shop.events(customer, order_id) if event["type"] == "CreditNoteIssued"],
        within=REDELIVERY_SECONDS,
        what="the credit note exists",
    )
    assert (note["cause"], note["amount"]) == ("cancelled", {"amount": 2500, "currency": "EUR"})
    path = f"/orders/{order_id}/credit-notes/{note['number']}"
    answer = stack.shop.call("GET", path, customer)
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, "text/html")
    for part in (note["number"], note["invoice"], order_id, sku, "EUR 25.00"):
        assert part in answer.body.decode()
    assert stack.shop.call("GET", path, stranger).status == 404
    assert _invoiced(stack, customer, order_id) == invoice


@contextmanager
def _without_dynamodb(stack: DeployedStack, function: str, queue: str) -> Iterator[None]:
    """Deny a function DynamoDB and shorten its queue's visibility timeout, so that messages are soon dead-lettered."""
    iam, sqs, url = stack.target.client("iam"), stack.target.client("sqs"), stack.target.resources[f"{queue}Queue"]
    arn = stack.target.client("lambda").get_function_configuration(FunctionName=stack.target.resources[function])["Role"]
    denial = {"RoleName": arn.rpartition("/")[2], "PolicyName": "denied-by-a-test"}
    statement = {"Effect": "Deny", "Action": "dynamodb:*", "Resource": "*"}
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)})
    iam.put_role_policy(**denial, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    try:
        yield
    finally:
        iam.delete_role_policy(**denial)
        sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


@pytest.mark.needs("iam")
@pytest.mark.parametrize(
    ("function", "queue", "redrive"),
    [("LoyaltyAward", "LoyaltyAward", "loyalty-award"), ("InvoicesIssue", "InvoicesIssue", "invoices-issue")],
)
def test_failing_consumer_does_not_delay_the_others(stack: DeployedStack, function: str, queue: str, redrive: str):
    customer, sku = stack.customer(), stack.product(price=1000)
    with _without_dynamodb(stack, function, queue):
        order_id = stack.buy(customer, sku)

        assert stack.outcome(customer, order_id) == "confirmed"
        eventually(
            lambda: _listed(stack, customer),
            lambda seen: seen == {order_id: "confirmed"},
            within=REDELIVERY_SECONDS,
            what="the order is listed",
        )
        assert len(stack.emails(order_id)) == 1
        if function == "LoyaltyAward":
            _invoiced(stack, customer, order_id)
        else:
            _earned(stack, customer, 10)
        eventually(
            lambda: any(order_id in body for body in stack.peek(f"{queue}DeadLetters")),
            within=REDELIVERY_SECONDS,
            what="the message is dead-lettered",
        )
        assert _points(stack, customer) == (0 if function == "LoyaltyAward" else 10)
        assert _invoice(stack, customer, order_id).status == (200 if function == "LoyaltyAward" else 404)

    assert stack.invoke("OperationsRedrive", {"queue": redrive, "max": 100})["moved"] >= 1
    _invoiced(stack, customer, order_id)
    _earned(stack, customer, 10)
