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

    def __init__(self, template: Mapping[str, Any], **parameters: str) -> None:
        """Look at `template`, whose serverless resources are expanded, deployed with these parameters and the others' defaults."""
        self.resources: dict[str, dict[str, Any]] = template["Resources"]
        self.outputs: dict[str, dict[str, Any]] = template["Outputs"]
        self.conditions: dict[str, Any] = template["Conditions"]
        self.parameters = {name: str(spec.get("Default", "")) for name, spec in template["Parameters"].items()} | parameters

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

    def holds(self, expression: Any) -> bool:
        """Evaluate a condition under the stack's parameters."""
        [(operator, operands)] = expression.items()
        match operator:
            case "Condition":
                return self.holds(self.conditions[operands])
            case "Fn::Equals":
                left, right = (self.parameters[one["Ref"]] if isinstance(one, dict) else str(one) for one in operands)
                return left == right
            case "Fn::Not":
                return not self.holds(operands[0])
            case "Fn::And":
                return all(map(self.holds, operands))
            case "Fn::Or":
                return any(map(self.holds, operands))
            case _:
                raise ValueError(operator)

    def exists(self, name: str) -> bool:
        """Tell whether the stack has a resource under its parameters."""
        resource = self.resources.get(name)
        return resource is not None and ("Condition" not in resource or self.holds({"Condition": resource["Condition"]}))

    def chosen(self, values: list[Any]) -> Iterator[Any]:
        """Return the elements of a list, those behind Fn::If as the stack's parameters choose them."""
        for value in values:
            match value:
                case {"Fn::If": [condition, yes, no]}:
                    yield from self.chosen([yes if self.holds({"Condition": condition}) else no])
                case {"Ref": "AWS::NoValue"}:
                    pass
                case _:
                    yield value

    def statements(self, role: str) -> Iterator[dict[str, Any]]:
        """Return every statement of a role's policies: its own, those that it names, and those that attach themselves to it."""
        properties = self.resources[role]["Properties"]
        documents = [policy["PolicyDocument"] for policy in self.chosen(properties.get("Policies", []))]
        named = [referred(policy) for policy in self.chosen(properties.get("ManagedPolicyArns", []))]
        documents += [self.resources[name]["Properties"]["PolicyDocument"] for name in named if self.exists(name)]
        attaching = self.of("IAM::ManagedPolicy", "IAM::Policy", "IAM::RolePolicy")
        documents += [
            policy["PolicyDocument"]
            for name, policy in attaching.items()
            if self.exists(name) and role in map(referred, [*self.chosen(policy.get("Roles", [])), policy.get("RoleName")])
        ]
        for document in documents:
            yield from self.chosen(listed(document["Statement"]))

    def grants(self, role: str) -> set[tuple[str, str]]:
        """Return what a role may do: pairs of action and the resource's logical id ("*" for any)."""
        return {
            (action, referred(resource))
            for statement in self.statements(role)
            if statement["Effect"] == "Allow"
            for action in listed(statement["Action"])
            for resource in listed(statement["Resource"])
        }

    def queue_policies(self, queue: str) -> list[dict[str, Any]]:
        """Return the statements that allow something by the policies that are attached to a queue."""
        return [
            statement
            for policy in self.of("SQS::QueuePolicy").values()
            if queue in map(referred, policy["Queues"])
            for statement in listed(policy["PolicyDocument"]["Statement"])
            if statement["Effect"] == "Allow" and queue in map(referred, listed(statement["Resource"]))
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
