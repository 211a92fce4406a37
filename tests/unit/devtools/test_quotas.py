"""`make doctor` compares the needs of a stack with the account's quotas, and reports quotas that it could not read."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from devtools import environments
from devtools.ops import doctor, quotas
from devtools.target import AWS, Target


class NoSuchResourceException(ClientError):
    """A quota without a value of the account's own."""


class Account:
    """All services of an account: their resources, and the values of its quotas; `denied` calls are refused."""

    def __init__(self, listed: dict[str, list[int]], applied: dict[str, int], default: int = 100, denied: str = "") -> None:
        self._listed, self._applied, self._default, self._denied = listed, applied, default, denied
        self.exceptions = type("Exceptions", (), {"NoSuchResourceException": NoSuchResourceException})

    def get_account_summary(self) -> dict[str, Any]:
        return {"SummaryMap": {"Roles": 900, "RolesQuota": 1000, "Policies": 0, "PoliciesQuota": 1500}}

    def get_service_quota(self, *, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:  # noqa: N803 - botocore's names
        if self._denied in (ServiceCode, "all"):
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetServiceQuota")
        if QuotaCode not in self._applied:
            raise NoSuchResourceException({"Error": {"Code": "NoSuchResourceException"}}, "GetServiceQuota")
        return {"Quota": {"Value": float(self._applied[QuotaCode])}}

    def get_aws_default_service_quota(self, **_: str) -> dict[str, Any]:
        return {"Quota": {"Value": float(self._default)}}

    def describe_limits(self) -> dict[str, int]:
        return {"OpenShardCount": len(self._listed.get("shards", []))}

    def list_event_buses(self, **_: int) -> dict[str, Any]:
        return {"EventBuses": self._listed.get("list_event_buses", [])}

    def list_delivery_streams(self, **_: str) -> dict[str, Any]:
        return {"DeliveryStreamNames": [], "HasMoreDeliveryStreams": False}

    def get_paginator(self, operation: str) -> Any:
        found = self._listed.get(operation, [])

        class Pages:
            def paginate(self, **_: Any) -> list[dict[str, Any]]:
                return [dict.fromkeys(("TableNames", "stateMachines", "UserPools"), one) for one in (found[:1], found[1:])]

        return Pages()


RESOURCES = environments.deployed(doctor.parameters("prod"))


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[Account], dict[str, tuple[str, str]]]:
    """Return a function that examines an account: level and text by the name of the finding."""

    def examine(account: Account) -> dict[str, tuple[str, str]]:
        monkeypatch.setattr(Target, "client", lambda *_: account)
        target = Target(AWS, "", managed=False, stack="shop")
        return {one.what: (one.level, one.detail) for one in quotas.examine(target, RESOURCES)}

    return examine


def test_needs_are_counted_from_the_template(found: Callable[[Account], dict[str, tuple[str, str]]]) -> None:
    seen = found(Account({}, {}))
    assert {name for name, (level, _) in seen.items() if level == "ok"} == {
        "IAM Role",
        "IAM ManagedPolicy",
        *(q.name for q in quotas.QUOTAS),
    }
    tables = sum(resource["Type"] == "AWS::DynamoDB::Table" for resource in RESOURCES.values())
    assert seen["DynamoDB tables"][1] == f"0 of 100 are used, the stack needs {tables}"
    assert seen["Kinesis shards"][1] == "0 of 100 are used, the stack needs 1"


def test_exceeded_quota_stops_the_deployment(found: Callable[[Account], dict[str, tuple[str, str]]]) -> None:
    seen = found(Account({"list_tables": [*range(95)]}, {"L-244521F2": 5}))
    assert seen["DynamoDB tables"][0] == "stop"
    assert "95 of 100 are used" in seen["DynamoDB tables"][1]
    assert seen["rules of the bus"][0] == "stop"
    assert seen["state machines"][0] == "ok"


def test_account_value_replaces_the_default(found: Callable[[Account], dict[str, tuple[str, str]]]) -> None:
    assert found(Account({"list_tables": [*range(95)]}, {"L-F98FE922": 2500}))["DynamoDB tables"][0] == "ok"


def test_refused_call_makes_one_quota_unknown(found: Callable[[Account], dict[str, tuple[str, str]]]) -> None:
    seen = found(Account({}, {}, denied="kinesis"))
    assert seen["Kinesis shards"][0] == "unknown"
    assert seen["Kinesis shards"][1].startswith("unknown: An error occurred (AccessDeniedException)")
    assert seen["DynamoDB tables"][0] == "ok"


def test_local_target_has_no_quotas() -> None:
    target = Target("embedded", "http://127.0.0.1:1", managed=False)
    target.__dict__["client"] = lambda _: Account({}, {})
    assert {one.level for one in quotas.examine(target, RESOURCES) if not one.what.startswith("IAM")} == {"unknown"}


def test_resources_of_an_api_are_the_parts_of_its_paths() -> None:
    body = {"paths": {"/orders": {}, "/orders/{order_id}/events": {}, "/products": {}}}
    assert quotas.api_resources({"Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Body": body}}}) == 5
