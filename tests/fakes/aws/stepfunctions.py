"""Step Functions in memory: started executions and task tokens, without running them."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.aws.dynamodb import Parameters
from tests.fakes.aws.service import FakeService, Refused


class FakeStepFunctions(FakeService):
    """Executions and task tokens.

    `started` has the inputs of started executions, `running` the ARNs of executions that have not ended, `waiting` the tokens
    of waiting tasks, and `answered` the output of each answered token.
    """

    def __init__(self, attempts: int = 1) -> None:
        """Start with nothing started."""
        super().__init__(attempts)
        self.started: list[dict[str, Any]] = []
        self.running: set[str] = set()
        self.waiting: set[str] = set()
        self.answered: dict[str, Any] = {}

    def start_execution(self, **parameters: Any) -> dict[str, str]:
        """Record the input of a started execution."""
        return self._call("StartExecution", parameters, lambda: self._start(parameters))

    def describe_execution(self, *, executionArn: str) -> dict[str, str]:  # noqa: N803 - botocore's name
        """Return whether an execution is running."""
        status = "RUNNING" if executionArn in self.running else "FAILED"
        return self._call("DescribeExecution", {"executionArn": executionArn}, lambda: {"status": status})

    def send_task_success(self, *, taskToken: str, output: str) -> dict[str, str]:  # noqa: N803 - botocore's names
        """Answer a waiting task's token."""
        return self._call("SendTaskSuccess", {"taskToken": taskToken}, lambda: self._succeed(taskToken, output))

    def _succeed(self, token: str, output: str) -> dict[str, str]:
        if token not in self.waiting:
            raise Refused("SendTaskSuccess", "TaskTimedOut", "Provided task does not exist anymore")
        self.waiting.remove(token)
        self.answered[token] = json.loads(output)
        return {}

    def _start(self, parameters: Parameters) -> dict[str, str]:
        self.started.append(json.loads(parameters["input"]))
        return {"executionArn": f"{parameters['stateMachineArn']}:{len(self.started)}"}
