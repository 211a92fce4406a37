"""Least privilege: every function has exactly the permissions that it uses.

The calls of each handler (observed_calls.py) are compared with its role. The permissions that Lambda needs for triggers follow from
the template.
"""

import json
import re
from typing import Any

import pytest

from orderflow.aws import order_log_items
from tests.contract.observed_calls import FUNCTIONS
from tests.contract.stack import Grant, Stack, listed, referred
from tests.support.guidance import require_same

# Contexts whose consumers may read only their own queue; others share SAM's policy for the stack's queues.
GUARDED = {"payments", "ledger", "reviews", "notifications"}
# The grants of SAM's managed policies for event sources within the permissions boundary.
POLLING = {
    "SQS::Queue": ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
    "Kinesis::Stream": tuple(
        f"kinesis:{a}" for a in ("DescribeStream", "DescribeStreamSummary", "GetRecords", "GetShardIterator", "ListShards")
    ),
    "DynamoDB::Table": tuple(f"dynamodb:{a}" for a in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")),
}


def trigger_grants(stack: Stack, function: str) -> set[Grant]:
    """Return the grants that SAM adds for logs, traces, triggers and failure destinations."""
    groups = [name for name, group in stack.of("Logs::LogGroup").items() if "/aws/lambda/" in group["LogGroupName"]["Fn::Sub"]]
    grants = {(f"logs:{action}", group) for action in ("CreateLogStream", "PutLogEvents") for group in groups}
    grants |= {(f"xray:{action}", "*") for action in ("PutTraceSegments", "PutTelemetryRecords")}
    guarded = stack.of("Lambda::Function")[function]["Handler"].partition(".")[0] in GUARDED
    for mapping in stack.of("Lambda::EventSourceMapping").values():
        if referred(mapping["FunctionName"]) == function:
            source = referred(mapping["EventSourceArn"])
            polled = [source] if guarded and stack.kind(source) == "SQS::Queue" else stack.of(stack.kind(source))
            grants |= {(action, one) for action in POLLING[stack.kind(source)] for one in polled} | _failures(mapping)
    for config in stack.of("Lambda::EventInvokeConfig").values():
        if referred(config["FunctionName"]) == function:
            grants |= _failures(config)
    return grants


def _failures(properties: dict[str, Any]) -> set[Grant]:
    destination = properties.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
    return {("sqs:SendMessage", referred(destination))} if destination else set()


def encryption_grants(grants: set[Grant]) -> set[Grant]:
    """Return the grants on the topic's key that publishing needs."""
    publishes = any(action == "sns:Publish" for action, _ in grants)
    return {("kms:GenerateDataKey", "TopicKey"), ("kms:Decrypt", "TopicKey")} if publishes else set()


def on(stack: Stack, table: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return all permissions on a table: role, action and condition."""
    return [
        (role, action.removeprefix("dynamodb:"), statement.get("Condition", {}))
        for role in stack.of("IAM::Role")
        for statement in stack.statements(role)
        if table in {referred(resource).partition("/")[0] for resource in listed(statement.get("Resource", []))}
        for action in listed(statement["Action"])
        if action.startswith("dynamodb:")
    ]


def test_log_writers_may_only_append_events_and_change_markers(stack: Stack) -> None:
    conditions = {
        "PutItem": {"ForAllValues:StringEquals": {"dynamodb:Attributes": list(order_log_items.ITEM_ATTRIBUTES)}},
        "UpdateItem": {"ForAllValues:StringEquals": {"dynamodb:Attributes": list(order_log_items.MARKER_ATTRIBUTES)}},
    }
    reading = {"GetItem", "Query", "Scan", "DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"}
    writing = [(action, condition) for _, action, condition in on(stack, "OrderLog") if action not in reading]
    assert {action for action, _ in writing} == set(conditions)
    assert all(condition == conditions[action] for action, condition in writing)


def test_update_attributes_exclude_the_events_content() -> None:
    assert not {"event", "type", "fingerprint"} & set(order_log_items.MARKER_ATTRIBUTES)
    assert not set(order_log_items.UPDATE_MARKERS) & set(order_log_items.ITEM_ATTRIBUTES)


def test_only_one_function_may_read_payment_tokens(stack: Stack) -> None:
    assert {(role, action) for role, action, _ in on(stack, "PaymentTokens")} == {
        ("OrdersPlaceRole", "PutItem"),
        ("PaymentsAuthorizeRole", "GetItem"),
        ("PaymentsAuthorizeRole", "DeleteItem"),
        ("OrdersFinalizeRole", "DeleteItem"),
    }


def test_boundary_includes_every_grant_by_name(stack: Stack) -> None:
    for role in {referred(function["Role"]) for function in stack.of("Lambda::Function").values()}:
        named = {(action, name) for action, name in stack.grants(role, bounded=False) if name != "*"}
        assert named <= stack.grants(role), role


def test_boundary_has_no_unused_action(stack: Stack) -> None:
    roles = {referred(function["Role"]) for function in stack.of("Lambda::Function").values()}
    used = {action for role in roles for action, _ in stack.grants(role)}
    bounded = {action for action, _ in stack.boundary("PermissionsBoundary")}
    require_same(bounded, used, "the actions of PermissionsBoundary in template.yaml", "it allows what the functions' roles grant, no more")


def test_boundary_is_within_iams_size_limit(stack: Stack) -> None:
    """Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html#reference_iam-quotas-entity-length."""
    document = json.dumps(_longest(stack.resources["PermissionsBoundary"]["Properties"]["PolicyDocument"]), separators=(",", ":"))
    assert len(document) < 6144


def _longest(value: Any) -> Any:
    """Return a policy with the longest region, account, stack name and ARNs."""
    names = {"Partition": "aws-us-gov", "Region": "ap-northeast-1", "AccountId": "1" * 12, "StackName": "s" * 128}
    match value:
        case {"Fn::Sub": str() as text}:
            return re.sub(r"\$\{(?:AWS::)?(\w+)[^}]*\}", lambda found: names.get(found[1], "x" * 100), text)
        case {"Ref": _} | {"Fn::GetAtt": _} | {"Fn::If": _}:
            return "x" * 256
        case dict():
            return {key: _longest(one) for key, one in value.items()}
        case list():
            return [_longest(one) for one in value]
        case _:
            return value


def test_every_function_has_the_boundary(stack: Stack) -> None:
    for function in stack.of("Lambda::Function").values():
        role = stack.resources[referred(function["Role"])]["Properties"]
        assert role["PermissionsBoundary"] == {"Ref": "PermissionsBoundary"}


@pytest.mark.parametrize("handler", FUNCTIONS)
def test_each_function_has_exactly_the_permissions_it_uses(stack: Stack, used: dict[str, set[Grant]], handler: str) -> None:
    having = [(n, f) for n, f in stack.of("Lambda::Function").items() if f["Handler"] == handler]
    assert having, f"template.yaml: add a function with the Handler {handler}, or delete the module"
    [(name, function)] = having
    needed = used[handler] | encryption_grants(used[handler]) | trigger_grants(stack, name)
    granted = stack.grants(referred(function["Role"]))
    assert not needed - granted, f"template.yaml, Policies of {name}: add {_listed(needed - granted)}"
    assert not granted - needed, (
        f"template.yaml, Policies of {name}: remove {_listed(granted - needed)}, or add a sample event that needs it to events/"
    )


def _listed(grants: set[Grant]) -> str:
    return ", ".join(f"{action} on {resource}" for action, resource in sorted(grants))
