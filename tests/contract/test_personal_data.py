"""Personal data is limited: none in the access log, and emails only in events that send one. It ends, and the page states when."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from devtools.ops.erase import RETENTION_YEARS
from devtools.target import ROOT
from orderflow.domain import events
from tests.contract.stack import Stack

# Not allowed: `path`, which holds the client's text, and `authorizer` and `identity`, which identify the client.
LOGGED = re.compile(r"\$context\.(requestId|httpMethod|resourcePath|status|responseLatency|error\.\w+|integration\.\w+|authorizer\.error)")

PAGE = (ROOT / "docs" / "privacy.md").read_text("utf-8")
DECISION = (ROOT / "docs" / "decisions" / "0039-include-email-only-in-events-that-trigger-emails.md").read_text("utf-8")
STORES = ("DynamoDB::Table", "S3::Bucket", "Events::Archive", "Kinesis::Stream", "Cognito::UserPool")
# A retention of full calendar years, with three leap days; it covers an event of 1 January.
RETENTION_DAYS = 365 * (RETENTION_YEARS + 1) + 3
COUNTS = {7: "seven", 8: "eight", 9: "nine"}

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


def test_objects_expire_after_the_retention_and_after_their_lock(stack: Stack) -> None:
    """A lifecycle rule deletes no locked version, and an expired version of a versioned bucket is only noncurrent."""
    for name, bucket in stack.of("S3::Bucket").items():
        [rule] = bucket["LifecycleConfiguration"]["Rules"]
        assert rule["Status"] == "Enabled", name
        assert not {"Prefix", "TagFilters", "ObjectSizeGreaterThan", "ObjectSizeLessThan"} & rule.keys(), name
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}, name
        assert rule["ExpirationInDays"] == RETENTION_DAYS > max(_lock_days(bucket), *_transition_days(rule)), name
        assert rule["NoncurrentVersionExpiration"].keys() == {"NoncurrentDays"}, name
        [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` ")]
        assert f"{RETENTION_DAYS:,} days, then {rule['NoncurrentVersionExpiration']['NoncurrentDays']} " in row, name


def _lock_days(bucket: dict[str, Any]) -> int:
    lock = bucket.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
    days = lock.get("Days", 365 * lock.get("Years", 0))
    return max(days["Fn::If"][1:]) if isinstance(days, dict) else days


def _transition_days(rule: dict[str, Any]) -> list[int]:
    return [0, *(one["TransitionInDays"] for one in rule.get("Transitions", ()))]


def test_page_lists_every_store(stack: Stack) -> None:
    """A store without personal data is in the sentence below the table."""
    stores = PAGE.partition("## Stores")[2].partition("## Events")[0]
    advice = "state in docs/privacy.md what it stores about customers, and how that ends"
    assert [name for name in stack.of(*STORES) if f"`{name}`" not in stores] == [], advice


def test_page_lists_the_events_with_email_and_address() -> None:
    listed = {
        row.split("|")[1].strip(): set(re.findall(r"`(\w+)`", row.split("|")[2])) for row in PAGE.splitlines() if row.startswith("| ")
    }
    assert listed["email"] == _holding("email")
    assert listed["name and address"] == _holding("postal_code")
    assert listed["position of a parcel"] == _holding("lat")
    assert f"the {COUNTS[len(_holding('email') - SOURCE)]} events that trigger an email" in " ".join(DECISION.split())


def _holding(field: str) -> set[str]:
    return {name for name, data in events.EVENT_TYPES.items() if f'"{field}"' in json.dumps(msgspec.json.schema(data))}


def test_traces_of_requests_are_named_with_the_ip_address(stack: Stack) -> None:
    """API Gateway's segment has `http.request.client_ip`."""
    traced = any(stage["TracingEnabled"] for stage in stack.of("ApiGateway::Stage").values())
    [row] = [line for line in PAGE.splitlines() if line.startswith("| X-Ray traces ")]
    assert ("IP address" in row and "30 days" in row) is traced
    assert ("*IP address*: traces have it" in DECISION) is traced
    sampled = [rule["SamplingRule"]["FixedRate"] for rule in stack.of("XRay::SamplingRule").values()]
    assert sampled == [{"Fn::If": ["IsProtected", 0.01, 1]}]
    assert "of 1 % of the requests in protected stages, of all elsewhere" in " ".join(PAGE.split())
