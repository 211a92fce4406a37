"""The workflows: roles, timeouts, traces and logs."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from devtools.target import ROOT
from tests.contract.stack import Stack
from tests.support.guidance import require_same

MACHINES = {"Fulfilment": "fulfilment", "Review": "review", "Remediation": "remediation"}
# The topic that a workflow may publish to.
TOPICS = {"Review": "ReviewRequests", "Remediation": "Alarms"}


def workflow(machine: str) -> dict[str, Any]:
    return json.loads((ROOT / f"workflows/{MACHINES[machine]}.asl.json").read_text("utf-8"))


def invoking(source: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the states of a workflow that invoke a function: the state's name, the function, the state."""
    for name, state in source["States"].items():
        if ":lambda:invoke" in state.get("Resource", ""):
            yield name, state["Parameters"]["FunctionName"].strip("${}"), state


class TestWorkflows:
    def test_every_state_machine_is_listed(self, stack: Stack) -> None:
        machines = stack.of("StepFunctions::StateMachine")
        require_same(MACHINES, machines, "MACHINES in this file, with the end of its name", "the tests of this class check it")

    @pytest.mark.parametrize("machine", MACHINES)
    def test_workflow_role_may_invoke_exactly_its_steps(self, stack: Stack, machine: str) -> None:
        steps = {function for _, function, _ in invoking(workflow(machine))}
        invoked = {name for action, name in stack.grants(f"{machine}Role") if action == "lambda:InvokeFunction"}
        assert invoked == steps
        assert steps <= set(stack.of("Lambda::Function"))

    @pytest.mark.parametrize("machine", MACHINES)
    def test_workflow_role_may_use_its_queue_and_topic(self, stack: Stack, machine: str) -> None:
        reached = {state["Resource"].rpartition(":::")[2] for state in workflow(machine)["States"].values() if "Resource" in state}
        granted = stack.grants(f"{machine}Role")
        assert (("sqs:SendMessage", "OperationsQueue") in granted) is ("sqs:sendMessage" in reached)
        assert {name for action, name in granted if action == "sns:Publish"} == ({TOPICS[machine]} if "sns:publish" in reached else set())
        assert (("kms:GenerateDataKey", "TopicKey") in granted) is ("sns:publish" in reached)

    @pytest.mark.parametrize("machine", MACHINES)
    def test_function_timeout_ends_before_the_states_timeout(self, stack: Stack, machine: str) -> None:
        source = workflow(machine)
        for name, function, state in invoking(source):
            if not state["Resource"].endswith(".waitForTaskToken"):
                timeout = stack.of("Lambda::Function")[function]["Timeout"]
                assert timeout < state["TimeoutSeconds"] <= source.get("TimeoutSeconds", 3600), name

    def test_review_wait_times_out_without_retry(self) -> None:
        [wait] = [state for _, _, state in invoking(workflow("Review")) if state["Resource"].endswith(".waitForTaskToken")]
        assert wait["TimeoutSecondsPath"] == "$.wait.seconds"
        # States.TaskFailed matches every error except a timeout.
        assert [retrier["ErrorEquals"] for retrier in wait["Retry"]] == [["States.TaskFailed"]]
        assert wait["Catch"][0]["ErrorEquals"] == ["States.Timeout"]

    def test_workflows_are_traced_and_log_no_execution_data(self, stack: Stack) -> None:
        for name, machine in stack.of("StepFunctions::StateMachine").items():
            assert machine["TracingConfiguration"] == {"Enabled": True}, name
            assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False, name
