"""Log lines have correlation ids and no personal data; unknown users are denied."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from localstack_client.session import Session  # pyright: ignore[reportMissingTypeStubs]

from devtools.local.api_client import ADDRESS, order_body
from devtools.ops import function_logs
from tests.integration.deployed_stack import DeployedStack, eventually

ORDER_SERVICES = {"orders-place", "inventory-reserve", "fraud-screen", "payments-authorize", "orders-confirm", "notifications-mail"}


def test_every_log_line_of_an_order_has_its_correlation_id(stack: DeployedStack):
    customer, correlation_id = stack.customer(), f"trace-{stack.product()}"
    order_id = _place(stack, customer, correlation_id)
    stack.emails(order_id)

    def about() -> list[function_logs.LogLine]:
        lines = function_logs.read(stack.target, function_logs.functions(stack.target))
        # The publisher logs one line per batch, which names the events of several orders.
        return [line for line in lines if order_id in line.text and "event_ids" not in line.fields]

    lines = eventually(
        about, lambda found: {line.function for line in found} >= ORDER_SERVICES, within=stack.patience, what="a line of each function"
    )
    assert {line.fields.get("correlation_id") for line in lines} == {correlation_id}
    assert {line.fields.get("order_id") for line in lines} == {order_id}


def test_log_lines_hold_no_personal_data_or_payment_token(stack: DeployedStack):
    customer = stack.customer("private")
    order_id = _place(stack, customer, "correlation")
    stack.emails(order_id)

    lines = function_logs.read(stack.target, function_logs.functions(stack.target))

    text = "\n".join(line.text for line in lines)
    assert order_id in text
    for secret in (stack.address(customer), ADDRESS["street"], "tok_approved", stack.shop.token(customer)):
        assert secret not in text


def test_events_hold_no_payment_token(stack: DeployedStack):
    customer = stack.customer()
    order_id = stack.buy(customer, stack.product())
    stack.ended(customer, order_id)

    assert "tok_approved" not in str(stack.log(order_id))


@pytest.mark.needs("iam")
def test_user_without_policy_is_denied(stack: DeployedStack):
    """The emulator enforces IAM: a user without policies is denied."""
    iam, name = stack.target.client("iam"), f"{stack.target.stack}-unprivileged"
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    try:
        session = Session(aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"], region_name="us-east-1")
        client = session.client("dynamodb", config=Config(retries={"max_attempts": 0}, proxies={}))
        with pytest.raises(ClientError, match="AccessDenied"):
            client.scan(TableName=stack.table("OrderLog"))
    finally:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])


def _place(stack: DeployedStack, customer: str, correlation_id: str) -> str:
    body = json.dumps(order_body((stack.product(), 1))).encode()
    answer = stack.shop.call("POST", "/orders", customer, body=body, Idempotency_Key=correlation_id, X_Correlation_Id=correlation_id)
    assert answer.headers["x-correlation-id"] == correlation_id
    return answer.json()["order_id"]
