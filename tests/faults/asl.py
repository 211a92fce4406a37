"""Runs a state machine's definition: the part of the Amazon States Language that the workflows use.

Pauses between attempts are skipped. Attempts of each retrier, output of catchers, paths and task tokens
behave as documented. An unknown field raises, so that a workflow cannot use a feature that the tests ignore.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.fakes.aws.dynamodb.expressions.values import copied

type Document = Any
type Call = Callable[[str, Document], Document]

_FIELDS = {
    "Pass": {"Type", "Comment", "Parameters", "Result", "ResultPath", "Next"},
    "Task": {
        "Type",
        "Comment",
        "Resource",
        "Parameters",
        "ResultSelector",
        "ResultPath",
        "TimeoutSeconds",
        "TimeoutSecondsPath",
        "Retry",
        "Catch",
        "Next",
    },
    "Choice": {"Type", "Comment", "Choices", "Default"},
    "Succeed": {"Type"},
    "Fail": {"Type", "Error", "Cause"},
}
_RETRIER = {"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy"}
_CATCHER = {"ErrorEquals", "ResultPath", "Next"}
_COMPARISONS: dict[str, Callable[[Document, Document], bool]] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "NumericLessThanEquals": lambda value, wanted: value <= wanted,
}
_LONGEST = 500
_WAITS = ".waitForTaskToken"
_PART = re.compile(r"\s*(?:'((?:[^'\\]|\\.)*)'|(States\.\w+)\(|(\$[\w.$]*)|([,)]))")


class TaskFailed(Exception):
    """A task failed with an error, whose name Retry and Catch match."""

    def __init__(self, error: str) -> None:

        super().__init__(error)
        self.error = error


class ExecutionFailed(Exception):
    """The execution ended in a Fail state or with an uncaught error."""

    def __init__(self, error: str) -> None:

        super().__init__(error)
        self.error = error


class Machine:
    """A state machine and its executions."""

    def __init__(self, definition: Path, **substitutions: str) -> None:
        """Read the definition, substitute its ${names}, and refuse unknown fields."""
        text = definition.read_text("utf-8")
        for name, value in substitutions.items():
            text = text.replace(f"${{{name}}}", value)
        document = json.loads(text)
        self.start: str = document["StartAt"]
        self.states: dict[str, Any] = document["States"]
        for name, state in self.states.items():
            _only(name, state, _FIELDS[state["Type"]])
            for retrier in state.get("Retry", ()):
                _only(name, retrier, _RETRIER)
            for catcher in state.get("Catch", ()):
                _only(name, catcher, _CATCHER)

    def run(self, given: Document, call: Call, execution: str = "arn:execution") -> Document:
        """Run an execution without task tokens to its end and return its output; `call` is that of `Execution`.

        Raises:
            ExecutionFailed: the execution did not succeed.
        """
        run = Execution(self, given, call, execution)
        run.resume()
        assert run.token is None, "the execution waits for a task token: run it with Execution instead"
        return run.data


class Execution:
    """One execution. `call` runs its tasks, with the resource and the resolved parameters.

    `token` is the task token that the execution waits for, or None; `succeed` and `time_out` resume it.
    """

    def __init__(self, machine: Machine, given: Document, call: Call, execution: str) -> None:
        """Start before the first state."""
        self._machine = machine
        self._call = call
        self._context: dict[str, Any] = {"Execution": {"Id": execution, "StartTime": "2026-11-21T12:00:01.000Z"}}
        self._name = machine.start
        self._retries: list[int] | None = None
        self.data = copied(given)
        self.token: str | None = None

    def resume(self) -> None:
        """Run to the end or to a task token.

        Raises:
            ExecutionFailed: the execution did not succeed.
        """
        for _ in range(_LONGEST):
            state = self._machine.states[self._name]
            match state["Type"]:
                case "Succeed":
                    return
                case "Fail":
                    raise ExecutionFailed(state["Error"])
                case "Choice":
                    self._name = _chosen(state, self.data)
                case "Pass":
                    self._next(state, _passed(state, self.data, self._context))
                case _:
                    self._task(state)
                    if self.token:
                        return
        raise AssertionError("the execution did not end after 500 states")

    def succeed(self, output: Document) -> None:
        """Resume with the task's output; raises ExecutionFailed as `resume` does."""
        self.token = None
        self._next(self._machine.states[self._name], output)
        self.resume()

    def time_out(self) -> None:
        """Resume after the timeout; raises ExecutionFailed as `resume` does."""
        self.token = None
        self._failed(self._machine.states[self._name], "States.Timeout")
        self.resume()

    def _task(self, state: Document) -> None:
        """Make one attempt at the task."""
        waits = state["Resource"].endswith(_WAITS)
        token = self._context.setdefault("Task", {})["Token"] = str(uuid.uuid4())
        try:
            answer = self._call(state["Resource"], _resolved(state["Parameters"], self.data, self._context))
        except TaskFailed as failed:
            self._failed(state, failed.error)
        else:
            if waits:
                assert _at(state["TimeoutSecondsPath"], self.data, {}) > 0
                self.token = token
            else:
                self._next(state, _resolved(state["ResultSelector"], answer, self._context) if "ResultSelector" in state else answer)

    def _failed(self, state: Document, error: str) -> None:
        """Prepare the next attempt, or follow the catcher."""
        if self._retries is None:
            self._retries = [int(retrier["MaxAttempts"]) for retrier in state.get("Retry", ())]
        number = _first_match(state.get("Retry", ()), error)
        if number is not None and self._retries[number] > 0:
            self._retries[number] -= 1
            return
        number = _first_match(state.get("Catch", ()), error)
        if number is None:
            raise ExecutionFailed(error)
        self._next(state["Catch"][number], {"Error": error, "Cause": ""})

    def _next(self, state: Document, result: Document) -> None:
        self.data = _with_result(self.data, state, result)
        self._name = state["Next"]
        self._retries = None


def _only(name: str, fields: Mapping[str, Any], known: set[str]) -> None:
    unknown = set(fields) - known
    assert not unknown, f"{name} has unknown fields: {unknown}; implement them in tests/faults/asl.py"


def _first_match(handlers: Any, error: str) -> int | None:
    for number, handler in enumerate(handlers):
        known = {"States.ALL", error} | ({"States.TaskFailed"} if error != "States.Timeout" else set())
        if known & set(handler["ErrorEquals"]):
            return number
    return None


def _passed(state: Document, data: Document, context: Document) -> Document:
    return state["Result"] if "Result" in state else _resolved(state["Parameters"], data, context)


def _chosen(state: Document, data: Document) -> str:
    return next((rule["Next"] for rule in state["Choices"] if _holds(rule, data)), state["Default"])


def _holds(rule: Document, data: Document) -> bool:
    if "Or" in rule:
        return any(_holds(part, data) for part in rule["Or"])
    _only("a choice", rule, {"Variable", *_COMPARISONS, "Next"})
    return all(holds(_at(rule["Variable"], data, {}), rule[name]) for name, holds in _COMPARISONS.items() if name in rule)


def _resolved(template: Document, data: Document, context: Document) -> Document:
    if not isinstance(template, dict):
        return template
    resolved: dict[str, Any] = {}
    for name, value in template.items():
        if name.endswith(".$"):
            resolved[name[:-2]] = _computed(value, data, context)
        else:
            resolved[name] = _resolved(value, data, context)
    return resolved


def _computed(expression: str, data: Document, context: Document) -> Document:
    if expression.startswith("$"):
        return _at(expression, data, context)
    value, end = _intrinsic(expression, 0, data, context)
    assert end == len(expression), expression
    return value


def _intrinsic(text: str, start: int, data: Document, context: Document) -> tuple[Document, int]:
    """Evaluate the literal, path or function call at `start`; return its value and its end."""
    part = _PART.match(text, start)
    assert part, text[start:]
    literal, function, path, _ = part.groups()
    if literal is not None:
        return literal, part.end()
    if path is not None:
        return _at(path, data, context), part.end()
    values: list[Document] = []
    end = part.end()
    while text[end - 1] != ")":
        value, end = _intrinsic(text, end, data, context)
        values.append(value)
        separator = _PART.match(text, end)
        assert separator, text[end:]
        end = separator.end()
    return _FUNCTIONS[function](*values), end


_FUNCTIONS: dict[str, Callable[..., Document]] = {
    "States.StringToJson": json.loads,
    "States.MathAdd": lambda one, other: one + other,
    "States.Format": lambda template, *values: template.format(*values),
}


def _at(path: str, data: Document, context: Document) -> Document:
    root, *steps = path.split(".")
    found = context if root == "$$" else data
    for step in steps:
        if step not in found:
            raise ExecutionFailed("States.ParameterPathFailure")
        found = found[step]
    return found


def _with_result(data: Document, state: Document, result: Document) -> Document:
    """Put a result at ResultPath; the workflows' paths are one step deep."""
    path = state.get("ResultPath", "$")
    if path is None:
        return data
    if path == "$":
        return result
    root, name = path.split(".")
    assert root == "$"
    return {**data, name: result}
