"""Canary releases of the functions that a customer waits for, and their rollback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from devtools import template
from devtools.local import deploy
from devtools.target import ROOT
from tests.contract.stack import ALIAS, Stack, referred
from tests.contract.test_template import watched
from tests.contract.test_workflows import invoking, workflow
from tests.support.guidance import require_same

API = {"IdentityAuthorize", "OrdersPlace", "OrdersGet"}
STEPS = {"InventoryReserve", "FraudScreen", "PaymentsAuthorize", "OrdersConfirm"}
SHIFTED = API | STEPS
CANARY = "Canary10Percent5Minutes"


def groups(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return the deployment group of each function."""
    return {name.removesuffix("DeploymentGroup"): group for name, group in stack.of("CodeDeploy::DeploymentGroup").items()}


def versions(resources: dict[str, Any]) -> set[str]:
    return {name for name, one in resources.items() if one["Type"] == "AWS::Lambda::Version"}


class TestShift:
    def test_functions_that_a_customer_waits_for_have_an_alias(self, stack: Stack) -> None:
        shifted = {referred(alias["FunctionName"]) for alias in stack.of("Lambda::Alias").values()}
        require_same(SHIFTED, shifted, "SHIFTED in this file", "a function with AutoPublishAlias is released by canary (decision 49)")
        assert set(groups(stack)) == SHIFTED

    def test_protected_stage_shifts_by_canary_and_dev_at_once(self, stack: Stack) -> None:
        for function, group in groups(stack).items():
            condition, *configurations = group["DeploymentConfigName"]["Fn::If"]
            names = [configuration["Fn::Sub"][1]["ConfigName"] for configuration in configurations]
            assert (condition, names) == ("UseCanary", [CANARY, "AllAtOnce"]), function

    def test_codedeploy_shifts_every_alias(self, stack: Stack) -> None:
        for function in SHIFTED:
            update = stack.resources[f"{function}{ALIAS}"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
            assert update["DeploymentGroupName"] == {"Ref": f"{function}DeploymentGroup"}

    def test_local_targets_get_aliases_without_codedeploy(self, tmp_path: Path) -> None:
        local = deploy.for_local_target(Path(shutil.copy(ROOT / "template.yaml", tmp_path / "template.yaml")), "embedded")
        # The translator reads workflows beside the template.
        shutil.copytree(ROOT / "workflows", tmp_path / "workflows")
        resources = template.translated(path=local)["Resources"]
        assert not [name for name, one in resources.items() if one["Type"].startswith("AWS::CodeDeploy::")]
        assert {name.removesuffix(ALIAS) for name, one in resources.items() if one["Type"] == "AWS::Lambda::Alias"} == SHIFTED

    def test_old_versions_are_deleted_after_a_release(self, stack: Stack) -> None:
        """Every version takes code storage, and with SnapStart a snapshot."""
        for name in stack.of("Lambda::Version"):
            assert stack.resources[name]["DeletionPolicy"] == "Delete", name

    def test_role_shifts_functions_of_this_stack_only(self, stack: Stack) -> None:
        functions = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-*"
        shifting = ("lambda:GetAlias", "lambda:UpdateAlias", "lambda:GetProvisionedConcurrencyConfig")
        assert stack.grants("ReleaseRole") == {*((action, functions) for action in shifting), ("cloudwatch:DescribeAlarms", "*")}
        assert {referred(group["ServiceRoleArn"]) for group in groups(stack).values()} == {"ReleaseRole"}


class TestNewVersion:
    @pytest.mark.parametrize(
        ("path", "value"),
        [
            (("Resources", "PowertoolsLayer", "Properties", "Description"), "another layer"),
            (("Globals", "Function", "Environment", "Variables", "LOG_LEVEL"), "DEBUG"),
            (("Globals", "Function", "Timeout"), 9),
        ],
        ids=["layer", "environment", "timeout"],
    )
    def test_change_of_layer_or_configuration_publishes_a_version(
        self, monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...], value: Any
    ) -> None:
        before = versions(template.translated()["Resources"])
        changed = template.source()
        *parents, key = path
        place: Any = changed
        for one in parents:
            place = place[one]
        assert place[key] != value
        place[key] = value
        monkeypatch.setattr(template, "source", lambda _path: changed)
        after = versions(template.translated()["Resources"])
        # The payment step has a timeout of its own.
        own = {name for name in before if name.startswith("PaymentsAuthorize")} if path[-1] == "Timeout" else set[str]()
        assert before & after == own

    def test_new_stripe_layer_changes_the_code_of_its_functions(self) -> None:
        """SAM does not look for layers behind Fn::If, so the lock of the layer is part of the code."""
        makefile = (ROOT / "functions" / "Makefile").read_text("utf-8")
        assert '\tcp "$(root)/layers/stripe/requirements.txt" "$(ARTIFACTS_DIR)/stripe.txt"' in makefile


class TestCallers:
    def test_callers_of_a_shifted_function_name_its_alias(self, stack: Stack) -> None:
        [api] = stack.of("ApiGateway::RestApi").values()
        text = json.dumps(api["Body"])
        machines = [json.dumps(machine["DefinitionSubstitutions"]) for machine in stack.of("StepFunctions::StateMachine").values()]
        for function in SHIFTED:
            used = f"{function}{ALIAS}" in (text if function in API else "".join(machines))
            assert used, function
            assert f"${{{function}.Arn}}" not in text, function
            assert f'["{function}", "Arn"]' not in "".join(machines), function
        permissions = [one["FunctionName"] for one in stack.of("Lambda::Permission").values() if referred(one["FunctionName"]) in SHIFTED]
        assert permissions
        assert all(permission["Ref"].endswith(ALIAS) for permission in permissions)

    def test_saga_may_invoke_alias_and_function(self, stack: Stack) -> None:
        """Executions of a release without aliases invoke the function itself."""
        [statement] = [one for one in stack.statements("FulfilmentRole") if one["Action"] == ["lambda:InvokeFunction"]]
        for function in STEPS:
            assert {"Ref": f"{function}{ALIAS}"} in statement["Resource"]
            assert {"Fn::GetAtt": [function, "Arn"]} in statement["Resource"]

    def test_every_step_is_an_alias_or_compensates(self) -> None:
        compensating = {"OrdersFail", "ShippingRecall", "PaymentsVoid", "InventoryRelease", "OrdersFinalize"}
        assert {function for _, function, _ in invoking(workflow("Fulfilment"))} == STEPS | compensating


class TestRollback:
    def alarms(self, stack: Stack) -> set[str]:
        found: set[str] = set()
        for group in groups(stack).values():
            condition, alarmed, unalarmed = group["AlarmConfiguration"]["Fn::If"]
            assert (condition, alarmed["Enabled"], unalarmed) == ("UseCanary", True, {})
            found |= {referred(alarm["Name"]) for alarm in alarmed["Alarms"]}
        return found

    def test_any_alarm_rolls_back_every_function(self, stack: Stack) -> None:
        assert self.alarms(stack) == {"ReleaseApiFaultsAlarm", "ReleaseStepErrorsAlarm"}
        for group in groups(stack).values():
            assert group["AutoRollbackConfiguration"]["Enabled"] is True
            assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]

    def test_alarms_exist_where_a_canary_runs(self, stack: Stack) -> None:
        """A protected stage has alarms, with or without a subscriber."""
        assert stack.conditions["UseCanary"] == {"Fn::And": [{"Condition": "OnAws"}, {"Condition": "IsProtected"}]}
        assert {"Condition": "IsProtected"} in stack.conditions["HasAlarms"]["Fn::Or"]
        for name in self.alarms(stack):
            assert stack.resources[name]["Condition"] == "HasAlarms", name

    def test_alarms_decide_within_the_canary(self, stack: Stack) -> None:
        for name in self.alarms(stack):
            alarm = stack.of("CloudWatch::Alarm")[name]
            periods = {alarm.get("Period"), *(one["MetricStat"]["Period"] for one in alarm.get("Metrics", []) if "MetricStat" in one)} - {
                None
            }
            assert (periods, alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == ({60}, 3, 2), name

    def test_step_alarm_watches_the_alias_of_every_shifted_step(self, stack: Stack) -> None:
        seen = {
            stack.named({dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}["FunctionName"], "Lambda::Function")
            for metric in watched(stack.of("CloudWatch::Alarm")["ReleaseStepErrorsAlarm"])
        }
        assert seen == STEPS
