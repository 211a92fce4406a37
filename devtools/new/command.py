"""`make new consumer`, `make new endpoint` and `make new context`: write code, template part, samples and tests, all green."""

from __future__ import annotations

import json
import keyword
import os
import re
import subprocess
import sys
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Any, cast

from samcli.yamlhelper import yaml_parse  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from devtools import environments, stack_names, ui, undo
from devtools.cli import UsageError, UserError
from devtools.new import edits
from devtools.target import ROOT
from orderflow.domain.events import EVENT_TYPES, STREAM_ONLY_EVENTS

PARTS = Path(__file__).parent / "parts"
# Generators that read the template and the code; each runs in its own process, to import the new files.
GENERATORS = ("contracts", "openapi", "observability", "diagram")
COSTS = ("idle-cost", "cost")
# A path and a list of events that fit a line of the template and of Python.
LONGEST_PATH = 70
LONGEST_LIST = 100
REQUEST = "orders/list_orders/no-order-yet.json"


EXAMPLES = {
    "consumer": "NAME=orders/send_gifts EVENTS=OrderConfirmed",
    "endpoint": 'NAME=orders/get_tier ROUTE="GET /tier"',
    "context": "NAME=gifts EVENTS=OrderConfirmed",
}


def main(arguments: Namespace) -> int:
    """Write the files and print them.

    Raises:
        UserError: a name is taken or has another form, an event or context is unknown, a generator fails; nothing is written then.
    """
    require_name(arguments.kind, arguments.name)
    with undo.all_or_nothing(ROOT):
        for path in _write_kind(arguments):
            ui.done(str(path.relative_to(ROOT)), "written")
        _generate()
    ui.done("generated files", f"written by make {', '.join((*GENERATORS, *COSTS))}")
    return 0


def _write_kind(arguments: Namespace) -> list[Path]:
    match arguments.kind:
        case "consumer":
            context, module = use_case(arguments.name, "consumer")
            known_context(context)
            written = consumer(context, module, event_types(arguments.events))
        case "endpoint":
            context, module = use_case(arguments.name, "endpoint")
            known_context(context)
            method, path = route(arguments.route)
            free_route(method, path)
            written = endpoint(context, module, method, path)
        case _:
            types = event_types(arguments.events or "OrderConfirmed")
            free_context(arguments.name)
            written = new_context(arguments.name) + consumer(arguments.name, "process_events", types)
    return written


def _generate() -> None:
    """Write the generated files. Raises UserError for a generator that fails, which has printed why."""
    generators = {one: [sys.executable, "-m", "devtools", one] for one in GENERATORS}
    for name, words in (generators | {one: ["make", one, "RECORD=1"] for one in COSTS}).items():
        if subprocess.run(words, cwd=ROOT, check=False, stdout=subprocess.DEVNULL, env=_environment()).returncode:
            raise UserError(f"nothing was written: make {name} failed; make it pass first")


def _environment() -> dict[str, str]:
    """Return the environment without the variables of the running make."""
    return {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MAKE_VARIABLES", "KIND"}}


def require_name(kind: str, name: str) -> None:
    """Raise UsageError, with an example of the kind, where the kind or the name is missing."""
    if not kind:
        raise UsageError(f"the kind is missing: {'; '.join(f'make new {one} {example}' for one, example in EXAMPLES.items())}")
    if not name:
        raise UsageError(f"NAME of the {kind} is missing: make new {kind} {EXAMPLES[kind]}")


def word(text: str, example: str) -> str:
    """Return a name that Python and AWS accept. Raises UserError for another form."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", text):
        raise UserError(f"NAME must be lower-case words joined by _, such as {example}, not {text!r}")
    if keyword.iskeyword(text):
        raise UserError(f"NAME must not be {text!r}, a keyword of Python")
    return text


def use_case(text: str, kind: str) -> tuple[str, str]:
    """Return context and module of NAME=context/use_case. Raises UserError for another form, or one that exists."""
    context, slash, module = text.partition("/")
    if not slash:
        raise UserError(f"NAME must be context/use_case, not {text!r}: make new {kind} {EXAMPLES[kind]}")
    if (ROOT / "functions" / word(context, "orders/send_gifts") / "handlers" / f"{word(module, 'orders/send_gifts')}.py").exists():
        raise UserError(f"functions/{context}/handlers/{module}.py exists: choose another NAME than {text}")
    require_short(context, module)
    own = _values(context, module)["id"]
    _require_free([own] if kind == "endpoint" else [f"{own}{part}" for part in ("", "Rule", "Queue", "QueuePolicy", "DeadLetters")])
    return context, module


def require_short(context: str, module: str) -> None:
    """Raise UserError where the function's name is too long for a stack of samconfig.toml."""
    name, stack = _values(context, module)["name"], max(environments.stacks().values(), key=len)
    _, limit = stack_names.LIMITS["Lambda::Function"]
    if len(f"{stack}-{name}") > limit:
        raise UserError(f"NAME is too long: the function {stack}-{name} has {len(f'{stack}-{name}')} characters, {limit} are allowed")


def _require_free(ids: list[str]) -> None:
    """Raise UserError where a logical id is taken."""
    present = _resources()
    taken = [one for one in ids if one in present]
    if taken:
        raise UserError(f"{taken[0]} is in template.yaml already: choose another NAME")


def _resources() -> dict[str, dict[str, Any]]:
    return cast("dict[str, Any]", yaml_parse((ROOT / "template.yaml").read_text("utf-8")))["Resources"]


def known_context(context: str) -> None:
    """Raise UserError where there is no such context."""
    known = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handlers"))
    if context not in known:
        raise UserError(f"there is no context {context}: known are {', '.join(known)}; make new context NAME={context} adds it")


def event_types(text: str) -> list[str]:
    """Return the event types of EVENTS=A,B. Raises UserError for none, an unknown one, or one that is not on the bus."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    on_bus = [name for name in EVENT_TYPES if name not in STREAM_ONLY_EVENTS]
    if not names or set(names) - set(on_bus):
        raise UserError(f"EVENTS must name events of the bus, separated by commas, not {text!r}: {', '.join(on_bus)}")
    return names


def route(text: str) -> tuple[str, str]:
    """Return method and path of ROUTE. Raises UserError for another form."""
    found = re.fullmatch(r"(GET|POST|PUT|PATCH|DELETE) ((?:/(?:[a-z0-9_-]+|\{[a-z][a-z0-9_]*\}))+)", text.strip())
    if not found:
        raise UserError(f'ROUTE must be a method and a path, such as "GET /tier" or "GET /gifts/{{gift_id}}", not {text!r}')
    if len(found[2]) > LONGEST_PATH:
        raise UserError(f"ROUTE is too long: a path has {LONGEST_PATH} characters at most, not {len(found[2])}")
    return found[1], found[2]


def free_route(method: str, path: str) -> None:
    """Raise UserError where the API has the route, or calls the parameter at its place by another name, which API Gateway rejects."""
    for function, resource in _resources().items():
        is_function = resource["Type"] == "AWS::Serverless::Function"
        events: dict[str, dict[str, Any]] = resource["Properties"].get("Events", {}) if is_function else {}
        for event in events.values():
            if event["Type"] == "Api":
                _compare_routes(function, event["Properties"], method, path)


def _compare_routes(function: str, present: dict[str, str], method: str, path: str) -> None:
    if (present["Method"], present["Path"]) == (method, path):
        raise UserError(f"{method} {path} is a route of {function}: choose another ROUTE")
    for ours, theirs in zip(path.split("/"), present["Path"].split("/"), strict=False):
        if ours.startswith("{") and theirs.startswith("{") and ours != theirs:
            raise UserError(f"{ours} must be {theirs} in {path}, as in {present['Path']}: API Gateway takes one name at a place")
        if ours != theirs:
            return


def free_context(context: str) -> None:
    """Raise UserError where the name of a new context is taken, or would hide a package from the functions."""
    require_short(word(context, "gifts"), "process_events")
    if (ROOT / "functions" / context).exists():
        raise UserError(f"functions/{context} exists: choose another NAME")
    if find_spec(context):
        raise UserError(f"NAME must not be {context!r}, a package of Python or of the dependencies")
    _require_free([f"{''.join(map(str.title, context.split('_')))}Logs"])


def new_context(context: str) -> list[Path]:
    """Write the packages of a context, its section of the template, and its name where contexts are listed."""
    folder = ROOT / "functions" / context
    title = context.replace("_", " ")
    return [
        _write(folder / "__init__.py", f'"""The {title} context."""\n'),
        _write(folder / "domain" / "__init__.py", f'"""Rules of the {title} context: pure functions without AWS."""\n'),
        _write(folder / "handlers" / "__init__.py", f'"""Lambda entry points of the {title} context, one file per use case."""\n'),
        *edits.add_context(ROOT, context),
    ]


def consumer(context: str, module: str, types: list[str]) -> list[Path]:
    """Write a consumer of events of the bus: rule, queues, function, handler, a sample of each event, and a test."""
    words = ", ".join(types)
    if len(words) > LONGEST_LIST:
        words = f"{len(types)} types of events"
    values = _values(context, module) | {"events": words, "events_in_words": words}
    guarded = edits.denies_other_queues(ROOT, context)
    part = _filled("consumer.yaml.txt", values | {"events": "\n".join(f"          - {name}" for name in types), "policies": ""})
    if guarded:
        policies = _filled("consumer_policies.yaml.txt", values)
        part = _filled("consumer.yaml.txt", values | {"events": "\n".join(f"          - {name}" for name in types), "policies": policies})
    written = [
        _write(ROOT / f"functions/{context}/handlers/{module}.py", _filled("consumer.py.txt", values)),
        _write(ROOT / f"tests/unit/{context}/test_{module}.py", _filled("consumer_test.py.txt", values)),
        *edits.add_part(ROOT, context, part, redriven=values["id"]),
    ]
    for name in types:
        stem = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
        sample = ROOT / f"events/{context}/{module}/{stem}.json"
        written += [
            _write(sample, _json(_delivery(name, values["name"]))),
            _write(sample.with_suffix(".answer.json"), _json({"batchItemFailures": []})),
        ]
    return written


def endpoint(context: str, module: str, method: str, path: str) -> list[Path]:
    """Write an endpoint of the API: function, handler, a sample, and a test.

    The OpenAPI document describes it by its docstring, until an operation is written.
    """
    values = _values(context, module) | {"method": method, "path": path}
    sample = ROOT / f"events/{context}/{module}/called.json"
    return [
        _write(ROOT / f"functions/{context}/handlers/{module}.py", _filled("endpoint.py.txt", values)),
        _write(ROOT / f"tests/unit/{context}/test_{module}.py", _filled("endpoint_test.py.txt", values)),
        *edits.add_part(ROOT, context, _filled("endpoint.yaml.txt", values)),
        _write(sample, _json(_request(method, path))),
        _write(sample.with_suffix(".answer.json"), _json({"statusCode": 200, "headers": {"content-type": "application/json"}})),
    ]


def _values(context: str, module: str) -> dict[str, str]:
    words = [*context.split("_"), *module.split("_")]
    logs = "".join(map(str.title, context.split("_"))) + "Logs"
    return {"context": context, "module": module, "id": "".join(map(str.title, words)), "name": "-".join(words), "logs": logs}


def _filled(part: str, values: dict[str, str]) -> str:
    return Template((PARTS / part).read_text("utf-8")).substitute(values)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def _json(document: Any) -> str:
    return json.dumps(document, indent=2) + "\n"


def _delivery(event_type: str, queue: str) -> dict[str, Any]:
    """Return the batch by which Lambda delivers the example of an event from a queue."""
    example = json.loads((ROOT / f"schemas/{event_type}/{EVENT_TYPES[event_type].schema_version}.example.json").read_text("utf-8"))
    sample = json.loads((ROOT / "events/shipping/request_shipment/confirmed.json").read_text("utf-8"))
    [record] = sample["Records"]
    body = json.loads(record["body"]) | {"detail-type": event_type, "source": example["source"], "detail": example}
    arn = record["eventSourceARN"].rpartition(":")[0]
    return {"Records": [record | {"body": json.dumps(body), "eventSourceARN": f"{arn}:{queue}"}]}


def _request(method: str, path: str) -> dict[str, Any]:
    sample = json.loads((ROOT / "events" / REQUEST).read_text("utf-8"))
    names = re.findall(r"\{(\w+)\}", path)
    called = re.sub(r"\{\w+\}", "sample", path)
    context = sample["requestContext"] | {"httpMethod": method, "resourcePath": path, "path": f"/dev{called}"}
    parameters = dict.fromkeys(names, "sample") or None
    return sample | {"resource": path, "path": called, "httpMethod": method, "pathParameters": parameters, "requestContext": context}
