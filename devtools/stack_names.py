"""How long the name of a stack may be: it begins the names of its resources, whose services limit them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devtools import template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The name of each kind of resource whose service limits it most, and the limit, by AWS's reference of CloudFormation.
LIMITS = {
    "Lambda::Function": ("FunctionName", 64),
    "Events::Archive": ("ArchiveName", 48),
    "KinesisFirehose::DeliveryStream": ("DeliveryStreamName", 64),
    "SQS::Queue": ("QueueName", 80),
    "StepFunctions::StateMachine": ("StateMachineName", 80),
    "Scheduler::Schedule": ("Name", 64),
    "AppConfig::Application": ("Name", 64),
}
PREFIX = "${AWS::StackName}"


def longest(resources: Mapping[str, Any] | None = None) -> int:
    """Return how many characters the name of a stack may have with these resources, by default those of template.yaml."""
    return min(_left(template.source()["Resources"] if resources is None else resources))


def _left(resources: Mapping[str, Any]) -> Iterator[int]:
    for resource in resources.values():
        kind = resource["Type"].removeprefix("AWS::").replace("Serverless::Function", "Lambda::Function")
        attribute, limit = LIMITS.get(kind.replace("Serverless::StateMachine", "StepFunctions::StateMachine"), ("", 0))
        match resource.get("Properties", {}).get(attribute):
            case {"Fn::Sub": str(name)} if PREFIX in name:
                yield limit - len(name.replace(PREFIX, ""))
            case {"Ref": "AWS::StackName"}:
                yield limit
            case _:
                pass
