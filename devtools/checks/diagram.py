"""Draws the resources of template.yaml into docs/resources.md, one diagram per context.

A diagram shows the functions of a context and the workflows, with the resources that they use. Solid arrows show
triggers, messages and writes, dotted arrows dead letters. Reads are omitted. A queue, rule, topic or schedule that
serves one context only is followed to its source; shared resources end the picture.
"""

from __future__ import annotations

import re
from argparse import Namespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from devtools import cli, template
from devtools.target import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    type Resources = Mapping[str, dict[str, Any]]

PAGE = ROOT / "docs/resources.md"
_INTRODUCTION = """# Resources by context

<!-- written by make diagram -->

`make diagram` generates this page from `template.yaml`. Names are logical ids. Solid arrows show triggers, messages and writes,
dotted arrows dead letters. Reads are omitted, and so are the messages of `OperationsRedrive`, which may send to every queue.
[Architecture](architecture.md) shows all contexts in one diagram.
"""

_SHAPES = {
    "AWS::Serverless::Api": '[/"{0}"\\]',
    "AWS::Serverless::Function": '["λ {0}"]',
    "AWS::DynamoDB::Table": '[("{0}")]',
    "AWS::S3::Bucket": '[("{0}")]',
    "AWS::Kinesis::Stream": '[["{0}"]]',
    "AWS::KinesisFirehose::DeliveryStream": '["{0}"]',
    "AWS::Events::EventBus": '{{{{"{0}"}}}}',
    "AWS::Events::Rule": '>"{0}"]',
    "AWS::Serverless::StateMachine": '[["{0}"]]',
    "AWS::SQS::Queue": '[\\"{0}"/]',
    "AWS::SNS::Topic": '(["{0}"])',
}
_SCHEDULE = '("⏱ {0}")'
# A diagram follows these to their source, as long as they serve its context only.
_CARRIERS = {"AWS::Events::Rule", "AWS::SQS::Queue", "AWS::SNS::Topic"}
# It may send to every queue and topic, which would connect all contexts.
_REDRIVE = "OperationsRedrive"
_SENDS = ("PutItem", "UpdateItem", "DeleteItem", "PutObject", "PutEvents", "PutRecords", "SendMessage", "Publish", "StartExecution")


class Edge(NamedTuple):
    """An arrow from one resource to another; `arrow` is Mermaid's."""

    source: str
    arrow: str
    target: str


def page() -> str:
    """Return docs/resources.md."""
    resources = template.source()["Resources"]
    schedules: dict[str, str] = {}
    edges = sorted(set(_edges(resources, schedules)))
    shapes = {name: _SHAPES[resource["Type"]].format(name) for name, resource in resources.items() if resource["Type"] in _SHAPES}
    shapes |= {name: _SCHEDULE.format(expression) for name, expression in schedules.items()}
    drawn = [edge for edge in edges if edge.source in shapes and edge.target in shapes and edge.source != edge.target]
    parts = [_INTRODUCTION]
    for title, members in _groups(resources):
        found = sorted(_reached(members, drawn, resources))
        names = dict.fromkeys([*members, *(end for edge in found for end in (edge.source, edge.target))])
        lines = ["flowchart LR", *(f"  {name}{shapes[name]}" for name in names), *(f"  {' '.join(edge)}" for edge in found)]
        parts.append(f"\n## {title}\n\n```mermaid\n{'\n'.join(lines)}\n```\n")
    return "".join(parts)


def _groups(resources: Resources) -> list[tuple[str, list[str]]]:
    """Return the contexts in the template's order, each with its functions, then the workflows and the event stream's consumers."""
    groups: dict[str, list[str]] = {}
    for name in resources:
        if context := _context(resources, name):
            groups.setdefault(context, []).append(name)
    workflows = [name for name, resource in resources.items() if resource["Type"] == "AWS::Serverless::StateMachine"]
    deliveries = [name for name, resource in resources.items() if resource["Type"] == "AWS::KinesisFirehose::DeliveryStream"]
    return [*groups.items(), ("workflows", workflows), ("audit archive", deliveries)]


def _context(resources: Resources, name: str) -> str:
    resource = resources.get(name, {})
    is_function = resource.get("Type") == "AWS::Serverless::Function"
    return resource["Properties"]["Handler"].partition(".")[0] if is_function else ""


def _reached(members: Iterable[str], edges: list[Edge], resources: Resources) -> set[Edge]:
    """Return the edges of a group: those of its members, and those of carriers that no other group uses."""
    owners: dict[str, set[str]] = {}
    for edge in edges:
        for one, other in ((edge.source, edge.target), (edge.target, edge.source)):
            owners.setdefault(one, set()).add(_context(resources, other))
    found: set[Edge] = set()
    seen, waiting = set[str](), list(members)
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for edge in edges:
            if name in edge[::2]:
                found.add(edge)
                waiting += [end for end in edge[::2] if end not in seen and _is_carrier(end, resources, owners)]
    return found


def _is_carrier(name: str, resources: Resources, owners: Mapping[str, set[str]]) -> bool:
    return resources.get(name, {}).get("Type") in _CARRIERS and len(owners[name] - {""}) <= 1


def _edges(resources: Resources, schedules: dict[str, str]) -> Iterator[Edge]:
    """Yield the edges of all resources; `schedules` receives the expression of each schedule."""
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::Serverless::Api":
                authorizers = properties.get("Auth", {}).get("Authorizers", {}).values()
                yield from (Edge(name, "-->", _id(one.get("FunctionArn"))) for one in authorizers)
            case "AWS::Serverless::Function":
                yield from _of_function(name, properties, resources, schedules)
            case "AWS::Serverless::StateMachine":
                yield from (Edge(name, "-->", _id(target)) for target in properties["DefinitionSubstitutions"].values())
                yield from _of_events(name, properties, schedules)
            case "AWS::KinesisFirehose::DeliveryStream":
                yield Edge(_id(properties["KinesisStreamSourceConfiguration"]["KinesisStreamARN"]), "-->", name)
                yield Edge(name, "-->", _id(properties["ExtendedS3DestinationConfiguration"]["BucketARN"]))
            case "AWS::Scheduler::Schedule":
                schedules[name] = _expression(properties["ScheduleExpression"])
                yield from _target(name, properties["Target"])
            case kind:
                yield from _of_messaging(kind, name, properties)


def _of_messaging(kind: str, name: str, properties: dict[str, Any]) -> Iterator[Edge]:
    match kind:
        case "AWS::Events::Rule":
            if "EventBusName" in properties:  # AWS's services publish to the default bus.
                yield Edge(_id(properties["EventBusName"]), "-->", name)
            for target in properties["Targets"]:
                yield from _target(name, target)
        case "AWS::SNS::Subscription" if properties["Protocol"] == "sqs":
            yield Edge(_id(properties["TopicArn"]), "-->", _id(properties["Endpoint"]))
            yield Edge(_id(properties["TopicArn"]), "-.->", _id(properties["RedrivePolicy"]["deadLetterTargetArn"]))
        case "AWS::SQS::Queue" if "RedrivePolicy" in properties:
            yield Edge(name, "-.->", _id(properties["RedrivePolicy"]["deadLetterTargetArn"]))
        case _:
            pass


def _target(name: str, target: dict[str, Any]) -> Iterator[Edge]:
    yield Edge(name, "-->", _id(target["Arn"]))
    yield Edge(name, "-.->", _id(target.get("DeadLetterConfig", {}).get("Arn")))


def _of_function(name: str, properties: dict[str, Any], resources: Resources, schedules: dict[str, str]) -> Iterator[Edge]:
    edges = [*_of_events(name, properties, schedules), *_failures(name, properties.get("EventInvokeConfig", {}))]
    yield from edges
    if name == _REDRIVE:
        return
    dead = {edge.target for edge in edges if edge.arrow == "-.->"}
    for statement in _statements(name, properties, resources):
        yield from (Edge(name, "-->", target) for target in _targets(statement) - dead)


def _of_events(name: str, properties: dict[str, Any], schedules: dict[str, str]) -> Iterator[Edge]:
    for key, event in properties.get("Events", {}).items():
        given = event["Properties"]
        if expression := given.get("ScheduleExpression"):
            schedules[name + key] = _expression(expression)
            yield Edge(name + key, "-->", name)
            yield Edge(name + key, "-.->", _id(given.get("DeadLetterConfig", {}).get("Arn")))
        else:
            source = next((given[key] for key in ("RestApiId", "Stream", "Queue", "EventBusName") if key in given), None)
            yield Edge(_id(source), "-->", name)
            yield Edge(name, "-.->", _id(given.get("DeadLetterConfig", {}).get("Arn")))
        yield from _failures(name, given)


def _failures(name: str, properties: dict[str, Any]) -> Iterator[Edge]:
    yield Edge(name, "-.->", _id(properties.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")))


def _statements(name: str, properties: dict[str, Any], resources: Resources) -> Iterator[dict[str, Any]]:
    """Yield the statements of a function's policies, written in the function or in a role of its own."""
    role = resources.get(f"{name}Role", {}).get("Properties", {})
    granted = [*properties.get("Policies", []), *role.get("Policies", []), *role.get("ManagedPolicyArns", [])]
    for policy in map(_first, granted):
        shared = resources[policy["Ref"]]["Properties"] if policy.get("Ref") in resources else policy
        document = shared.get("PolicyDocument", shared)
        yield from map(_first, document.get("Statement", []))


def _first(value: Any) -> dict[str, Any]:
    """Return an object, or the first branch of a conditional one; an empty object instead of a string."""
    if not isinstance(value, dict):
        return {}
    found = cast("dict[str, Any]", value)
    return _first(found["Fn::If"][1]) if "Fn::If" in found else found


def _targets(statement: dict[str, Any]) -> set[str]:
    """Return the resources that a statement lets its function send to or write."""
    if statement.get("Effect") != "Allow":
        return set()
    sends = any(str(action).endswith(_SENDS) for action in _listed(statement["Action"]))
    return {_id(resource) for resource in _listed(statement["Resource"])} if sends else set()


def _listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _expression(value: Any) -> str:
    return value if isinstance(value, str) else _id(value)


def _id(value: Any) -> str:
    match value:
        case {"Ref": str() as name} | {"Fn::GetAtt": [str() as name, *_]}:
            # An alias stands for its function.
            return name.partition(".")[0]
        case {"Fn::Sub": str() as text} if found := re.fullmatch(r"\$\{(\w+)(\.Arn)?\}(/.*)?", text):
            return found[1]
        case _:
            return ""


def main(arguments: Namespace) -> int:
    """Write the page, or with --check fail if it is not current."""
    drawn = page()
    if not arguments.check:
        PAGE.write_text(drawn, "utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
    elif not PAGE.exists() or drawn != PAGE.read_text("utf-8"):
        message = f"{PAGE.relative_to(ROOT)} differs from template.yaml: run `make diagram`"
        raise cli.UserError(message)
    return 0
