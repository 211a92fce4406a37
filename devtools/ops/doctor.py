"""Check an account before a deployment, and the stack after it: conditions that would stop it, with remedies.

The checks read only. The emulator answers the same calls, so locally the same code runs; its unknown calls have unknown results.
"""

import os
import re
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping

from devtools import environments, stack_names, template, ui, web
from devtools import target as targets
from devtools.cli import UsageError
from devtools.ops import quotas, region
from devtools.ops.findings import MARKS, Finding, checked
from devtools.target import AWS, Target
from operations.domain.alarm_names import NAMES
from payments.stripe.signing_secrets import signing_secrets

# Lambda keeps so many executions of an account unreserved (Lambda quotas).
UNRESERVED = 100
WEBHOOKS = 2
# A new account may have 10, which an order's functions share with each other.
FEW_EXECUTIONS = 50
BROKEN = frozenset({"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED", "UPDATE_ROLLBACK_FAILED", "REVIEW_IN_PROGRESS"})
# SAM names these by a hash of their content, which differs between the template here and the built one.
HASHED = re.compile(r"(Deployment|Version|Layer)[0-9a-f]{8,}$")
# Local deployments omit gradual releases, on LocalStack aliases, and policies that deny requests without TLS (docs/fidelity.md).
OMITTED_LOCALLY = ("AWS::CodeDeploy::", "AWS::Lambda::Alias", "AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy")


def concurrency(limit: int, reserved: int) -> Finding:
    """Judge Lambda's limit of concurrent executions of the account; each webhook reserves `reserved`."""
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


def name(stack: str, longest: int) -> Finding:
    """Judge the name of a new stack: its form, and its length of at most `longest`."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", stack):
        return Finding("stop", "name", f"{stack} is no name of a stack: it takes letters, digits and hyphens, a letter first")
    if len(stack) > longest:
        return Finding("stop", "name", f"{stack} has {len(stack)} characters; the names of its resources leave {longest}")
    return Finding("ok", "name", f"{stack} has {len(stack)} of at most {longest} characters")


def provider(given: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding where a rule of the template rejects these parameters because the stage prod has no payment provider."""
    if given["Stage"] == "prod" and not given["StripeSecretArn"]:
        yield Finding("stop", "provider", "the stage prod needs StripeSecretArn: the sandbox moves no money; see docs/payments.md")


def stripe_webhook(target: Target, given: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding about the secret that verifies Stripe's events, where the stack's parameters choose Stripe."""
    if given["StripeSecretArn"]:
        yield checked("Stripe's webhook", lambda: _signing_secret(target))


def _signing_secret(target: Target) -> Finding:
    secret = target.client("secretsmanager").get_secret_value(SecretId=target.resources["PaymentsWebhookSecret"])
    if signing_secrets(secret["SecretString"]):
        return Finding("ok", "Stripe's webhook", "PaymentsWebhookSecret has a signing secret of Stripe")
    return Finding("warning", "Stripe's webhook", "PaymentsWebhookSecret has no line whsec_…: events are refused; see docs/payments.md")


def account(target: Target, given: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the findings about the account that `target` deploys to, with these parameters of the template."""
    identity = target.client("sts").get_caller_identity()
    yield Finding("ok", "account", f"{identity['Account']} in {target.client('sts').meta.region_name}")
    yield checked("concurrency", lambda: _concurrency(target, int(given["WebhookConcurrency"])))
    yield checked("sender", lambda: verified_sender(target, given["EmailFrom"]))
    yield checked("SES", lambda: sandbox(production=target.client("sesv2").get_account().get("ProductionAccessEnabled", False)))
    yield checked("API logs", lambda: logging_role(target.client("apigateway").get_account().get("cloudwatchRoleArn", ""), target.stack))


def _concurrency(target: Target, reserved: int) -> Finding:
    limits = target.client("lambda").get_account_settings()["AccountLimit"]
    return concurrency(limits["ConcurrentExecutions"], reserved)


def verified_sender(target: Target, address: str) -> Finding:
    """Judge the sender of emails by the identities that SES has verified."""
    identities = [address, address.partition("@")[2]]
    answer = target.client("ses").get_identity_verification_attributes(Identities=identities)["VerificationAttributes"]
    return sender(address, [one for one in identities if answer.get(one, {}).get("VerificationStatus") == "Success"])


def where(target: Target, environment: str, kinds: Iterable[str]) -> Iterator[Finding]:
    """Yield the findings about the region of a target, for resources of these types."""
    name = target.client("sts").meta.region_name
    yield region.availability(name, region.lacking(name, region.services(kinds)))
    if target.backend == AWS:
        yield region.agreement(name, environments.deploy_settings(environment))


def deployed(target: Target) -> Iterator[Finding]:
    """Yield the findings about a stack that exists: its resources, Stripe's webhook, API, event sources, products and alarms."""
    given = stack_parameters(target)
    yield resources(_missing(target, given))
    yield from stripe_webhook(target, given)
    answer = web.call("GET", target.api_url("/openapi.json"))
    yield Finding("ok" if answer.status == 200 else "stop", "API", f"{target.api_url()} answers {answer.status}")
    mappings = target.physical_ids("AWS::Lambda::EventSourceMapping")
    lambda_client = target.client("lambda")
    states = {name: lambda_client.get_event_source_mapping(UUID=one)["State"] for name, one in mappings.items()}
    off = [name for name, seen in states.items() if seen not in {"Enabled", "Enabling", "Updating"}]
    yield Finding("stop" if off else "ok", "event sources", f"disabled: {', '.join(off)}" if off else f"all {len(mappings)} are enabled")
    products = target.client("dynamodb").scan(TableName=target.resources["Catalogue"], Limit=1)["Count"]
    yield Finding("ok", "products", "are in the catalogue") if products else _no_products()
    yield alarms(target)


def alarms(target: Target) -> Finding:
    """Judge the stack's alarms. Those of a stack `shop-eu` beside `shop` have the prefix `shop-` as well."""
    own = {f"{target.stack}-{name}" for name in NAMES}
    pages = target.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNamePrefix=f"{target.stack}-", StateValue="ALARM")
    raised = ", ".join(one["AlarmName"] for page in pages for one in page["MetricAlarms"] if one["AlarmName"] in own)
    return Finding("warning" if raised else "ok", "alarms", raised or "none is raised")


def resources(missing: list[str]) -> Finding:
    """Judge a stack by the resources of the template that it lacks."""
    if missing:
        names = ", ".join(missing[:5]) + (", …" if missing[5:] else "")
        return Finding("warning", "resources", f"the stack lacks {len(missing)} of the template: {names}; deploy the present template")
    return Finding("ok", "resources", "the stack has every resource of the template")


def _missing(target: Target, given: Mapping[str, str]) -> list[str]:
    # Resources of the nested stack have a dot in their names.
    wanted = {name: one["Type"] for name, one in environments.deployed(given).items() if not ("." in name or HASHED.search(name))}
    omitted = OMITTED_LOCALLY if target.local else ()
    return sorted(name for name in wanted.keys() - target.stack_resources.keys() if not wanted[name].startswith(omitted))


def _no_products() -> Finding:
    return Finding("warning", "products", "the catalogue is empty: make catalog FILE=products.csv")


def examine(target: Target, environment: str) -> Iterator[Finding]:
    """Yield all findings: about region and account, then about the quotas or the stack, whichever applies.

    Raises UsageError for an unknown environment of samconfig.toml.
    """
    given, outputs = parameters(environment), target.stack_outputs()
    if outputs is not None:
        given = stack_parameters(target)
    wanted = environments.deployed(given)
    yield from where(target, environment, [resource["Type"] for resource in wanted.values()])
    yield from account(target, given)
    if outputs is None:
        yield state("")
        yield name(target.stack, stack_names.longest())
        yield from provider(given)
        yield from quotas.examine(target, wanted)
        return
    [stack] = target.client("cloudformation").describe_stacks(StackName=target.stack)["Stacks"]
    yield (found := state(stack["StackStatus"]))
    if found.level == "ok":
        yield from deployed(target)


def stack_parameters(target: Target) -> dict[str, str]:
    """Return the template's parameters that a stack was deployed with, defaults of those that the template did not have then."""
    [stack] = target.client("cloudformation").describe_stacks(StackName=target.stack)["Stacks"]
    return defaults() | {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])}


def defaults() -> dict[str, str]:
    """Return the default values of the template's parameters."""
    return {name: str(spec.get("Default", "")) for name, spec in template.source()["Parameters"].items()}


def parameters(environment: str) -> dict[str, str]:
    """Return the template's parameters in an environment of samconfig.toml. Raises UsageError for an unknown one."""
    known = environments.parameters()
    if environment not in known:
        raise UsageError(f"ENV must be one of {', '.join(known)}, not {environment!r}")
    return defaults() | known[environment]


def show(found: Finding) -> None:
    """Print a finding on one line."""
    mark, style = MARKS[found.level]
    ui.console.print(f"  {mark} {found.what:<22}{found.detail}", style=None if found.level == "ok" else style)


def main(arguments: Namespace) -> int:
    """Print the findings; 1 where one of them stops the deployment or orders."""
    stopped = False
    for found in examine(targets.chosen(arguments.stack), os.environ.get("ENV") or "default"):
        show(found)
        stopped |= found.level == "stop"
    return int(stopped)
