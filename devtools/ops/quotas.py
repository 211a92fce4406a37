"""The quotas of an account that a deployment of the template can exceed, counted from the template (`make doctor`).

Quota codes and defaults: https://docs.aws.amazon.com/servicequotas/latest/userguide/intro.html, "Service endpoints and quotas" of each
service.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from devtools.ops.findings import Finding, checked
from devtools.target import AWS, Target

type Resources = Mapping[str, Mapping[str, Any]]


def counted(kind: str) -> Callable[[Resources], int]:
    """Return a function that counts the resources of a type."""
    return lambda resources: sum(resource["Type"] == kind for resource in resources.values())


def shards(resources: Resources) -> int:
    """Count the shards of the Kinesis streams."""
    return sum(one["Properties"].get("ShardCount", 0) for one in resources.values() if one["Type"] == "AWS::Kinesis::Stream")


def api_resources(resources: Resources) -> int:
    """Count the resources of the largest REST API: a resource for each part of a path, and the root."""
    return max((_path_parts(one) for one in resources.values() if one["Type"] == "AWS::ApiGateway::RestApi"), default=0)


def _path_parts(api: Mapping[str, Any]) -> int:
    paths = [path.strip("/").split("/") for path in api["Properties"].get("Body", {}).get("paths", {})]
    return 1 + len({tuple(parts[: number + 1]) for parts in paths for number in range(len(parts))})


def _pages(service: str, operation: str, key: str, **options: Any) -> Callable[[Target], int]:
    def count(target: Target) -> int:
        return sum(len(page[key]) for page in target.client(service).get_paginator(operation).paginate(**options))

    return count


def _delivery_streams(target: Target) -> int:
    client, found, more = target.client("firehose"), list[str](), True
    while more:
        page = client.list_delivery_streams(**({"ExclusiveStartDeliveryStreamName": found[-1]} if found else {}))
        found += page["DeliveryStreamNames"]
        more = page["HasMoreDeliveryStreams"] and bool(page["DeliveryStreamNames"])
    return len(found)


def _none(_: Target) -> int:
    """Return 0: the quota limits parts of a resource that the stack creates."""
    return 0


@dataclass(frozen=True)
class Quota:
    """A quota: its service and code in Service Quotas, how many the template has, and how many the account uses."""

    name: str
    service: str
    code: str
    wanted: Callable[[Resources], int]
    used: Callable[[Target], int]


QUOTAS = (
    Quota("DynamoDB tables", "dynamodb", "L-F98FE922", counted("AWS::DynamoDB::Table"), _pages("dynamodb", "list_tables", "TableNames")),
    Quota("Kinesis shards", "kinesis", "L-0918CF54", shards, lambda target: target.client("kinesis").describe_limits()["OpenShardCount"]),
    Quota("Firehose streams", "firehose", "L-14BB0BE7", counted("AWS::KinesisFirehose::DeliveryStream"), _delivery_streams),
    Quota(
        "event buses",
        "events",
        "L-658A4FD9",
        counted("AWS::Events::EventBus"),
        lambda target: len(target.client("events").list_event_buses(Limit=100)["EventBuses"]),
    ),
    Quota("rules of the bus", "events", "L-244521F2", counted("AWS::Events::Rule"), _none),
    Quota(
        "state machines",
        "states",
        "L-B66B0F91",
        counted("AWS::StepFunctions::StateMachine"),
        _pages("stepfunctions", "list_state_machines", "stateMachines"),
    ),
    Quota("resources of the API", "apigateway", "L-01C8A9E0", api_resources, _none),
    Quota(
        "user pools",
        "cognito-idp",
        "L-66E6DF30",
        counted("AWS::Cognito::UserPool"),
        _pages("cognito-idp", "list_user_pools", "UserPools", PaginationConfig={"PageSize": 60}),
    ),
)
# The counts of AWS::IAM, by the names of GetAccountSummary.
IAM_QUOTAS = {"AWS::IAM::Role": ("Roles", "RolesQuota"), "AWS::IAM::ManagedPolicy": ("Policies", "PoliciesQuota")}


def judged(name: str, used: int, limit: int, wanted: int) -> Finding:
    """Judge a quota of the account of which the deployment needs `wanted` more."""
    counts = f"{used} of {limit} are used, the stack needs {wanted}"
    if used + wanted > limit:
        return Finding("stop", name, f"{counts}: raise it in Service Quotas")
    return Finding("ok", name, counts)


def limit_of(client: Any, quota: Quota) -> int:
    """Return the account's value of a quota, the default of AWS where it has no value of its own."""
    try:
        answer = client.get_service_quota(ServiceCode=quota.service, QuotaCode=quota.code)
    except client.exceptions.NoSuchResourceException:
        answer = client.get_aws_default_service_quota(ServiceCode=quota.service, QuotaCode=quota.code)
    return int(answer["Quota"]["Value"])


def examine(target: Target, resources: Resources) -> Iterator[Finding]:
    """Yield a finding about each quota of which a stack with these resources needs some."""
    yield from _iam(target, [resource["Type"] for resource in resources.values()])
    for quota in QUOTAS:
        if wanted := quota.wanted(resources):
            yield checked(quota.name, partial(_examined, target, quota, wanted))


def _examined(target: Target, quota: Quota, wanted: int) -> Finding:
    if target.backend != AWS:
        return Finding("unknown", quota.name, f"unknown: the stack needs {wanted}; local targets have no quotas")
    return judged(quota.name, quota.used(target), limit_of(target.client("service-quotas"), quota), wanted)


def _iam(target: Target, kinds: Iterable[str]) -> Iterator[Finding]:
    wanted, summary = list(kinds), target.client("iam").get_account_summary()["SummaryMap"]
    for kind, (used, limit) in IAM_QUOTAS.items():
        yield judged(f"IAM {kind.rpartition('::')[2]}", summary.get(used, 0), summary[limit], wanted.count(kind))
