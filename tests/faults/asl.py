"""Runs a state machine's definition, as much of the States Language as our workflows use.

Waiting is left out, everything else counts: attempts of each retrier, what a catcher passes on, and
where a path points. A field that is not known here raises, so a workflow cannot come to rely on
something that the tests ignore.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
        "Retry",
        "Catch",
        "Next",
    },
    "Choice": {"Type", "Choices", "Default"},
    "Succeed": {"Type"},
    "Fail": {"Type", "Error", "Cause"},
}
_RETRIER = {"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy"}
_CATCHER = {"ErrorEquals", "ResultPath", "Next"}
_LONGEST = 500


class TaskFailed(Exception):
    """A task ended with an error; its name is what retriers and catchers look at."""

    def __init__(self, error: str) -> None:
        """Name the error."""
        super().__init__(error)
        self.error = error


class ExecutionFailed(Exception):
    """The execution ended in a Fail state, or with an error that nothing caught."""

    def __init__(self, error: str) -> None:
        """Name the error."""
        super().__init__(error)
        self.error = error


class Machine:
    """A state machine whose tasks are done by `call`, given the resource and its resolved parameters."""

    def __init__(self, definition: Path) -> None:
        """Read the definition, and refuse what is not understood."""
        document = json.loads(definition.read_text("utf-8"))
        self._start: str = document["StartAt"]
        self._states: dict[str, Any] = document["States"]
        for name, state in self._states.items():
            _only(name, state, _FIELDS[state["Type"]])
            for retrier in state.get("Retry", ()):
                _only(name, retrier, _RETRIER)
            for catcher in state.get("Catch", ()):
                _only(name, catcher, _CATCHER)

    def run(self, given: Document, call: Call, execution: str = "arn:execution") -> Document:
        """Run an execution to its end and return its output.

        Raises:
            ExecutionFailed: it did not succeed.
        """
        context = {"Execution": {"Id": execution}}
        data, name = copy.deepcopy(given), self._start
        for _ in range(_LONGEST):
            state = self._states[name]
            match state["Type"]:
                case "Succeed":
                    return data
                case "Fail":
                    raise ExecutionFailed(state["Error"])
                case "Choice":
                    name = _chosen(state, data)
                case "Pass":
                    data = _with_result(data, state, _passed(state, data, context))
                    name = state["Next"]
                case _:
                    data, name = self._task(state, data, context, call)
        raise AssertionError("the execution goes round in circles")

    def _task(self, state: Document, data: Document, context: Document, call: Call) -> tuple[Document, str]:
        retries = [int(retrier["MaxAttempts"]) for retrier in state.get("Retry", ())]
        while True:
            try:
                answer = call(state["Resource"], _resolved(state["Parameters"], data, context))
                result = _resolved(state["ResultSelector"], answer, context) if "ResultSelector" in state else answer
                return _with_result(data, state, result), state["Next"]
            except TaskFailed as failed:
                number = _first_match(state.get("Retry", ()), failed.error)
                if number is not None and retries[number] > 0:
                    retries[number] -= 1
                    continue
                number = _first_match(state.get("Catch", ()), failed.error)
                if number is None:
                    raise ExecutionFailed(failed.error) from None
                catcher = state["Catch"][number]
                return _with_result(data, catcher, {"Error": failed.error, "Cause": ""}), catcher["Next"]


def _only(name: str, fields: Mapping[str, Any], known: set[str]) -> None:
    unknown = set(fields) - known
    assert not unknown, f"{name} has fields that are not understood here: {unknown}"


def _first_match(handlers: Any, error: str) -> int | None:
    for number, handler in enumerate(handlers):
        if {"States.ALL", error} & set(handler["ErrorEquals"]):
            return number
    return None


def _passed(state: Document, data: Document, context: Document) -> Document:
    return state["Result"] if "Result" in state else _resolved(state["Parameters"], data, context)


def _chosen(state: Document, data: Document) -> str:
    return next((rule["Next"] for rule in state["Choices"] if _holds(rule, data)), state["Default"])


def _holds(rule: Document, data: Document) -> bool:
    if "Or" in rule:
        return any(_holds(part, data) for part in rule["Or"])
    _only("a choice", rule, {"Variable", "StringEquals", "Next"})
    return _at(rule["Variable"], data, {}) == rule["StringEquals"]


def _resolved(template: Document, data: Document, context: Document) -> Document:
    if not isinstance(template, dict):
        return template
    resolved: dict[str, Any] = {}
    for name, value in template.items():
        if name.endswith(".$"):
            resolved[name[:-2]] = _at(value, data, context)
        else:
            resolved[name] = _resolved(value, data, context)
    return resolved


def _at(path: str, data: Document, context: Document) -> Document:
    root, *steps = path.split(".")
    found = context if root == "$$" else data
    for step in steps:
        if step not in found:
            raise ExecutionFailed("States.ParameterPathFailure")
        found = found[step]
    return found


def _with_result(data: Document, state: Document, result: Document) -> Document:
    """Put a result where ResultPath says; the paths of our workflows are one step deep."""
    path = state.get("ResultPath", "$")
    if path is None:
        return data
    if path == "$":
        return result
    root, name = path.split(".")
    assert root == "$"
    return {**data, name: result}
