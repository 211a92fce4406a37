"""Personal data is limited: none in the access log, and emails only in events that send one."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from devtools.target import ROOT
from orderflow.domain import events
from tests.contract.stack import Stack

# Not allowed: `path`, which holds the client's text, and `authorizer` and `identity`, which identify the client.
LOGGED = re.compile(r"\$context\.(requestId|httpMethod|resourcePath|status|responseLatency|error\.\w+|integration\.\w+|authorizer\.error)")

# The order is folded from this event, and later events copy the address from the order.
SOURCE = {"OrderPlaced"}
# It alerts operators, and no customer.
FOR_OPERATORS = {"ParcelConditionResolved", "ShipmentReportContradicted"}


def test_access_log_holds_no_customer_and_no_client_text(stack: Stack) -> None:
    stages = stack.of("ApiGateway::Stage")
    assert stages
    for name, stage in stages.items():
        used = re.findall(r"\$context[\w.]*", stage["AccessLogSetting"]["Format"])
        assert [variable for variable in used if not LOGGED.fullmatch(variable)] == [], name
        assert "$context.requestId" in used, name


def test_only_events_that_send_an_email_hold_the_address(stack: Stack) -> None:
    mailed = set(stack.of("Events::Rule")["NotificationsRule"]["EventPattern"]["detail-type"]) - FOR_OPERATORS
    named = {name for name, event_data in events.EVENT_TYPES.items() if "email" in json.dumps(msgspec.json.schema(event_data))}
    assert named == mailed | SOURCE


def test_only_events_that_lead_to_a_shipment_hold_the_postal_address() -> None:
    named = {name for name, event_data in events.EVENT_TYPES.items() if "postal_code" in json.dumps(msgspec.json.schema(event_data))}
    assert named == {"OrderConfirmed"} | SOURCE


@pytest.mark.parametrize("name", ["ShipmentDelivered", "ShipmentLost", "ReturnRequested"])
def test_email_of_an_older_event_version_is_dropped_on_reading(name: str) -> None:
    event = events.decode((ROOT / "schemas" / name / "1.example.json").read_bytes())
    assert event.schema_version == 2
    assert b"@" not in events.encode(event)


def test_workflows_get_ids_only(stack: Stack) -> None:
    # CloudWatch's events name an alarm and a metric, but no customer.
    rules = [rule for rule in stack.of("Events::Rule").values() if rule["EventPattern"].get("source") != ["aws.cloudwatch"]]
    targets = [target for rule in rules for target in rule["Targets"] if "RoleArn" in target]
    assert targets
    for target in targets:
        assert set(json.loads(re.sub(r"<\w+>", '""', target["InputTransformer"]["InputTemplate"]))) <= {
            "id",
            "order_id",
            "correlation_id",
            "event_id",
        }
