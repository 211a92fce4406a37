"""Deployment to local targets: changes of sources, architecture, and the template of each target."""

import json
from pathlib import Path

import pytest

from devtools.cli import UserError
from devtools.local import deploy


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "functions" / "orders").mkdir(parents=True)
    (tmp_path / "functions" / "orders" / "place.py").write_text("x = 1\n")
    (tmp_path / "template.yaml").write_text("Resources: {}\n")
    return tmp_path


def _fingerprint(root: Path) -> str:
    return deploy.fingerprint(root, ("template.yaml", "functions", "samconfig.toml"))


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
