"""The sample events of the functions and their expected answers.

A sample is events/<context>/<function>/<case>.json. Beside it, <case>.answer.json is the least of the expected answer: objects can
have more members, lists cannot have more items, and text that is JSON is compared as JSON. Without one, any answer but an error
passes. Samples can contain ${TOKEN_ANN} (a customer's bearer token) and the stack's resources by logical id, as ${EventBus}.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from devtools import template
from devtools.cli import UserError
from devtools.local import containers
from devtools.target import ROOT

EVENTS = ROOT / "events"
# Pairs of functions in another order than the template's. The samples of posting name orders without a log, which the audit of the
# ledger would report.
FIRST = (("ledger.handlers.audit_ledger", "ledger.handlers.post_entries"),)


@dataclass(frozen=True)
class Function:
    """A function of the template: its logical id and module (`orders.handlers.place_order`)."""

    name: str
    module: str

    @property
    def folder(self) -> Path:
        """The folder of its sample events."""
        return EVENTS.joinpath(*self.module.split(".handlers."))

    @property
    def samples(self) -> list[Path]:
        """Its sample events, sorted by name."""
        found = (path for path in self.folder.glob("*.json") if not path.name.endswith(".answer.json"))
        return sorted(found, key=lambda path: path.stem)


def functions() -> list[Function]:
    """Return the template's functions in its order, which is the flow of an order; FIRST has the exceptions."""
    resources: dict[str, Any] = template.source()["Resources"]
    found = [
        Function(name, resource["Properties"]["Handler"].removesuffix(".handler"))
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Serverless::Function"
    ]
    for earlier, later in FIRST:
        moved = next(one for one in found if one.module == earlier)
        found.remove(moved)
        found.insert(next(index for index, one in enumerate(found) if one.module == later), moved)
    return found


def filled(text: str, values: Mapping[str, str]) -> str:
    """Replace each ${NAME} of a sample, escaped for JSON text. Raises UserError for an unknown name."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise UserError(f"a sample names ${{{match[1]}}}; known are {', '.join(sorted(values))}")
        return json.dumps(values[match[1]])[1:-1]

    return re.sub(r"\$\{(\w+)\}", value, text)


def differences(expected: Any, actual: Any, where: str = "answer") -> Iterator[str]:
    """Yield the differences between an expected and an actual answer, a line each."""
    if isinstance(expected, dict | list) and isinstance(actual, str):
        actual = containers.decoded(actual)
    if isinstance(expected, dict) and isinstance(actual, dict):
        there = cast("dict[str, Any]", actual)
        for name, value in cast("dict[str, Any]", expected).items():
            yield from differences(value, there.get(name), f"{where}.{name}")
    elif isinstance(expected, list) and isinstance(actual, list) and len(cast("list[Any]", expected)) == len(cast("list[Any]", actual)):
        for number, (value, got) in enumerate(zip(cast("list[Any]", expected), cast("list[Any]", actual), strict=True)):
            yield from differences(value, got, f"{where}[{number}]")
    elif json.dumps(expected, sort_keys=True) != json.dumps(actual, sort_keys=True):
        yield f"{where} is {short(actual)}, not {short(expected)}"


def check(sample: Path, answer: Any) -> list[str]:
    """Return the differences of a function's answer from the expected answer of a sample."""
    beside = sample.with_suffix(".answer.json")
    if beside.exists():
        return list(differences(json.loads(beside.read_text()), answer))
    failed = isinstance(answer, dict) and ("errorType" in answer or "errorMessage" in answer)
    return [f"failed: {short(answer)}"] if failed else []


def short(value: Any, length: int = 200) -> str:
    """Return a value as JSON of at most `length` characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= length else f"{text[: length - 1]}…"
