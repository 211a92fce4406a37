"""Check an account before a deployment, and the stack after it: what would stop it, and what to do about it.

The checks read only. The emulator answers the same calls, so locally the same code runs.
"""

import os
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from devtools import environments, template, ui, web
from devtools import target as targets
from devtools.cli import UsageError
from devtools.target import Target

# Lambda keeps so many executions of an account unreserved (Lambda quotas).
UNRESERVED = 100
WEBHOOKS = 2
# A new account may have 10, which an order's functions share with each other.
FEW_EXECUTIONS = 50
BROKEN = frozenset({"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED", "UPDATE_ROLLBACK_FAILED", "REVIEW_IN_PROGRESS"})
# What AWS::IAM counts, by the names of GetAccountSummary.
IAM_QUOTAS = {"AWS::IAM::Role": ("Roles", "RolesQuota"), "AWS::IAM::ManagedPolicy": ("Policies", "PoliciesQuota")}

type Level = Literal["ok", "warning", "stop"]
MARKS: dict[Level, tuple[str, str]] = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "stop": ("✗", "red")}


@dataclass(frozen=True)
class Finding:
    """The result of a check. A `stop` prevents the deployment, or orders; a `warning` limits them."""

    level: Level
    what: str
    detail: str


def concurrency(limit: int, reserved: int) -> Finding:
    """Judge Lambda's limit of concurrent executions of the account; `reserved` is what each webhook reserves."""
    needed = UNRESERVED + WEBHOOKS * reserved
    if reserved and limit < needed:
        return Finding("stop", "concurrency", f"the limit is {limit}; WebhookConcurrency={reserved} needs {needed}: raise it, or set 0")
    if limit < FEW_EXECUTIONS:
        return Finding(
            "warning", "concurrency", f"the limit is {limit}, as in a new account: enough for a trial; raise it in Service Quotas"
        )
    return Finding("ok", "concurrency", f"{limit} concurrent executions")


def sender(address: str, verified: Iterable[str]) -> Finding:
    """Judge the sender of emails; `verified` are the verified identities among the address and its domain."""
    if found := sorted(verified):
        return Finding("ok", "sender", f"{found[0]} is verified in SES")
    return Finding("warning", "sender", f"neither {address} nor its domain is verified in SES: no email leaves; verify one, set EmailFrom")


def sandbox(*, production: bool) -> Finding:
    """Judge whether SES sends to any address."""
    if production:
        return Finding("ok", "SES", "emails reach every address")
    return Finding("warning", "SES", "the account is in the sandbox: emails reach verified addresses only; request production access")


def quota(kind: str, used: int, limit: int, wanted: int) -> Finding:
    """Judge a quota of the account of which the deployment needs `wanted` more."""
    name = kind.rpartition("::")[2]
    if used + wanted > limit:
        return Finding("stop", f"quota {name}", f"{used} of {limit} are used, the stack needs {wanted}: raise it in Service Quotas")
    return Finding("ok", f"quota {name}", f"{used} of {limit} are used, the stack needs {wanted}")


def logging_role(arn: str, stack: str) -> Finding:
    """Judge API Gateway's role for logs, of which an account has one in each region."""
    if arn and stack not in arn:
        return Finding("warning", "API logs", f"{arn} writes them now; the stack replaces it by its own role, for every API of the region")
    return Finding("ok", "API logs", "the stack's role writes them" if arn else "the stack sets the role")


def state(status: str) -> Finding:
    """Judge the state of the stack; an empty one is a stack that does not exist."""
    if status in BROKEN:
        return Finding("stop", "stack", f"{status}: a deployment is refused; delete the stack, or continue its rollback, first")
    return Finding("ok", "stack", status or "does not exist yet")


def account(target: Target, given: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the findings about the account that `target` deploys to, with these parameters of the template."""
    identity = target.client("sts").get_caller_identity()
    yield Finding("ok", "account", f"{identity['Account']} in {target.client('sts').meta.region_name}")
    limits = target.client("lambda").get_account_settings()["AccountLimit"]
    yield concurrency(limits["ConcurrentExecutions"], int(given["WebhookConcurrency"]))
    address = given["EmailFrom"]
    identities = [address, address.partition("@")[2]]
    answer = target.client("ses").get_identity_verification_attributes(Identities=identities)["VerificationAttributes"]
    yield sender(address, [one for one in identities if answer.get(one, {}).get("VerificationStatus") == "Success"])
    yield sandbox(production=target.client("sesv2").get_account().get("ProductionAccessEnabled", False))
    yield logging_role(target.client("apigateway").get_account().get("cloudwatchRoleArn", ""), target.stack)


def quotas(target: Target, given: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the findings about the quotas of IAM, for a stack that does not exist yet."""
    summary = target.client("iam").get_account_summary()["SummaryMap"]
    wanted = [resource["Type"] for resource in environments.deployed(given).values()]
    for kind, (used, limit) in IAM_QUOTAS.items():
        yield quota(kind, summary.get(used, 0), summary[limit], wanted.count(kind))


def deployed(target: Target) -> Iterator[Finding]:
    """Yield the findings about a stack that exists: its API, event sources, products and alarms."""
    answer = web.call("GET", target.api_url("/openapi.json"))
    yield Finding("ok" if answer.status == 200 else "stop", "API", f"{target.api_url()} answers {answer.status}")
    mappings = target.physical_ids("AWS::Lambda::EventSourceMapping")
    lambda_client = target.client("lambda")
    states = {name: lambda_client.get_event_source_mapping(UUID=one)["State"] for name, one in mappings.items()}
    off = [name for name, seen in states.items() if seen not in {"Enabled", "Enabling", "Updating"}]
    yield Finding("stop" if off else "ok", "event sources", f"disabled: {', '.join(off)}" if off else f"all {len(mappings)} are enabled")
    products = target.client("dynamodb").scan(TableName=target.resources["Catalogue"], Limit=1)["Count"]
    yield Finding("ok", "products", "are in the catalogue") if products else _no_products()
    alarms: list[dict[str, Any]] = target.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{target.stack}-", StateValue="ALARM")[
        "MetricAlarms"
    ]
    names = ", ".join(alarm["AlarmName"] for alarm in alarms)
    yield Finding("warning" if names else "ok", "alarms", names or "none is raised")


def _no_products() -> Finding:
    return Finding("warning", "products", "the catalogue is empty: make catalog FILE=products.csv")


def examine(target: Target, given: Mapping[str, str]) -> Iterator[Finding]:
    """Yield all findings: about the account, then about the quotas or the stack, whichever applies."""
    outputs = target.stack_outputs()
    yield from account(target, given)
    if outputs is None:
        yield state("")
        yield from quotas(target, given)
        return
    [stack] = target.client("cloudformation").describe_stacks(StackName=target.stack)["Stacks"]
    yield (found := state(stack["StackStatus"]))
    if found.level == "ok":
        yield from deployed(target)


def parameters(environment: str) -> dict[str, str]:
    """Return the template's parameters in an environment of samconfig.toml. Raises UsageError for an unknown one."""
    known = environments.parameters()
    if environment not in known:
        raise UsageError(f"ENV must be one of {', '.join(known)}, not {environment!r}")
    defaults = {name: str(spec.get("Default", "")) for name, spec in template.source()["Parameters"].items()}
    return defaults | known[environment]


def main(arguments: Namespace) -> int:
    """Print the findings; 1 where one of them stops the deployment or orders."""
    given = parameters(os.environ.get("ENV") or "default")
    stopped = False
    for found in examine(targets.chosen(arguments.stack), given):
        mark, style = MARKS[found.level]
        ui.console.print(f"  {mark} {found.what:<22}{found.detail}", style=None if found.level == "ok" else style)
        stopped |= found.level == "stop"
    return int(stopped)
