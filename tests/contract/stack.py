"""The translated template as a graph of references and grants."""

from __future__ import annotations

import copy
import json
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# How SAM names an alias after the function's logical id.
ALIAS = "Aliaslive"

type Properties = dict[str, Any]
type Grant = tuple[str, str]

# The actions of the managed policies that SAM attaches, each for any resource
# (https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html).
_LOGS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
_SAMPLING = ("xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:GetSamplingStatisticSummaries")
AWS_MANAGED = {
    "service-role/AWSLambdaBasicExecutionRole": _LOGS,
    "AWSXrayWriteOnlyAccess": ("xray:PutTraceSegments", "xray:PutTelemetryRecords", *_SAMPLING),
    "service-role/AWSLambdaSQSQueueExecutionRole": ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", *_LOGS),
    "service-role/AWSLambdaKinesisExecutionRole": (
        *(f"kinesis:{action}" for action in ("DescribeStream", "DescribeStreamSummary", "GetRecords", "GetShardIterator")),
        *("kinesis:ListShards", "kinesis:ListStreams", "kinesis:SubscribeToShard"),
        *_LOGS,
    ),
    "service-role/AWSLambdaDynamoDBExecutionRole": (
        *(f"dynamodb:{action}" for action in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")),
        *_LOGS,
    ),
}
# The service and prefix in the ARN of a named resource, and the property with its name. Without a name CloudFormation generates one that
# starts with the stack's (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-name.html).
_ARNS = {
    "DynamoDB::Table": ("dynamodb", "table/", "TableName"),
    "SQS::Queue": ("sqs", "", "QueueName"),
    "SNS::Topic": ("sns", "", "TopicName"),
    "Kinesis::Stream": ("kinesis", "stream/", "Name"),
    "StepFunctions::StateMachine": ("states", "stateMachine:", "StateMachineName"),
    "Logs::LogGroup": ("logs", "log-group:", "LogGroupName"),
    "SecretsManager::Secret": ("secretsmanager", "secret:", "Name"),
}


def with_nested(template: Mapping[str, Any], nested: Mapping[str, Any], name: str = "Observability") -> dict[str, Any]:
    """Return a translated template with the resources of a nested stack merged into it."""
    merged = copy.deepcopy(dict(template))
    given = merged["Resources"][name]["Properties"]["Parameters"]
    outputs = {f"Outputs.{key}": output["Value"] for key, output in nested["Outputs"].items()}

    def resolved(value: Any) -> Any:
        match value:
            case {"Ref": parameter} if parameter in given:
                return given[parameter]
            case {"Fn::Sub": str() as text}:
                return {"Fn::Sub": text.replace("${StackName}", "${AWS::StackName}")}
            case dict():
                return {key: resolved(one) for key, one in value.items()}
            case list():
                return [resolved(one) for one in value]
            case _:
                return value

    def referring(value: Any) -> Any:
        match value:
            case {"Fn::GetAtt": [stack, attribute]} if stack == name:
                return outputs[attribute]
            case dict():
                return {key: referring(one) for key, one in value.items()}
            case list():
                return [referring(one) for one in value]
            case _:
                return value

    merged["Resources"] = referring(merged["Resources"]) | resolved(nested["Resources"])
    return merged


class Stack:
    """The resources of a translated template, found by type and reference."""

    def __init__(self, template: Mapping[str, Any], **parameters: str) -> None:
        """Read `template`, already translated, as deployed with these parameters and defaults for the others."""
        self.resources: dict[str, dict[str, Any]] = template["Resources"]
        self.outputs: dict[str, dict[str, Any]] = template["Outputs"]
        self.conditions: dict[str, Any] = template["Conditions"]
        # Results cached for this stack, which is never modified.
        self._grants: dict[tuple[str, bool], set[Grant]] = {}
        self._granted_each: dict[tuple[str, str], list[Grant]] = {}
        self._arns: dict[str, str] = {}
        self.parameters = {name: str(spec.get("Default", "")) for name, spec in template["Parameters"].items()} | parameters

    def of(self, *kinds: str) -> dict[str, Properties]:
        """Return the properties of all resources of these types by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] in {f"AWS::{kind}" for kind in kinds}
        }

    def kind(self, name: str) -> str:
        """Return the type of a resource without its prefix AWS::, or "" for an unknown resource."""
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
        """Return whether the stack has a resource under its parameters."""
        resource = self.resources.get(name)
        return resource is not None and ("Condition" not in resource or self.holds({"Condition": resource["Condition"]}))

    def chosen(self, values: list[Any]) -> Iterator[Any]:
        """Return the elements of a list with Fn::If resolved by the stack's parameters."""
        for value in values:
            match value:
                case {"Fn::If": [condition, yes, no]}:
                    yield from self.chosen([yes if self.holds({"Condition": condition}) else no])
                case {"Ref": "AWS::NoValue"}:
                    pass
                case _:
                    yield value

    def statements(self, role: str) -> Iterator[dict[str, Any]]:
        """Return every statement of a role's policies: inline ones, referenced ones, and those attached by the policy."""
        properties = self.resources[role]["Properties"]
        documents = [policy["PolicyDocument"] for policy in self.chosen(properties.get("Policies", []))]
        named = [referred(policy) for policy in self.chosen(properties.get("ManagedPolicyArns", []))]
        documents += [self.resources[name]["Properties"]["PolicyDocument"] for name in named if self.exists(name)]
        for actions in filter(None, map(AWS_MANAGED.get, map(aws_managed, properties.get("ManagedPolicyArns", [])))):
            yield {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        attaching = self.of("IAM::ManagedPolicy", "IAM::Policy", "IAM::RolePolicy")
        documents += [
            policy["PolicyDocument"]
            for name, policy in attaching.items()
            if self.exists(name) and role in map(referred, [*self.chosen(policy.get("Roles", [])), policy.get("RoleName")])
        ]
        for document in documents:
            yield from self.chosen(listed(document["Statement"]))

    def grants(self, role: str, *, bounded: bool = True) -> set[Grant]:
        """Return what a role may do: pairs of action and the resource's logical id ("*" for any).

        Allowed by the policies and, if `bounded`, by the permissions boundary, and not denied by a statement. Within the
        boundary, a policy for any resource grants each resource of the stack.
        """
        if (role, bounded) not in self._grants:
            self._grants[role, bounded] = self._compute_grants(role, bounded=bounded)
        return set(self._grants[role, bounded])

    def _compute_grants(self, role: str, *, bounded: bool) -> set[Grant]:
        allowed = {
            (action, referred(resource))
            for statement in self.statements(role)
            if statement["Effect"] == "Allow"
            for action in listed(statement["Action"])
            for resource in self.chosen(listed(statement["Resource"]))
        }
        if bounded and "PermissionsBoundary" in self.resources[role]["Properties"]:
            boundary = referred(self.resources[role]["Properties"]["PermissionsBoundary"])
            allowed = {found for action, name in allowed for found in self._within(boundary, action, name)}
        if not any(one["Effect"] == "Deny" for one in self.statements(role)):
            return allowed
        return {(action, name) for action, name in allowed if not self.denied(role, action, name)}

    def denied(self, role: str, action: str, name: str) -> bool:
        """Return whether a statement of a role denies an action on a resource."""
        denials = [one for one in self.statements(role) if one["Effect"] == "Deny" and action in listed(one["Action"])]
        return any(
            name not in map(referred, listed(one["NotResource"]))
            if "NotResource" in one
            else name in map(referred, listed(one["Resource"]))
            for one in denials
            if name != "*"
        )

    def boundary(self, policy: str) -> list[tuple[str, str]]:
        """Return the permissions of a boundary: pairs of action and ARN pattern."""
        document = self.resources[policy]["Properties"]["PolicyDocument"]
        return [
            (action, self._arn(referred(resource)))
            for statement in document["Statement"]
            for action in listed(statement["Action"])
            for resource in self.chosen(listed(statement["Resource"]))
        ]

    def _within(self, boundary: str, action: str, name: str) -> list[Grant]:
        if (action, name) not in self._granted_each:
            patterns = [pattern for known, pattern in self.boundary(boundary) if known == action]
            names = [name] if name != "*" or "*" in patterns else list(self.resources) if patterns else []
            found = [(action, one) for one in names if any(fnmatchcase(self._arn(one), pattern) for pattern in patterns)]
            self._granted_each[action, name] = found
        return self._granted_each[action, name]

    def _arn(self, name: str) -> str:
        """Return the ARN of a resource by logical id (with a suffix, such as an index), with the name that the template sets."""
        if name not in self._arns:
            self._arns[name] = self._resolve_arn(name)
        return self._arns[name]

    def _resolve_arn(self, name: str) -> str:
        logical, slash, rest = name.partition("/")
        if self.kind(logical) not in _ARNS:
            return name
        service, before, attribute = _ARNS[self.kind(logical)]
        named = self.resources[logical]["Properties"].get(attribute, {"Fn::Sub": f"${{AWS::StackName}}-{logical}"})["Fn::Sub"]
        return f"arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{before}{named}{slash}{rest}"

    def named(self, name: Any, kind: str) -> str:
        """Return the logical id of the resource of a type with this name, or "" if there is none."""
        return next((found for found, one in self.of(kind).items() if name in one.values()), "")

    def queue_policies(self, queue: str) -> list[dict[str, Any]]:
        """Return the allowing statements of the policies attached to a queue."""
        return [
            statement
            for policy in self.of("SQS::QueuePolicy").values()
            if queue in map(referred, policy["Queues"])
            for statement in listed(policy["PolicyDocument"]["Statement"])
            if statement["Effect"] == "Allow" and queue in map(referred, listed(statement["Resource"]))
        ]

    def dead_letter_queues(self) -> dict[str, str]:
        """Return every dead-letter queue with the resource that uses it."""
        found: dict[str, str] = {}
        for owner, resource in self.resources.items():
            for value in _dead_letters(resource.get("Properties", {})):
                found[referred(value)] = owner
        return found


def aws_managed(policy: Any) -> str:
    """Return the name of a managed policy of AWS, or "" for another policy."""
    text = policy.get("Fn::Sub", "") if isinstance(policy, dict) else policy
    return str(text).partition(":policy/")[2]


def listed(value: Any) -> list[Any]:
    """Return a list unchanged and any other value as a list of one."""
    return value if isinstance(value, list) else [value]


def branches(value: Any) -> Iterator[Any]:
    """Return the elements of a list, all branches of Fn::If included."""
    for one in listed(value):
        if "Fn::If" in one:
            yield from branches(one["Fn::If"][1:])
        elif one != {"Ref": "AWS::NoValue"}:
            yield one


def referred(value: Any) -> str:
    """Return the logical id that an intrinsic function refers to (with a suffix, such as an index), or a plain string.

    An alias refers to its function.
    """
    match value:
        case str():
            return value
        case {"Ref": name}:
            return name.removesuffix(ALIAS)
        case {"Fn::GetAtt": [name, *_]}:
            return name
        case {"Fn::GetAtt": str() as path}:
            return path.partition(".")[0]
        case {"Fn::Sub": str() as text}:
            found = re.fullmatch(rf"\$\{{([A-Za-z0-9]+?)(?:{ALIAS}|\.Arn)?\}}([^$]*)", text)
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
