"""Check the new versions of a release while CodeDeploy shifts traffic to them, and stop the release where one is wrong.

Each new version gets a sample event that changes nothing: a request that is refused, a step of an unknown order. This tests
the function's imports, configuration and read permissions even without customers' requests.
"""

import json
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

from devtools import target as targets
from devtools import ui
from devtools.cli import UsageError, UserError
from devtools.target import ROOT, Target

ALIAS = "live"
EVENTS = ROOT / "events"
POLL_SECONDS = 5
_UNKNOWN_ORDER = {"order_id": "ord_" + "0" * 26, "correlation_id": "check-canary", "event_id": "check-canary", "execution": "check-canary"}

type Answer = dict[str, Any]
type Check = tuple[Callable[[], Any], Callable[[Answer], bool]]


def _sample(path: str) -> Callable[[], Any]:
    return lambda: json.loads((EVENTS / f"{path}.json").read_text("utf-8"))


def _status(code: int) -> Callable[[Answer], bool]:
    return lambda answer: answer.get("statusCode") == code


def _is_not_found(answer: Answer) -> bool:
    return answer.get("errorType") == "OrderNotFound"


CHECKS: Mapping[str, Check] = {
    "IdentityAuthorize": (_sample("identity/authorize_request/not-a-token"), lambda answer: answer.get("errorMessage") == "Unauthorized"),
    "OrdersPlace": (_sample("orders/place_order/key-missing"), _status(400)),
    "OrdersGet": (_sample("orders/get_order/other-customer"), _status(404)),
    **{step: (lambda: _UNKNOWN_ORDER, _is_not_found) for step in ("InventoryReserve", "FraudScreen", "PaymentsAuthorize", "OrdersConfirm")},
}


def new_versions(target: Target) -> dict[str, str]:
    """Return the version that each alias is being shifted to, by the function's logical id; nothing where no shift runs."""
    found: dict[str, str] = {}
    for function in CHECKS:
        alias = target.client("lambda").get_alias(FunctionName=target.resources[function], Name=ALIAS)
        for version in alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {}):
            found[function] = version
    return found


def version_problems(target: Target, versions: Mapping[str, str]) -> list[str]:
    """Return the faults of the new versions, one line each."""
    problems: list[str] = []
    for function, version in versions.items():
        event, is_right = CHECKS[function]
        answer = target.client("lambda").invoke(
            FunctionName=target.resources[function], Qualifier=version, Payload=json.dumps(event()).encode()
        )
        payload: Answer = json.loads(answer["Payload"].read() or b"{}")
        if not is_right(payload):
            problems.append(f"{function} version {version} answered {json.dumps(payload)[:200]}")
    return problems


def stop(target: Target) -> list[str]:
    """Stop every running release of the stack and return to the versions before; return the deployments' ids."""
    codedeploy = target.client("codedeploy")
    stopped: list[str] = []
    for group in target.physical_ids("AWS::CodeDeploy::DeploymentGroup").values():
        for deployment in _releases(target, group):
            codedeploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=True)
            stopped.append(deployment)
    return stopped


def _releases(target: Target, group: str) -> list[str]:
    """Return the deployments of a group in progress, without CodeDeploy's own roll-back by an alarm."""
    codedeploy = target.client("codedeploy")
    listed: list[str] = codedeploy.list_deployments(
        applicationName=target.resources["ServerlessDeploymentApplication"],
        deploymentGroupName=group,
        includeOnlyStatuses=["Created", "Queued", "InProgress"],
    )["deployments"]
    found: list[dict[str, str]] = codedeploy.batch_get_deployments(deploymentIds=listed)["deploymentsInfo"] if listed else []
    return [one["deploymentId"] for one in found if one.get("creator") != "codeDeployRollback"]


def watch(target: Target, seconds: int) -> int:
    """Check every version that a shift brings within so many seconds; return how many were right.

    Raises:
        UserError: a version is wrong; the release is stopped.
    """
    checked: dict[str, str] = {}
    until = time.monotonic() + seconds
    while True:
        fresh = {function: version for function, version in new_versions(target).items() if checked.get(function) != version}
        if problems := version_problems(target, fresh):
            deployments = stop(target)
            raise UserError("\n".join([*problems, f"the release is stopped: {', '.join(deployments) or 'no deployment was running'}"]))
        checked |= fresh
        if len(checked) == len(CHECKS) or time.monotonic() >= until:
            return len(checked)
        time.sleep(POLL_SECONDS)


def main(arguments: Namespace) -> None:
    """Watch a release and print how many new versions were checked."""
    if not arguments.stack:
        raise UsageError("check-canary needs STACK, the name of a stack on AWS")
    target = targets.chosen(arguments.stack)
    ui.console.print(f"  {watch(target, arguments.wait)} new versions of {target.stack} answer as expected")
