"""The routes of events: producers from the facets of an order, consumers from the rules and filters of the template.

The template is the one source of routes. `modules` generates the parts that code needs.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from devtools import template
from devtools.target import ROOT
from orderflow.domain import events, remediation_events
from orderflow.domain.ledger_events import SOURCE, LedgerDifferenceFound

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

type Resources = dict[str, dict[str, Any]]

# The contexts that append an event, or publish it.
PRODUCERS: dict[str, tuple[str, ...]] = {
    **events.PRODUCERS,
    LedgerDifferenceFound.type: (SOURCE,),
    **{event.type: (remediation_events.SOURCE,) for event in remediation_events.EVENTS},
}
# A module with the events that are routed to the consumers of a context, for rules that read them. It is updated where it exists.
ROUTED = "functions/*/domain/routed_events.py"
QUEUES = ROOT / "functions" / "operations" / "consumer_queues.py"


@dataclass(frozen=True, order=True)
class Consumer:
    """A consumer of an event, and the rule or stream that delivers it."""

    name: str
    by: str


@dataclass(frozen=True)
class Routes:
    """The consumers of each event, and the events that are not on the bus."""

    consumers: dict[str, tuple[Consumer, ...]]
    stream_only: frozenset[str]


def routes(known: Collection[str]) -> Routes:
    """Return the template's routes of these event types."""
    resources: Resources = template.translated()["Resources"]
    found: dict[str, set[Consumer]] = {name: set() for name in known}
    for types, consumer in [*_by_rules(resources), *_by_streams(resources)]:
        for name in types & found.keys():
            found[name].add(consumer)
    return Routes({name: tuple(sorted(consumers)) for name, consumers in found.items()}, frozenset(events.STREAM_ONLY_EVENTS))


def rules(resources: Resources) -> dict[str, frozenset[str]]:
    """Return the event types that each rule of the bus matches, by logical id."""
    return {name: frozenset(properties["EventPattern"]["detail-type"]) for name, properties in _of_bus(resources)}


def _of_bus(resources: Resources) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rules of the stack's bus; AWS's services publish to the default bus, which a rule does not name."""
    return ((name, properties) for name, properties in _of(resources, "AWS::Events::Rule") if "EventBusName" in properties)


def streamed(resources: Resources) -> dict[str, frozenset[str]]:
    """Return the event types that the filter of each stream mapping matches, by logical id."""
    found = {
        name: frozenset(_types(json.loads(entry["Pattern"])))
        for name, properties in _of(resources, "AWS::Lambda::EventSourceMapping")
        for entry in properties.get("FilterCriteria", {}).get("Filters", [])
    }
    return {name: types for name, types in found.items() if types}


def consumed(resources: Resources) -> dict[str, frozenset[str]]:
    """Return the event types that are routed to each function, `payments/settle_payment`, by a rule or a stream."""
    found = defaultdict[str, set[str]](set)
    for types, consumer in [*_by_rules(resources), *_by_streams(resources)]:
        found[consumer.name.strip("`")] |= types
    return {name: frozenset(types) for name, types in found.items() if types and "/" in name}


def queues(resources: Resources) -> dict[str, frozenset[str]]:
    """Return the queues that feed a consumer, by their names without the stack's, with the event types that a stream brings it."""
    read = {_id(properties["EventSourceArn"]): _id(properties["FunctionName"]) for _, properties in _mappings(resources)}
    by_stream = defaultdict[str, frozenset[str]](frozenset)
    for mapping, types in streamed(resources).items():
        by_stream[_id(resources[mapping]["Properties"]["FunctionName"])] |= types
    return {
        properties["QueueName"]["Fn::Sub"].removeprefix("${AWS::StackName}-"): by_stream[read.get(name, "")]
        for name, properties in _of(resources, "AWS::SQS::Queue")
        if "RedrivePolicy" in properties
    }


def modules(resources: Resources) -> dict[Path, str]:
    """Return the text of each module that holds routes of the template, by its path."""
    found = {QUEUES: _queues_module(queues(resources))}
    for path in ROOT.glob(ROUTED):
        context = path.parents[1].name
        own = {name.partition("/")[2]: types for name, types in consumed(resources).items() if name.startswith(f"{context}/")}
        found[path] = _routed_module(own)
    return found


def _routed_module(routed: dict[str, frozenset[str]]) -> str:
    sets = (f"{name.upper()} = {_frozenset(types)}" for name, types in routed.items())
    return "\n".join(
        ['"""The events that the template routes to each consumer of this context. Written by `make contracts`."""', "", *sets, ""]
    )


def _queues_module(found: dict[str, frozenset[str]]) -> str:
    return "\n".join(
        [
            '"""The queues of the template that feed a consumer. Written by `make contracts`."""',
            "",
            "# Names without the stack's, with the event types that a stream brings the consumer beside its queue.",
            "QUEUES = {",
            *(f'    "{name}": {_frozenset(types, "    ")},' for name, types in found.items()),
            "}",
            "",
        ]
    )


def _frozenset(types: Collection[str], indent: str = "") -> str:
    """Return the set's expression as Ruff formats it."""
    if not types:
        return "frozenset[str]()"
    members = [f'{indent}        "{name}",' for name in _in_order(types)]
    return "\n".join(["frozenset(", f"{indent}    {{", *members, f"{indent}    }}", f"{indent})"])


def with_archived_types(text: str) -> str:
    """Return the template's text with every event type in the list by which Athena finds the partitions of the audit archive."""
    rows, row = list[str](), ""
    for name in (*events.EVENT_TYPES, *(event.type for event in remediation_events.EVENTS)):
        if len(row) + len(name) > 120:
            rows, row = [*rows, row], ""
        row += f"{name}, "
    written = "\n".join(("            - [" if number == 0 else "               ") + one.rstrip() for number, one in enumerate([*rows, row]))
    return re.sub(
        r"(?<=projection\.type\.values: !Join\n            - ','\n) {12}- \[[\w,\s]*\]", lambda _: f"{written.removesuffix(',')}]", text
    )


def _in_order(types: Collection[str]) -> list[str]:
    """Return event types as the facets register them; unknown ones come last."""
    known = list(events.EVENT_TYPES)
    return sorted(types, key=lambda name: (known.index(name) if name in known else len(known), name))


def _by_rules(resources: Resources) -> Iterator[tuple[set[str], Consumer]]:
    for rule, properties in _of(resources, "AWS::Events::Rule"):
        types = set(properties["EventPattern"]["detail-type"])
        for target in properties["Targets"]:
            for some, name in _reached(resources, _id(target["Arn"]), types):
                yield some, Consumer(name, f"rule `{rule}`{_when(properties['EventPattern'])}")


def _when(pattern: dict[str, Any]) -> str:
    return ", replays alone" if pattern.get("replay-name") == [{"exists": True}] else ""


def _reached(resources: Resources, target: str, types: set[str]) -> Iterator[tuple[set[str], str]]:
    """Yield the consumers behind a rule's target or its topic, each with the event types that reach it."""
    match resources[target]["Type"]:
        case "AWS::SQS::Queue":
            yield from ((types, _name(resources, function)) for function, _ in _readers(resources, target))
        case "AWS::SNS::Topic":
            for _, properties in _of(resources, "AWS::SNS::Subscription"):
                if _id(properties["TopicArn"]) == target:
                    passed = types & set(properties.get("FilterPolicy", {}).get("detail-type", types))
                    yield from _reached(resources, _id(properties["Endpoint"]), passed)
        case "AWS::Lambda::Function" | "AWS::StepFunctions::StateMachine":
            yield types, _name(resources, target)
        case other:
            message = f"a rule's events go to {target}, and the consumer of an {other} is unknown"
            raise NotImplementedError(message)


def _by_streams(resources: Resources) -> Iterator[tuple[set[str], Consumer]]:
    """Yield the consumers with a filter on a stream; readers without a filter forward events."""
    streams = [name for name, resource in resources.items() if resource["Type"] in {"AWS::Kinesis::Stream", "AWS::DynamoDB::Table"}]
    for stream in streams:
        for function, properties in _readers(resources, stream):
            for entry in properties.get("FilterCriteria", {}).get("Filters", []):
                yield _types(json.loads(entry["Pattern"])), Consumer(_name(resources, function), f"stream `{stream}`")


def _readers(resources: Resources, source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for _, properties in _mappings(resources):
        if _id(properties["EventSourceArn"]) == source:
            yield _id(properties["FunctionName"]), properties


def _mappings(resources: Resources) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from _of(resources, "AWS::Lambda::EventSourceMapping")


def _types(pattern: dict[str, Any]) -> set[str]:
    """Return the event types that a stream's filter names: under `type`, as DynamoDB writes them or as they are."""
    named = pattern.get("type")
    if isinstance(named, dict):
        named = cast("dict[str, Any]", named).get("S")
    if isinstance(named, list):
        return {name for name in cast("list[Any]", named) if isinstance(name, str)}
    return {name for part in pattern.values() if isinstance(part, dict) for name in _types(cast("dict[str, Any]", part))}


def _of(resources: Resources, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from ((name, resource["Properties"]) for name, resource in resources.items() if resource["Type"] == kind)


def _name(resources: Resources, logical_id: str) -> str:
    """Return the name of a function's module, `payments/settle_payment`, or of a state machine's definition."""
    properties = resources[logical_id]["Properties"]
    handler = properties.get("Handler", "")
    return f"`{handler.removesuffix('.handler').replace('.handlers.', '/')}`" if handler else f"the state machine `{logical_id}`"


def _id(value: Any) -> str:
    match value:
        case {"Ref": str() as name} | {"Fn::GetAtt": [str() as name, *_]}:
            return name
        case _:
            return ""
