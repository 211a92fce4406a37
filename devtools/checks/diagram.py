"""Draws the pipeline from template.yaml into docs/architecture.md, so that the picture cannot go out of date.

Nodes are the resources that work or hold something, grouped by the template's sections. Solid arrows are what a resource
sends, calls or writes; dotted ones are where a dead letter goes. They come from triggers, targets, subscriptions and roles.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from devtools import cli, template
from devtools.target import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- drawn by make diagram -->", "<!-- end of drawing -->"

SHAPES = {
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
    "AWS::Scheduler::Schedule": '(("{0}"))',
}
_SENDS = ("PutItem", "UpdateItem", "DeleteItem", "PutObject", "PutEvents", "PutRecords", "SendMessage", "Publish", "StartExecution")


def drawing() -> str:
    """Return the Mermaid text of the pipeline."""
    resources = template.source()["Resources"]
    lines = ["flowchart LR"]
    for title, names in _sections(resources):
        lines += [f'  subgraph "{title}"', *(f"    {name}{_shape(resources[name], name)}" for name in names), "  end"]
    known = {name for name, resource in resources.items() if resource["Type"] in SHAPES}
    found = {*_edges(resources), *_deliveries(resources)}
    edges = sorted(edge for edge in found if edge[0] in known and edge[2] in known and edge[0] != edge[2])
    return "\n".join([*lines, *(f"  {source} {arrow} {target}" for source, arrow, target in edges)])


def _sections(resources: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield the template's sections in their order, each with those of its resources that are drawn."""
    text = (ROOT / "template.yaml").read_text("utf-8").partition("\nResources:\n")[2].partition("\nOutputs:\n")[0]
    for title, body in re.findall(r"^  # ([^\n]+)\.\n\n(.*?)(?=^  # [^\n]+\.\n\n|\Z)", text, re.MULTILINE | re.DOTALL):
        names = [name for name in re.findall(r"^  (\w+):$", body, re.MULTILINE) if resources[name]["Type"] in SHAPES]
        if names:
            yield title, names


def _shape(resource: dict[str, Any], name: str) -> str:
    return SHAPES[resource["Type"]].format(name)


def _edges(resources: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::Serverless::Api":
                yield name, "-->", "IdentityAuthorize"
            case "AWS::Serverless::Function":
                yield from _of_function(name, properties, resources)
            case "AWS::Serverless::StateMachine":
                yield from ((name, "-->", _id(target)) for target in properties["DefinitionSubstitutions"].values())
            case "AWS::Events::Rule":
                yield _id(properties["EventBusName"]), "-->", name
                for target in properties["Targets"]:
                    yield name, "-->", _id(target["Arn"])
                    yield name, "-.->", _id(target["DeadLetterConfig"]["Arn"])
            case "AWS::SNS::Subscription" if properties["Protocol"] == "sqs":
                yield _id(properties["TopicArn"]), "-->", _id(properties["Endpoint"])
                yield _id(properties["TopicArn"]), "-.->", _id(properties["RedrivePolicy"]["deadLetterTargetArn"])
            case "AWS::SQS::Queue" if "RedrivePolicy" in properties:
                yield name, "-.->", _id(properties["RedrivePolicy"]["deadLetterTargetArn"])
            case "AWS::Scheduler::Schedule":
                yield name, "-->", _id(properties["Target"]["Arn"])
                yield name, "-.->", _id(properties["Target"]["DeadLetterConfig"]["Arn"])
            case _:
                pass


def _deliveries(resources: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, resource in resources.items():
        if resource["Type"] == "AWS::KinesisFirehose::DeliveryStream":
            properties = resource["Properties"]
            yield _id(properties["KinesisStreamSourceConfiguration"]["KinesisStreamARN"]), "-->", name
            yield name, "-->", _id(properties["ExtendedS3DestinationConfiguration"]["BucketARN"])


def _of_function(name: str, properties: dict[str, Any], resources: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    dead: set[str] = set()
    for event in properties.get("Events", {}).values():
        given = event["Properties"]
        yield _id(given.get("RestApiId") or given.get("Stream") or given.get("Queue")), "-->", name
        dead |= _failures(given)
    dead |= _failures(properties.get("EventInvokeConfig", {}))
    yield from ((name, "-.->", target) for target in dead)
    role = resources[f"{name}Role"]["Properties"]
    shared = [resources[_id(policy)]["Properties"] for policy in role.get("ManagedPolicyArns", []) if "Ref" in policy]
    for granted in (role["Policies"][0], *shared):
        for statement in granted["PolicyDocument"]["Statement"]:
            yield from ((name, "-->", target) for target in _targets(statement) - dead)


def _targets(statement: dict[str, Any]) -> set[str]:
    """Return what a statement lets its function send to or write; what it only reads would crowd the picture."""
    granted = statement.get("Fn::If", [None, statement])[1]
    named = granted["Resource"] if isinstance(granted["Resource"], list) else [granted["Resource"]]
    sends = any(action.endswith(_SENDS) for action in granted["Action"])
    return {_id(resource) for resource in named} if sends else set()


def _failures(properties: dict[str, Any]) -> set[str]:
    target = properties.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
    return {_id(target)} if target else set()


def _id(value: Any) -> str:
    match value:
        case {"Ref": str() as name} | {"Fn::GetAtt": [str() as name, *_]}:
            return name
        case {"Fn::Sub": str() as text} if found := re.fullmatch(r"\$\{(\w+)\.Arn\}/\*", text):
            return found[1]
        case _:
            return ""


def main() -> int:
    """Write the drawing into the page, or with --check tell whether it is current."""
    page = PAGE.read_text("utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        message = f"{PAGE.relative_to(ROOT)} needs the lines {BEGIN} and {END}, once each"
        raise cli.UserError(message)
    before, _, rest = page.partition(BEGIN)
    drawn = f"{before}{BEGIN}\n```mermaid\n{drawing()}\n```\n{END}{rest.partition(END)[2]}"
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(drawn, "utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
    elif drawn != page:
        message = f"{PAGE.relative_to(ROOT)} is not what template.yaml says: run `make diagram`"
        raise cli.UserError(message)
    return 0


if __name__ == "__main__":
    cli.run(main)
