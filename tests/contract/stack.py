"""The translated template as a graph: what refers to what."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

type Properties = dict[str, Any]


class Stack:
    """The resources of a translated template, found by type and by what they refer to."""

    def __init__(self, template: Mapping[str, Any]) -> None:
        """Look at `template`, whose serverless resources are expanded."""
        self.resources: dict[str, dict[str, Any]] = template["Resources"]
        self.outputs: dict[str, dict[str, Any]] = template["Outputs"]
        self.conditions: dict[str, Any] = template["Conditions"]

    def of(self, *kinds: str) -> dict[str, Properties]:
        """Return the properties of all resources of these types by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] in {f"AWS::{kind}" for kind in kinds}
        }

    def kind(self, name: str) -> str:
        """Return the type of a resource without its leading AWS::, or nothing where there is no such resource."""
        return self.resources.get(name, {"Type": ""})["Type"].removeprefix("AWS::")

    def statements(self, role: str) -> Iterator[dict[str, Any]]:
        """Return every statement of a role's policies, those that it is attached to included."""
        properties = self.resources[role]["Properties"]
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        attached = [referred(policy) for policy in properties.get("ManagedPolicyArns", [])]
        documents += [self.resources[name]["Properties"]["PolicyDocument"] for name in attached if name in self.resources]
        for document in documents:
            # Of two forms the first is AWS's: conditions name what is true there.
            yield from (statement["Fn::If"][1] if "Fn::If" in statement else statement for statement in listed(document["Statement"]))

    def grants(self, role: str) -> set[tuple[str, str]]:
        """Return what a role may do: pairs of action and the resource's logical id ("*" for any)."""
        return {
            (action, referred(resource))
            for statement in self.statements(role)
            for action in listed(statement["Action"])
            for resource in listed(statement["Resource"])
        }

    def queue_policies(self, queue: str) -> list[dict[str, Any]]:
        """Return the statements of the policies that are attached to a queue and speak of it."""
        return [
            statement
            for policy in self.of("SQS::QueuePolicy").values()
            if queue in map(referred, policy["Queues"])
            for statement in listed(policy["PolicyDocument"]["Statement"])
            if queue in map(referred, listed(statement["Resource"]))
        ]

    def dead_letter_queues(self) -> dict[str, str]:
        """Return every queue that something gives up into, with who does."""
        found: dict[str, str] = {}
        for owner, resource in self.resources.items():
            for value in _dead_letters(resource.get("Properties", {})):
                found[referred(value)] = owner
        return found


def listed(value: Any) -> list[Any]:
    """Return a list as it is, and anything else as a list of one."""
    return value if isinstance(value, list) else [value]


def referred(value: Any) -> str:
    """Return the logical id that an intrinsic function refers to (with what follows it, as of an index), or a plain string."""
    match value:
        case str():
            return value
        case {"Ref": name}:
            return name
        case {"Fn::GetAtt": [name, *_]}:
            return name
        case {"Fn::GetAtt": str() as path}:
            return path.partition(".")[0]
        case {"Fn::Sub": str() as text}:
            found = re.fullmatch(r"\$\{([A-Za-z0-9]+)(?:\.Arn)?\}([^$]*)", text)
            return "".join(found.groups()) if found else text
        case _:
            return json.dumps(value)


def _dead_letters(properties: Any) -> Iterator[Any]:
    if isinstance(properties, list):
        for value in properties:
            yield from _dead_letters(value)
    if not isinstance(properties, dict):
        return
    for key, value in properties.items():
        match key, value:
            case "DeadLetterConfig", {"Arn": arn}:
                yield arn
            case "OnFailure", {"Destination": arn}:
                yield arn
            case "RedrivePolicy", {"deadLetterTargetArn": arn}:
                yield arn
            case _:
                yield from _dead_letters(value)
