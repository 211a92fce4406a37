"""Gives one consumer's captured events to its code as it was and as it is here, and shows what it does otherwise.

FUNCTION=LedgerPost is the consumer, by its logical id; BASE=revision of git is its code as it was, that of the last commit unless
given. EVENTS=file has an event on each line, as the bus, the stream and the audit's objects have it; without it they are those of
the target's order log. Both versions run in this machine's processes on services in memory, where the order log has all the
events and everything else is empty at first. What differs between two runs of the same code, such as a time of posting, counts
as no difference.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from devtools import target as targets
from devtools import template, ui
from devtools.checks.contracts import routes
from devtools.cli import UserError
from devtools.target import ROOT, Target
from orderflow.domain.events import EVENT_TYPES

SECONDS = 600
SHOWN = 20
# Stands for what is not the same in two runs of the same code.
VARIES = {"varies": True}

type Found = dict[str, dict[str, Any]]


def consumers() -> dict[str, tuple[str, frozenset[str]]]:
    """The functions that events wake, by their logical ids: the module, and the types of event that it takes."""
    by_name: dict[str, set[str]] = {}
    for fact, takers in routes.routes(EVENT_TYPES).consumers.items():
        for taker in takers:
            by_name.setdefault(taker.name, set()).add(fact)
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for name, resource in template.source()["Resources"].items():
        module = resource.get("Properties", {}).get("Handler", "").removesuffix(".handler")
        if types := by_name.get(f"`{module.replace('.handlers.', '/')}`"):
            found[name] = (module, frozenset(types))
    return found


def captured(target: Target) -> list[dict[str, Any]]:
    """All events of a target's order log, in the order in which they happened."""
    pages = target.client("dynamodb").get_paginator("scan").paginate(TableName=target.resources["OrderLog"])
    return _ordered([item["event"]["S"] for page in pages for item in page["Items"]])


def read(path: Path) -> list[dict[str, Any]]:
    """The events of a file. Raises UserError where it has other lines."""
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


def checked_out(revision: str, folder: Path) -> None:
    """Put the functions and the layer of a revision into a folder. Raises UserError where there is no such revision."""
    # A revision that looks like an option of git is none.
    command = ["git", "archive", "--end-of-options", revision, "functions", "layers/powertools"]
    packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        raise UserError(f"BASE={revision} is no revision with functions: {packed.stderr.decode(errors='replace').splitlines()[-1]}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
        files.extractall(folder, filter="data")


def consumed(code: Path, module: str, types: frozenset[str], events: Sequence[dict[str, Any]]) -> Found:
    """What comes of a consumer's taking the events, with the functions and the layer below `code`.

    Raises UserError where it does not run.
    """
    given = json.dumps({"module": module, "types": sorted(types), "events": events})
    path = os.pathsep.join(map(str, (code / "functions", code / "layers" / "powertools", ROOT)))
    command = [sys.executable, "-m", "tests.support.consumer"]
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, input=given, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise UserError(f"{module} of {code} does not run: {last}")
    # Before that are the lines that the functions log.
    return json.loads(done.stdout.splitlines()[-1])


def settled(one: Any, other: Any) -> Any:
    """What two runs have in common, with VARIES where they differ; text that is JSON is looked into."""
    one, other = _decoded(one), _decoded(other)
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {name: settled(value, cast("Any", other)[name]) for name, value in cast("dict[str, Any]", one).items()}
    if isinstance(one, list) and isinstance(other, list) and len(cast("list[Any]", one)) == len(cast("list[Any]", other)):
        return [settled(*pair) for pair in zip(cast("list[Any]", one), cast("list[Any]", other), strict=True)]
    return cast("Any", one) if one == other else VARIES


def differences(known: Any, new: Any, where: str) -> Iterator[str]:
    """In what a run differs from the settled one, a line each."""
    new = _decoded(new)
    if known == VARIES:
        return
    if isinstance(known, dict) and isinstance(new, dict):
        was, now = cast("dict[str, Any]", known), cast("dict[str, Any]", new)
        for name in sorted(was.keys() | now.keys()):
            if name in was and name in now:
                yield from differences(was[name], now[name], f"{where} {name}")
            elif was.get(name) != VARIES:
                yield f"{where} {name}: " + (f"gone, was {_short(was[name])}" if name in was else f"new, {_short(now[name])}")
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
    """In what the consumer here differs from the one of a revision, a line each. Raises UserError where either does not run."""
    known = consumers()
    if function not in known:
        raise UserError(f"FUNCTION must be a consumer of events ({', '.join(sorted(known))}), not {function!r}")
    module, types = known[function]
    if not any(event["type"] in types for event in events):
        raise UserError(f"none of the {len(events)} events is one that {function} takes")
    with ui.stage(f"{module.replace('.handlers.', '/')}") as stage, TemporaryDirectory() as folder:
        checked_out(base, Path(folder))
        stage.detail = f"as at {base}"
        before = [consumed(Path(folder), module, types, events) for _ in range(2)]
        stage.detail = "as it is here"
        found = list(differences(settled(*before), consumed(ROOT, module, types, events), ""))
        taken = sum(event["type"] in types for event in events)
        stage.detail = f"{taken} of {len(events)} events, {len(found)} differences from {base}"
    return [line.strip() for line in found]


def main(arguments: Namespace) -> int:
    """Print the differences; 1 where there are any."""
    events = read(Path(arguments.events)) if arguments.events else captured(targets.chosen(arguments.stack))
    found = compare(arguments.function, arguments.base, events)
    for line in found[:SHOWN]:
        ui.console.print(f"  ✗ {line}", style="red")
    if len(found) > SHOWN:
        ui.console.print(f"  and {len(found) - SHOWN} more", style="dim")
    return 1 if found else 0
