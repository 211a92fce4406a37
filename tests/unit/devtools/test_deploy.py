"""Deployment to local targets: changes of sources, architecture, and the template of each target."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from devtools.cli import UserError
from devtools.local import deploy, parts
from devtools.target import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "functions" / "orders").mkdir(parents=True)
    (tmp_path / "functions" / "orders" / "place.py").write_text("x = 1\n")
    (tmp_path / "template.yaml").write_text("Resources: {}\n")
    return tmp_path


def _fingerprint(root: Path) -> str:
    return parts.fingerprint(root, ("template.yaml", "functions", "samconfig.toml"))


def test_same_sources_have_the_same_fingerprint(checkout: Path) -> None:
    before = _fingerprint(checkout)
    (checkout / "README.md").write_text("not deployed")
    (checkout / "functions" / "orders" / "__pycache__").mkdir()
    (checkout / "functions" / "orders" / "__pycache__" / "place.cpython-313.pyc").write_bytes(b"x")
    assert _fingerprint(checkout) == before


def test_changed_renamed_or_new_source_changes_fingerprint(checkout: Path) -> None:
    seen = {_fingerprint(checkout)}
    place = checkout / "functions" / "orders" / "place.py"
    place.write_text("x = 2\n")
    seen.add(_fingerprint(checkout))
    place.rename(place.with_name("put.py"))
    seen.add(_fingerprint(checkout))
    (checkout / "samconfig.toml").write_text("version = 0.1\n")
    seen.add(_fingerprint(checkout))
    assert len(seen) == 4


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", "x86_64"), ("AMD64", "x86_64"), ("arm64", "arm64"), ("aarch64", "arm64")])
def test_architecture_is_that_of_the_machine(machine: str, architecture: str) -> None:
    assert deploy.architecture(machine) == architecture


def test_architecture_without_lambda_is_rejected() -> None:
    with pytest.raises(UserError, match="riscv64"):
        deploy.architecture("riscv64")


def test_functions_on_a_local_target_keep_log_groups_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(
        """
Resources:
  Place: {Type: 'AWS::Serverless::Function', Properties: {LoggingConfig: {LogFormat: JSON, LogGroup: !Ref OrdersLogs}}}
"""
    )
    resources = json.loads(deploy.for_local_target(tmp_path / "template.yaml", "embedded").read_text())["Resources"]
    assert resources["Place"]["Properties"]["LoggingConfig"] == {"LogFormat": "JSON"}


def test_local_target_gets_no_policy_that_requires_tls(tmp_path: Path) -> None:
    denial = "{Effect: Deny, Principal: '*', Action: 'sqs:*', Resource: '*', Condition: {Bool: {'aws:SecureTransport': 'false'}}}"
    allowed = "{Effect: Allow, Principal: {Service: sns.amazonaws.com}, Action: 'sqs:SendMessage', Resource: '*'}"
    (tmp_path / "template.yaml").write_text(
        f"""
Resources:
  MailPolicy: {{Type: 'AWS::SQS::QueuePolicy', Properties: {{PolicyDocument: {{Statement: [{allowed}, {denial}]}}}}}}
  OtherPolicy: {{Type: 'AWS::SQS::QueuePolicy', Properties: {{PolicyDocument: {{Statement: [{denial}]}}}}}}
  DependentPolicy: {{Type: 'AWS::SQS::QueuePolicy', DependsOn: OtherPolicy, Properties: {{PolicyDocument: {{Statement: [{allowed}]}}}}}}
  Queue: {{Type: 'AWS::SQS::Queue'}}
"""
    )
    resources = json.loads(deploy.for_local_target(tmp_path / "template.yaml", "embedded").read_text())["Resources"]
    assert set(resources) == {"MailPolicy", "DependentPolicy", "Queue"}
    assert "DependsOn" not in resources["DependentPolicy"]
    [statement] = resources["MailPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Allow"


def test_local_target_authorizes_remediation_as_the_emulator_checks_it(tmp_path: Path) -> None:
    alarms = "{Effect: Allow, Action: ['cloudwatch:DescribeAlarms'], Resource: 'arn:aws:cloudwatch:x:1:alarm:shop-*'}"
    mappings = (
        "{Effect: Allow, Action: ['lambda:GetEventSourceMapping'], Resource: 'arn:aws:lambda:x:1:event-source-mapping:*',"
        " Condition: {ArnLike: {'lambda:FunctionArn': 'arn:aws:lambda:x:1:function:shop-*'}}}"
    )
    (tmp_path / "template.yaml").write_text(
        f"""
Resources:
  Decide: {{Type: 'AWS::Serverless::Function', Properties: {{Policies: [!Ref Other, {{Statement: [{alarms}, {mappings}]}}]}}}}
"""
    )
    resources = json.loads(deploy.for_local_target(tmp_path / "template.yaml", "embedded").read_text())["Resources"]
    first, second = resources["Decide"]["Properties"]["Policies"][1]["Statement"]
    assert first["Resource"] == "*"
    assert second == {
        "Effect": "Allow",
        "Action": ["lambda:GetEventSourceMapping", "lambda:ListEventSourceMappings"],
        "Resource": "arn:aws:lambda:x:1:event-source-mapping:*",
    }


def test_callers_on_localstack_invoke_functions_without_an_alias(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(
        """
Resources:
  Screen: {Type: 'AWS::Serverless::Function', Properties: {AutoPublishAlias: live, VersionDeletionPolicy: Delete, Handler: screen.handler}}
  Saga: {Type: 'AWS::Serverless::StateMachine', Properties: {DefinitionSubstitutions: {Screen: !Ref Screen.Alias, Queue: !Ref Queue}}}
"""
    )
    resources = json.loads(deploy.for_local_target(tmp_path / "template.yaml", "localstack").read_text())["Resources"]
    assert resources["Screen"]["Properties"] == {"Handler": "screen.handler"}
    assert resources["Saga"]["Properties"]["DefinitionSubstitutions"] == {
        "Screen": {"Fn::GetAtt": ["Screen", "Arn"]},
        "Queue": {"Ref": "Queue"},
    }


class Parameters:
    """The parameter store of a target."""

    class exceptions:  # noqa: N801 - as boto3 names it
        class ParameterNotFound(Exception):
            """No parameter has this name."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get_parameter(self, Name: str) -> dict[str, dict[str, str]]:  # noqa: N803 - as boto3 names it
        if Name not in self.values:
            raise self.exceptions.ParameterNotFound
        return {"Parameter": {"Value": self.values[Name]}}

    def put_parameter(self, Name: str, Value: str, Type: str, Overwrite: bool) -> None:  # noqa: N803
        # The limit of a standard parameter.
        assert len(Value) <= 4096
        self.values[Name] = Value


class FakeTarget:
    """A target with a stack, once it is deployed."""

    def __init__(self) -> None:
        self.ssm = Parameters()
        self.outputs: dict[str, str] | None = None

    def client(self, service: str) -> Parameters:
        assert service == "ssm"
        return self.ssm

    def stack_outputs(self) -> dict[str, str] | None:
        return self.outputs


class Deployment:
    """Deploys a checkout to a fake target, and records how."""

    def __init__(self, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.target: Any = FakeTarget()
        self.stack_fails = False
        self._steps: list[str] = []
        monkeypatch.setattr(deploy, "ROOT", checkout)
        monkeypatch.setattr(deploy, "parameters", lambda target: {"Stage": "local"})
        monkeypatch.setattr(deploy, "_deploy_stack", self._stack)
        monkeypatch.setattr(deploy.code_update, "update", self._code)

    def _stack(self, *_: object) -> None:
        self._steps.append("stack")
        if self.stack_fails:
            raise UserError("sam deploy failed")
        self.target.outputs = {}

    def _code(self, target: object, changed: list[parts.Part], architecture: str) -> int:
        self._steps.append(" ".join(part.name for part in changed))
        return len(changed)

    def steps(self) -> list[str]:
        """Deploy, and return the deployed parts: the stack, or names of parts."""
        self._steps.clear()
        changed = deploy.ensure(self.target)
        assert changed == bool(self._steps)
        return list(self._steps)


@pytest.fixture
def deployment(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A stack that was deployed once."""
    for folder in ("functions/ledger", "layers/powertools"):
        (checkout / folder).mkdir(parents=True)
        (checkout / folder / "module.py").write_text("x = 1\n")
    started = Deployment(checkout, monkeypatch)
    assert started.steps() == ["stack"]
    assert started.steps() == []
    return started


@pytest.mark.parametrize(
    ("source", "steps"),
    [
        ("functions/orders/place.py", ["orders"]),
        ("functions/ledger/module.py", ["ledger"]),
        ("layers/powertools/module.py", ["PowertoolsLayer"]),
        ("template.yaml", ["stack"]),
        ("README.md", []),
    ],
)
def test_only_the_changed_part_is_deployed(deployment: Deployment, checkout: Path, source: str, steps: list[str]) -> None:
    (checkout / source).write_text("# changed\n")
    assert deployment.steps() == steps
    assert deployment.steps() == []


def test_part_unknown_to_cloudformation_is_updated_after_the_stack(deployment: Deployment, checkout: Path) -> None:
    place = checkout / "functions" / "orders" / "place.py"
    before = place.read_text()
    place.write_text("x = 2\n")
    assert deployment.steps() == ["orders"]

    place.write_text(before)
    (checkout / "template.yaml").write_text("# changed\n")

    assert deployment.steps() == ["stack", "orders"]
    (checkout / "template.yaml").write_text("# changed again\n")
    assert deployment.steps() == ["stack"]


def test_failed_deployment_is_repeated_whole(deployment: Deployment, checkout: Path) -> None:
    template = checkout / "template.yaml"
    before = template.read_text()
    template.write_text("# changed\n")
    deployment.stack_fails = True
    with pytest.raises(UserError):
        deployment.steps()

    template.write_text(before)
    deployment.stack_fails = False
    assert deployment.steps() == ["stack"]


@pytest.mark.parametrize(
    ("backend", "system", "folder"), [("embedded", "Darwin", "host/"), ("embedded", "Linux", ""), ("localstack", "Darwin", "")]
)
def test_emulator_outside_linux_gets_wheels_of_the_machine(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, backend: str, system: str, folder: str
) -> None:
    """They are built apart, so neither a deployment to AWS nor a container can have them."""
    target = Mock(backend=backend, stack_outputs=Mock(return_value=None))
    store = Parameters()
    target.client = lambda service: store if service == "ssm" else Mock()  # pyright: ignore[reportUnknownLambdaType]
    built: list[tuple[str, str, bool]] = []

    def sam(_target: object, arguments: list[str], _log: Path, _limit: float, wheels: Mapping[str, str] | None = None) -> list[str]:
        if arguments[0] == "build":
            path = Path(arguments[arguments.index("--build-dir") + 1])
            built.append((str(path.relative_to(checkout)), (wheels or {}).get("LAYER_WHEELS", ""), "--cache-dir" in arguments))
            path.mkdir(parents=True, exist_ok=True)
            (path / "template.yaml").write_text(f"Resources: {{}}\nDescription: built in {path}\n")
        return []

    monkeypatch.setattr(parts.platform, "system", lambda: system)
    monkeypatch.setattr(deploy, "_sam", sam)
    monkeypatch.setattr(deploy, "_expanded", lambda _target, built, *_: built)
    monkeypatch.setattr(deploy, "parameters", lambda _: {"Architecture": "arm64"})
    monkeypatch.setattr(deploy.targets, "local_folder", lambda: checkout)
    for module in (deploy.event_archive, deploy.webhook_secrets, deploy.api_responses):
        monkeypatch.setattr(module, "ensure", lambda _: None)

    deploy.ensure(target)
    assert built == [(f"{folder}build", "host" if folder else "", bool(folder))]
    assert (checkout / f"{folder}build" / f"{backend}.yaml").exists()

    built.clear()
    deploy.build_for_containers(target)
    assert built == ([("build", "", False)] if folder else [])


@pytest.mark.parametrize("value", ["0" * 64, "[]", '{"version": 2}'])
def test_unknown_record_of_a_deployment_is_replaced(deployment: Deployment, value: str) -> None:
    deployment.target.ssm.values[deploy.DEPLOYED_PARAMETER] = value
    assert deployment.steps() == ["stack"]


def test_emptied_target_is_deployed_again(deployment: Deployment) -> None:
    deployment.target.outputs = None
    assert deployment.steps() == ["stack"]


def test_every_function_and_layer_belongs_to_a_part() -> None:
    found = parts.all_parts()
    assert {part.layer for part in found.values()} == {"", "order-pipeline-powertools", "order-pipeline-stripe"}
    contexts = {path.name for path in (ROOT / "functions").iterdir() if (path / "handlers").is_dir()}
    assert {name for name, part in found.items() if not part.layer} == contexts
    assert all((ROOT / source).exists() for part in found.values() for source in part.sources)
