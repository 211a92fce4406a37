"""Local tools work on this machine only."""

import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from devtools import target
from devtools.cli import UserError


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://127.0.0.1:4566", "http://127.0.0.1:4566"),
        ("http://127.0.0.1:4566/", "http://127.0.0.1:4566"),
        ("http://127.8.9.10:80", "http://127.8.9.10:80"),
        ("http://localhost:4567", "http://localhost:4567"),
        ("http://LOCALHOST:4567", "http://localhost:4567"),
        ("http://[::1]:4566", "http://[::1]:4566"),
        ("http://localhost", "http://localhost:80"),
        ("https://localhost", "https://localhost:443"),
    ],
)
def test_loopback_is_accepted(url: str, endpoint: str) -> None:
    assert target.require_loopback(url) == endpoint


@pytest.mark.parametrize(
    "url",
    [
        "https://dynamodb.us-east-1.amazonaws.com",
        "http://localhost.example.com:4566",
        "http://localhost.localstack.cloud:4566",
        "http://localhost.:4566",
        "http://0.0.0.0:4566",
        "http://172.17.0.1:4566",
        "http://10.0.0.1:4566",
        "http://192.168.1.5",
        "http://127.1:4566",
        "http://0x7f000001:4566",
        "http://2130706433:4566",
        "http://[::ffff:127.0.0.1]:4566",
        "http://[::]:4566",
        "http://127.0.0.1:4566@example.com",
        "http://127.0.0.1@example.com:4566",
        "http://example.com\\@127.0.0.1:4566",
        "http://example.com#@127.0.0.1",
        "http://127.0.0.1:4566/elsewhere",
        "http://127.0.0.1:4566?x=1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://127.0.0.1:x",
        "http://\u217cocalhost:4566",
        "http://loc\nalhost:4566",
        "ftp://127.0.0.1",
        "127.0.0.1:4566",
        "//127.0.0.1:4566",
        "http://",
        "",
    ],
)
def test_other_endpoints_are_rejected_in_one_line(url: str) -> None:
    with pytest.raises(UserError) as refusal:
        target.require_loopback(url)
    assert str(refusal.value).startswith("refused: ")
    assert "\n" not in str(refusal.value)


def test_functions_can_have_the_bridge_address() -> None:
    assert target.require_loopback("http://172.17.0.1:4567", also=target.CONTAINER_HOSTS) == "http://172.17.0.1:4567"


def test_default_is_the_embedded_emulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(target, "LOCAL", tmp_path)
    found = target.from_environment({})
    assert (found.backend, found.endpoint, found.managed) == ("embedded", "http://127.0.0.1:4566", True)


def test_port_selects_the_embedded_emulators_port() -> None:
    assert target.from_environment({"PORT": "4570"}).endpoint == "http://127.0.0.1:4570"


def test_given_endpoint_is_not_managed() -> None:
    found = target.from_environment({"BACKEND": "localstack", "ENDPOINT": "http://127.0.0.1:4567"})
    assert (found.backend, found.port, found.managed) == ("localstack", 4567, False)


@pytest.mark.parametrize(
    "settings",
    [
        {"BACKEND": "aws"},
        {"BACKEND": "azure"},
        {"BACKEND": "aws", "STACK": "shop", "ENDPOINT": "https://example.com"},
        {"PORT": "80"},
        {"PORT": "x"},
        {"ENDPOINT": "https://example.com"},
    ],
)
def test_settings_of_other_targets_are_rejected(settings: dict[str, str]) -> None:
    with pytest.raises(UserError):
        target.from_environment(settings)


def test_programs_get_none_of_the_users_aws_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.example.com")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com")
    given = target.from_environment({"PORT": "4570"}).aws_environment()
    assert given["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4570"
    assert given["AWS_ACCESS_KEY_ID"] == "test"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"} & given.keys()
    assert "127.0.0.1" in given["NO_PROXY"]


def test_commands_without_a_port_use_the_last_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(target, "LOCAL", tmp_path)
    target.remember_port(4570)
    assert target.from_environment({}).port == 4570
    assert target.from_environment({"PORT": "4571"}).port == 4571
    target.forget_port(4571)
    assert target.from_environment({}).port == 4570
    target.forget_port(4570)
    assert target.from_environment({}).port == 4566


def test_malformed_port_file_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(target, "LOCAL", tmp_path)
    (tmp_path / "port").write_text("80; rm -rf /")
    assert target.from_environment({}).port == 4566


class CloudFormation:
    """A stack of three resources on two pages, one of them deleted, with one output."""

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_stack_resources"
        return self

    def paginate(self, *, StackName: str) -> list[dict[str, Any]]:  # noqa: N803 - botocore's name
        assert StackName == target.STACK
        return [
            {
                "StackResourceSummaries": [
                    _summary("OrderLog", "AWS::DynamoDB::Table"),
                    _summary("Old", "AWS::SQS::Queue", "DELETE_COMPLETE"),
                ]
            },
            {"StackResourceSummaries": [_summary("OrdersPlace", "AWS::Lambda::Function")]},
        ]

    def describe_stacks(self, **_: str) -> dict[str, Any]:
        return {"Stacks": [{"Outputs": [{"OutputKey": "ApiStage", "OutputValue": "local"}]}]}


def _summary(name: str, kind: str, status: str = "CREATE_COMPLETE") -> dict[str, str]:
    return {"LogicalResourceId": name, "PhysicalResourceId": f"stack-{name}", "ResourceType": kind, "ResourceStatus": status}


def test_resources_are_found_by_logical_id_or_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target.Target, "client", lambda *_: CloudFormation())
    deployed = target.Target("embedded", "http://127.0.0.1:4566", managed=True)
    assert deployed.resources == {"OrderLog": "stack-OrderLog", "OrdersPlace": "stack-OrdersPlace", "ApiStage": "local"}
    assert deployed.physical_ids("AWS::Lambda::Function") == {"OrdersPlace": "stack-OrdersPlace"}


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        (target.STACK, "nothing is deployed at http://127.0.0.1:4566; run `make run` first"),
        ("shop-prod", "there is no stack 'shop-prod' at http://127.0.0.1:4566; STACK names the stack"),
    ],
)
def test_missing_stack_at_an_endpoint_is_named(monkeypatch: pytest.MonkeyPatch, stack: str, message: str) -> None:
    monkeypatch.setattr(target.Target, "stack_outputs", lambda _: None)
    monkeypatch.setenv("AWS_DEFAULT_REGION", target.REGION)
    with pytest.raises(UserError, match=f"^{message}$"):
        target.Target(target.AWS, "http://127.0.0.1:4566", managed=False, stack=stack).outputs()


def test_stack_on_aws_ignores_local_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("PORT", "not a port")
    chosen = target.chosen("shop-prod")
    assert (chosen.stack, chosen.local, chosen.managed) == ("shop-prod", False, False)
    assert chosen.client("sqs").meta.endpoint_url == "https://sqs.eu-west-1.amazonaws.com"


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The environment of a user without settings for AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


def test_emulator_used_as_aws_needs_no_settings(no_settings: pytest.MonkeyPatch) -> None:
    client = target.Target(target.AWS, "http://127.0.0.1:4566", managed=False).client("sqs")
    assert (client.meta.region_name, client.meta.endpoint_url) == (target.REGION, "http://127.0.0.1:4566")
    assert client._get_credentials().access_key == "test"


def test_emulator_used_as_aws_gets_given_settings(no_settings: pytest.MonkeyPatch) -> None:
    for name, value in (("DEFAULT_REGION", "eu-west-1"), ("ACCESS_KEY_ID", "mine"), ("SECRET_ACCESS_KEY", "mine")):
        no_settings.setenv(f"AWS_{name}", value)
    client = target.Target(target.AWS, "http://127.0.0.1:4566", managed=False).client("sqs")
    assert (client.meta.region_name, client._get_credentials().access_key) == ("eu-west-1", "mine")


def test_stack_of_another_region_is_named(no_settings: pytest.MonkeyPatch) -> None:
    no_settings.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    no_settings.setattr(target.Target, "stack_outputs", lambda _: None)
    with pytest.raises(
        UserError, match=r"no stack 'order-pipeline' at http://127.0.0.1:4566 in eu-west-1: set AWS_DEFAULT_REGION=us-east-1"
    ):
        target.Target(target.AWS, "http://127.0.0.1:4566", managed=False).outputs()


def test_local_target_ignores_the_users_profiles(no_settings: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("not a profile")
    no_settings.setenv("AWS_PROFILE", "missing")
    no_settings.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    no_settings.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "config"))
    assert target.Target("embedded", "http://127.0.0.1:4566", managed=True).client("sqs").meta.region_name == target.REGION


def test_threads_create_one_client_of_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    created: list[str] = []

    def create(_target: target.Target, service: str, **_: Any) -> Any:
        time.sleep(0.01)  # boto3 takes longer
        created.append(service)
        return object()

    monkeypatch.setattr(target.Target, "_client", create)
    deployed = target.Target(target.AWS, "", managed=False)
    with ThreadPoolExecutor(8) as pool:
        clients = set(pool.map(deployed.client, ["logs"] * 8))
    assert (len(clients), created) == (1, ["logs"])


def test_logs_are_read_at_the_rate_that_aws_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    logs, sqs = (target.chosen("shop-prod").client(service).meta.config.retries for service in ("logs", "sqs"))
    assert (logs["mode"], sqs["mode"]) == ("adaptive", "standard")
    assert logs["total_max_attempts"] > sqs["total_max_attempts"]


def test_without_a_stack_the_target_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDPOINT", "http://127.0.0.1:4567")
    assert (target.chosen("").endpoint, target.chosen("").local) == ("http://127.0.0.1:4567", True)


class Lambda:
    """A client that answers every invocation with this payload."""

    def __init__(self, payload: bytes, **more: str) -> None:
        self._answer = more
        self._payload = payload

    def invoke(self, **_: Any) -> dict[str, Any]:
        return {"Payload": io.BytesIO(self._payload), **self._answer}


def _invoked(monkeypatch: pytest.MonkeyPatch, client: Lambda, function: str) -> dict[str, Any]:
    monkeypatch.setattr(target.Target, "_client", lambda *_, **__: client)
    deployed = target.Target("embedded", "http://127.0.0.1:4566", managed=True)
    deployed.__dict__["resources"] = {"LedgerAudit": "stack-ledger-audit"}
    return deployed.invoke(function, {})


def test_invocation_returns_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _invoked(monkeypatch, Lambda(b'{"outcome": "audited"}'), "LedgerAudit") == {"outcome": "audited"}


@pytest.mark.parametrize(
    ("client", "function", "message"),
    [
        (Lambda(b'{"errorMessage": "no\\nway"}'), "LedgerAudit", "no way"),
        (Lambda(b'{"reason": "x"}', FunctionError="Unhandled"), "LedgerAudit", "reason"),
        (Lambda(b"{}"), "LedgerAuditor", "the deployed stack has no LedgerAuditor"),
    ],
)
def test_failed_invocation_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch, client: Lambda, function: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as failure:
        _invoked(monkeypatch, client, function)
    assert "\n" not in str(failure.value)
