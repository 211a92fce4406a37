"""Compares two versions of a consumer: runs both on the same events and finds the differences of their results."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from devtools import template, ui
from devtools.checks.contracts import routes
from devtools.cli import UserError
from devtools.target import ROOT, Target
from orderflow.domain.events import EVENT_TYPES

SECONDS = 600
# Replaces a value that differs between two runs of the same code.
VARIES = {"varies": True}

type Found = dict[str, dict[str, Any]]


def consumers() -> dict[str, tuple[str, frozenset[str]]]:
    """Return the module and the event types of each consumer, by logical id."""
    by_name: dict[str, set[str]] = {}
    for event_data, takers in routes.routes(EVENT_TYPES).consumers.items():
        for taker in takers:
            by_name.setdefault(taker.name, set()).add(event_data)
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for name, resource in template.source()["Resources"].items():
        module = resource.get("Properties", {}).get("Handler", "").removesuffix(".handler")
        if types := by_name.get(f"`{module.replace('.handlers.', '/')}`"):
            found[name] = (module, frozenset(types))
    return found


def captured(target: Target) -> list[dict[str, Any]]:
    """Return all events of a target's order log, oldest first."""
    pages = target.client("dynamodb").get_paginator("scan").paginate(TableName=target.resources["OrderLog"])
    return _ordered([item["event"]["S"] for page in pages for item in page["Items"]])


def read(path: Path) -> list[dict[str, Any]]:
    """Return the events of a file with one on each line, oldest first. Raises UserError for other lines."""
    try:
        return _ordered([line for line in path.read_text("utf-8").splitlines() if line.strip()])
    except OSError as error:
        raise UserError(f"EVENTS={path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"EVENTS={path} must have one event, a JSON object, on each line") from None


def _ordered(documents: Sequence[str]) -> list[dict[str, Any]]:
    return sorted(
        map(json.loads, documents),
        key=lambda event: (event.get("recorded_at", event["occurred_at"]), event["order_id"], event["order_version"]),
    )


def checked_out(revision: str, folder: Path, option: str = "BASE") -> None:
    """Extract template, functions and layer of a revision into a folder. Raises UserError for an unknown revision."""
    # Git must not read the revision as an option.
    command = ["git", "archive", "--end-of-options", revision, "functions", "layers/powertools", "template.yaml"]
    packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        raise UserError(f"{option}={revision} is no revision with functions: {packed.stderr.decode(errors='replace').splitlines()[-1]}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
        files.extractall(folder, filter="data")


def consumed(code: Path, module: str, types: frozenset[str], events: Sequence[dict[str, Any]]) -> Found:
    """Return the results of a consumer on the events, with the functions and the layer below `code`.

    Raises UserError if it does not run.
    """
    given = json.dumps({"module": module, "types": sorted(types), "events": events})
    path = os.pathsep.join(map(str, (code / "functions", code / "layers" / "powertools", ROOT)))
    command = [sys.executable, "-m", "tests.compare.consumer"]
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, input=given, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise UserError(f"{module} of {code} does not run: {last}")
    # The preceding lines are the functions' logs.
    return json.loads(done.stdout.splitlines()[-1])


def common(one: Any, other: Any) -> Any:
    """Return the common values of two runs, with VARIES for values that differ; JSON texts are compared by value."""
    one, other = _decoded(one), _decoded(other)
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {name: common(value, cast("Any", other)[name]) for name, value in cast("dict[str, Any]", one).items()}
    if isinstance(one, list) and isinstance(other, list) and len(cast("list[Any]", one)) == len(cast("list[Any]", other)):
        return [common(*pair) for pair in zip(cast("list[Any]", one), cast("list[Any]", other), strict=True)]
    return cast("Any", one) if one == other else VARIES


def differences(known: Any, new: Any, where: str) -> Iterator[str]:
    """Yield a line for each value of a run that differs from the common values of two earlier runs."""
    new = _decoded(new)
    if known == VARIES:
        return
    if isinstance(known, dict) and isinstance(new, dict):
        was, now = cast("dict[str, Any]", known), cast("dict[str, Any]", new)
        for name in sorted(was.keys() | now.keys()):
            if name in was and name in now:
                yield from differences(was[name], now[name], f"{where} {name}")
            elif was.get(name) != VARIES:
                yield f"{where} {name}: " + (f"deleted, was {_short(was[name])}" if name in was else f"new, {_short(now[name])}")
    elif isinstance(known, list) and isinstance(new, list) and len(cast("list[Any]", known)) == len(cast("list[Any]", new)):
        for number, (was, now) in enumerate(zip(cast("list[Any]", known), cast("list[Any]", new), strict=True)):
            yield from differences(was, now, f"{where} {number}")
    elif known != new:
        yield f"{where}: {_short(new)}, was {_short(known)}"


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _short(value: Any, length: int = 160) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def compare(function: str, base: str, events: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each difference from a revision's results. Raises UserError if either version does not run."""
    known = consumers()
    if function not in known:
        raise UserError(f"FUNCTION must be a consumer of events ({', '.join(sorted(known))}), not {function!r}")
    module, types = known[function]
    if not any(event["type"] in types for event in events):
        raise UserError(f"none of the {len(events)} events is of a type that {function} consumes")
    with ui.stage(f"{module.replace('.handlers.', '/')}") as stage, TemporaryDirectory() as folder:
        checked_out(base, Path(folder))
        stage.detail = f"as at {base}"
        before = [consumed(Path(folder), module, types, events) for _ in range(2)]
        stage.detail = "present code"
        found = list(differences(common(*before), consumed(ROOT, module, types, events), ""))
        taken = sum(event["type"] in types for event in events)
        stage.detail = f"{taken} of {len(events)} events, {len(found)} differences from {base}"
    return [line.strip() for line in found]
