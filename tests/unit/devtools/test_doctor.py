"""`make doctor` distinguishes what stops a deployment from what limits it, and says what to do."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from devtools import environments
from devtools import target as targets
from devtools.cli import UsageError, UserError
from devtools.commands import parsed
from devtools.ops import check_sender, doctor
from devtools.ops.findings import Finding
from devtools.target import Target


@pytest.mark.parametrize(
    ("limit", "reserved", "level"),
    [(10, 0, "warning"), (1000, 0, "ok"), (10, 10, "stop"), (119, 10, "stop"), (120, 10, "ok")],
)
def test_reserved_webhooks_need_a_limit_of_120(limit: int, reserved: int, level: str) -> None:
    assert doctor.concurrency(limit, reserved).level == level


def test_sender_is_verified_by_address_or_domain() -> None:
    assert doctor.sender("shop@example.com", ["example.com"]) == Finding("ok", "sender", "example.com is verified in SES")
    assert doctor.sender("shop@example.com", []).level == "warning"


def test_sandbox_is_a_warning() -> None:
    assert doctor.sandbox(production=True).level == "ok"
    assert "verified addresses only" in doctor.sandbox(production=False).detail


@pytest.mark.parametrize(
    ("arn", "level"),
    [("", "ok"), ("arn:aws:iam::1:role/shop-ApiLogsRole-X", "ok"), ("arn:aws:iam::1:role/other", "warning")],
)
def test_foreign_logging_role_is_reported(arn: str, level: str) -> None:
    assert doctor.logging_role(arn, "shop").level == level


@pytest.mark.parametrize(
    ("status", "level"),
    [("", "ok"), ("CREATE_COMPLETE", "ok"), ("UPDATE_ROLLBACK_COMPLETE", "ok"), ("ROLLBACK_COMPLETE", "stop"), ("ROLLBACK_FAILED", "stop")],
)
def test_stack_that_refuses_deployments_is_reported(status: str, level: str) -> None:
    assert doctor.state(status).level == level


@pytest.mark.parametrize(
    ("stack", "level"),
    [("order-pipeline-dev", "ok"), ("a" * 41, "ok"), ("a" * 42, "stop"), ("order_pipeline", "stop"), ("1st", "stop"), ("shöp", "stop")],
)
def test_name_that_no_new_stack_can_have_stops(stack: str, level: str) -> None:
    assert doctor.name(stack, 41).level == level


@pytest.mark.parametrize(("stage", "secret", "found"), [("prod", "", ["stop"]), ("prod", "arn:aws:secretsmanager:x", []), ("dev", "", [])])
def test_stage_prod_needs_a_payment_provider(stage: str, secret: str, found: list[str]) -> None:
    assert [one.level for one in doctor.provider({"Stage": stage, "StripeSecretArn": secret})] == found


@pytest.mark.parametrize(
    ("arn", "text", "found"),
    [
        ("arn:aws:secretsmanager:x", "a1B2" * 16, ["warning"]),
        ("arn:aws:secretsmanager:x", '{"api_key": "sk_1", "webhook_secret": "whsec_1"}', ["warning"]),
        ("arn:aws:secretsmanager:x", "whsec_new\nwhsec_old", ["ok"]),
        ("", "a1B2" * 16, []),
    ],
    ids=["generated", "former JSON", "of Stripe", "sandbox"],
)
def test_stripe_needs_its_signing_secret(monkeypatch: pytest.MonkeyPatch, arn: str, text: str, found: list[str]) -> None:
    client = SimpleNamespace(get_secret_value=lambda **given: {"secret": {"SecretString": text}}[given["SecretId"]])
    monkeypatch.setattr(Target, "client", lambda *_: client)
    monkeypatch.setattr(Target, "resources", {"PaymentsWebhookSecret": "secret"})
    target = Target("embedded", "http://127.0.0.1:4566", managed=True)

    assert [one.level for one in doctor.stripe_webhook(target, {"StripeSecretArn": arn})] == found


def test_parameters_are_those_of_the_environment() -> None:
    assert doctor.parameters("prod")["WebhookConcurrency"] == "10"
    assert doctor.parameters("default")["WebhookConcurrency"] == "0"


def test_unknown_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENV", "prdo")
    with pytest.raises(UsageError, match="ENV must be one of default, local, localstack, test, staging, prod, not 'prdo'"):
        doctor.main(parsed("doctor"))


def test_resources_that_the_stack_lacks_are_named() -> None:
    assert doctor.resources([]).level == "ok"
    found = doctor.resources([f"Queue{number}" for number in range(7)])
    assert found.level == "warning"
    assert "lacks 7 of the template: Queue0, Queue1, Queue2, Queue3, Queue4, …" in found.detail


@pytest.mark.parametrize(
    ("raised", "level", "detail"),
    [
        (["shop-eu-mail-age"], "ok", "none is raised"),
        (["shop-eu-mail-age", "shop-mail-age", "shop-throttles"], "warning", "shop-mail-age, shop-throttles"),
    ],
)
def test_only_the_stacks_own_alarms_are_named(monkeypatch: pytest.MonkeyPatch, raised: list[str], level: str, detail: str) -> None:
    client: Any = boto3.client("cloudwatch", region_name="us-east-1")
    monkeypatch.setattr(Target, "client", lambda *_: client)
    with Stubber(client) as stubber:
        stubber.add_response("describe_alarms", {"MetricAlarms": [{"AlarmName": name} for name in raised]})
        found = doctor.alarms(Target("aws", "", managed=False, stack="shop"))

    assert (found.level, found.detail) == (level, detail)


@pytest.mark.parametrize("form", ['["Stage=dev", "EmailFrom=a@example.com"]', r'"Stage=\"dev\" EmailFrom=\"a@example.com\""'])
def test_overrides_are_read_as_a_list_and_as_guided_deployments_save_them(tmp_path: Path, form: str) -> None:
    (path := tmp_path / "samconfig.toml").write_text(f"version = 0.1\n[default.deploy.parameters]\nparameter_overrides = {form}\n")
    assert environments.parameters(path) == {"default": {"Stage": "dev", "EmailFrom": "a@example.com"}}


class Account:
    """A target whose stack has a sender, and an account that has verified addresses."""

    stack = "shop"

    def __init__(self, sender: str, *verified: str) -> None:
        self.sender, self.verified = sender, verified

    def client(self, _: str) -> "Account":
        return self

    def stack_outputs(self) -> dict[str, str] | None:
        return {} if self.sender else None

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - as boto3 names it
        assert StackName == self.stack
        return {"Stacks": [{"Parameters": [{"ParameterKey": "EmailFrom", "ParameterValue": self.sender}]}]}

    def get_identity_verification_attributes(self, Identities: list[str]) -> dict[str, Any]:  # noqa: N803
        return {"VerificationAttributes": {one: {"VerificationStatus": "Success"} for one in Identities if one in self.verified}}


def test_existing_stack_is_judged_by_its_own_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []

    def account(_target: object, given: dict[str, str]) -> list[Finding]:
        judged.append(given["EmailFrom"])
        return []

    monkeypatch.setattr(doctor, "account", account)
    monkeypatch.setattr(doctor, "where", lambda *_: [])
    monkeypatch.setattr(doctor, "state", lambda _: Finding("stop", "stack", "ROLLBACK_COMPLETE"))
    target: Any = Account("shop@example.com")
    target.describe_stacks = lambda **_: {
        "Stacks": [{"StackStatus": "X", "Parameters": [{"ParameterKey": "EmailFrom", "ParameterValue": "a@b.example"}]}]
    }

    assert [one.level for one in doctor.examine(target, "default")] == ["stop"]
    assert judged == ["a@b.example"]


@pytest.mark.parametrize(
    ("given", "deployed", "verified", "refused"),
    [
        ("a@shop.example", "", "shop.example", False),
        ("", "a@shop.example", "a@shop.example", False),
        ("", "a@shop.example", "b@shop.example", True),
        ("", "", "", True),
        ("b@other.example", "a@shop.example", "shop.example", True),
    ],
)
def test_sender_of_a_deployment_is_checked(
    monkeypatch: pytest.MonkeyPatch, given: str, deployed: str, verified: str, refused: bool
) -> None:
    monkeypatch.setattr(targets, "chosen", lambda _: Account(deployed, verified))
    words = ["--email", given] if given else []
    if not refused:
        check_sender.main(parsed("check-sender", *words))
        return
    address = given or deployed or doctor.defaults()["EmailFrom"]
    with pytest.raises(UserError, match=f"neither {address} nor its domain is verified in SES"):
        check_sender.main(parsed("check-sender", *words))


def test_sender_that_the_role_may_not_check_is_unknown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def denied(**_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, "GetIdentityVerificationAttributes")

    target = Account("")
    monkeypatch.setattr(target, "get_identity_verification_attributes", denied)
    monkeypatch.setattr(targets, "chosen", lambda _: target)

    check_sender.main(parsed("check-sender", "--email", "a@shop.example"))

    assert "? sender" in capsys.readouterr().out
