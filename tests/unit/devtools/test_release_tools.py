"""`make rollback-triggers` and `make check-canary`, on clients that answer like AWS."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from devtools.cli import UserError
from devtools.ops import check_canary, rollback_triggers
from devtools.target import StackResource, Target
from tests.fakes.aws.dynamodb import client_error

ARNS = [f"arn:aws:cloudwatch:eu-central-1:1:alarm:shop-{name}" for name in rollback_triggers.ALARMS]
REFUSED: dict[str, dict[str, Any]] = {
    "IdentityAuthorize": {"errorMessage": "Unauthorized", "errorType": "Exception"},
    "OrdersPlace": {"statusCode": 400},
    "OrdersGet": {"statusCode": 404},
}
NOT_FOUND = {"errorMessage": "order not found", "errorType": "OrderNotFound"}


@dataclass
class Aws:
    """The calls of both tools. `weights` are the new versions of aliases, `answers` the answers of functions."""

    alarms: list[str] = field(default_factory=lambda: list(ARNS))
    configuration: dict[str, Any] = field(default_factory=dict[str, Any])
    weights: dict[str, str] = field(default_factory=dict[str, str])
    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    updates: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    invoked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    stopped: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])
    refuses_unchanged: bool = False

    def describe_alarms(self, AlarmNames: list[str]) -> Any:  # noqa: N803 - as boto3 names it
        return {"MetricAlarms": [{"AlarmArn": arn} for arn in self.alarms if arn.rpartition(":")[2] in AlarmNames]}

    def describe_stacks(self, StackName: str) -> Any:  # noqa: N803
        parameters = [{"ParameterKey": "Stage", "ParameterValue": "prod"}]
        tags = [{"Key": "team", "Value": "orders"}]
        stack = {"StackName": StackName, "Parameters": parameters, "RollbackConfiguration": self.configuration, "Tags": tags}
        return {"Stacks": [stack]}

    def update_stack(self, **given: Any) -> None:
        if self.refuses_unchanged and "Tags" not in given:
            raise client_error("UpdateStack", "ValidationError", "No updates are to be performed.")
        self.updates.append(given)
        self.configuration = given["RollbackConfiguration"]

    def get_waiter(self, name: str) -> Any:
        assert name == "stack_update_complete"
        return self

    def wait(self, StackName: str) -> None:  # noqa: N803
        assert StackName == "shop"

    def get_alias(self, FunctionName: str, Name: str) -> Any:  # noqa: N803
        assert Name == "live"
        version = self.weights.get(FunctionName)
        return {"FunctionVersion": "1"} | ({"RoutingConfig": {"AdditionalVersionWeights": {version: 0.1}}} if version else {})

    def invoke(self, FunctionName: str, Qualifier: str, Payload: bytes) -> Any:  # noqa: N803
        assert json.loads(Payload)
        self.invoked.append((FunctionName, Qualifier))
        return {"Payload": io.BytesIO(json.dumps(self.answers.get(FunctionName, NOT_FOUND)).encode())}

    def list_deployments(self, deploymentGroupName: str, **_: Any) -> Any:  # noqa: N803
        return {"deployments": [f"d-{deploymentGroupName}", "d-roll-back"]}

    def batch_get_deployments(self, deploymentIds: list[str]) -> Any:  # noqa: N803
        creators = {"d-roll-back": "codeDeployRollback"}
        return {"deploymentsInfo": [{"deploymentId": one, "creator": creators.get(one, "CloudFormation")} for one in deploymentIds]}

    def stop_deployment(self, deploymentId: str, autoRollbackEnabled: bool) -> None:  # noqa: N803
        self.stopped.append((deploymentId, autoRollbackEnabled))


def target(aws: Aws) -> Target:
    """Return a stack on AWS whose functions are named by their logical ids."""
    found = Target("aws", "", managed=False, stack="shop")
    services = ("cloudwatch", "cloudformation", "lambda", "codedeploy")
    found._clients.update(dict.fromkeys(services, aws))
    names = {
        **dict.fromkeys(check_canary.CHECKS, "AWS::Lambda::Function"),
        "ServerlessDeploymentApplication": "AWS::CodeDeploy::Application",
    }
    names |= {"OrdersPlaceDeploymentGroup": "AWS::CodeDeploy::DeploymentGroup"}
    resources = {name: StackResource(kind, name) for name, kind in names.items()}
    found.__dict__.update(stack_resources=resources, resources={name: name for name in names})
    return found


class TestRollbackTriggers:
    def test_triggers_are_set_by_an_update_without_changes(self) -> None:
        aws = Aws()
        assert rollback_triggers.ensure(target(aws))
        [update] = aws.updates
        assert update["UsePreviousTemplate"] is True
        assert update["Parameters"] == [{"ParameterKey": "Stage", "UsePreviousValue": True}]
        assert [trigger["Arn"] for trigger in update["RollbackConfiguration"]["RollbackTriggers"]] == ARNS
        assert update["RollbackConfiguration"]["MonitoringTimeInMinutes"] == 5

    def test_triggers_are_set_with_a_tag_where_cloudformation_wants_a_change(self) -> None:
        aws = Aws(refuses_unchanged=True)
        assert rollback_triggers.ensure(target(aws))
        [update] = aws.updates
        assert update["Tags"] == [{"Key": "team", "Value": "orders"}, {"Key": "rollback-triggers", "Value": "release-alarms"}]
        assert update["RollbackConfiguration"]["MonitoringTimeInMinutes"] == 5

    def test_existing_triggers_are_not_changed(self) -> None:
        aws = Aws()
        rollback_triggers.ensure(target(aws))
        assert not rollback_triggers.ensure(target(aws))
        assert len(aws.updates) == 1

    def test_stack_without_alarms_is_refused(self) -> None:
        with pytest.raises(UserError, match=r"^shop has no release alarms; deploy it with AlarmEmail"):
            rollback_triggers.ensure(target(Aws(alarms=[])))


class TestCheckCanary:
    def test_every_new_version_is_checked(self) -> None:
        aws = Aws(weights=dict.fromkeys(check_canary.CHECKS, "7"), answers=REFUSED)
        assert check_canary.watch(target(aws), 0) == len(check_canary.CHECKS)
        assert aws.invoked == [(name, "7") for name in check_canary.CHECKS]
        assert aws.stopped == []

    def test_wrong_version_stops_the_release(self) -> None:
        broken = REFUSED | {"OrdersPlace": {"errorMessage": "No module named 'orders'", "errorType": "Runtime.ImportModuleError"}}
        aws = Aws(weights={"OrdersPlace": "7", "OrdersGet": "4"}, answers=broken)
        with pytest.raises(UserError, match=r"^OrdersPlace version 7 answered .*No module named") as stopped:
            check_canary.watch(target(aws), 60)
        assert aws.stopped == [("d-OrdersPlaceDeploymentGroup", True)]
        assert "the release is stopped: d-OrdersPlaceDeploymentGroup" in str(stopped.value)

    def test_stack_without_a_shift_in_progress_invokes_no_function(self) -> None:
        aws = Aws()
        assert check_canary.watch(target(aws), 0) == 0
        assert aws.invoked == []


@pytest.mark.parametrize("name", check_canary.CHECKS)
def test_canary_check_passes_only_with_the_expected_refusal(name: str) -> None:
    event, is_right = check_canary.CHECKS[name]
    assert event()
    assert is_right(REFUSED.get(name, NOT_FOUND))
    assert not is_right({"errorType": "Runtime.ImportModuleError", "errorMessage": "No module named 'x'"})
