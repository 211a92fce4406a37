"""In-memory versions of the services that automatic remediation reads and changes; botocore's models validate the parameters."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.fakes.aws.service import FakeService, Refused
from tests.support.messaging import validate


class _Service(FakeService):
    service = ""

    def _checked(self, operation: str, given: dict[str, Any], run: Callable[[], Any]) -> Any:
        validate(self.service, operation, given)
        return self._call(operation, given, run)


class FakeAlarms(_Service):
    """CloudWatch: `states` has the state of each alarm."""

    service = "cloudwatch"

    def __init__(self) -> None:
        """Start without alarms."""
        super().__init__()
        self.states: dict[str, str] = {}

    def describe_alarms(self, **given: Any) -> dict[str, Any]:
        """Return the named alarms that exist."""
        found = [{"StateValue": self.states[name]} for name in given["AlarmNames"] if name in self.states]
        return self._checked("DescribeAlarms", given, lambda: {"MetricAlarms": found})


class FakeFlagDeployments(_Service):
    """AppConfig's control plane: `versions` are documents, `deployments` are in the order of their numbers.

    A started deployment is complete at once, or passes through the states of `course`, one with each list of the deployments.
    """

    service = "appconfig"

    def __init__(self) -> None:
        super().__init__()
        self.versions: list[bytes] = []
        self.deployments: list[dict[str, Any]] = []
        self.course: tuple[str, ...] = ("COMPLETE",)
        self._started: dict[int, list[str]] = {}

    def deployed(self, document: dict[str, Any], at: datetime, state: str = "COMPLETE") -> None:
        """Add a deployment of a document."""
        self.versions.append(json.dumps(document).encode())
        number = len(self.deployments) + 1
        self.deployments.append(
            {"DeploymentNumber": number, "ConfigurationVersion": str(len(self.versions)), "State": state, "CompletedAt": at}
        )

    @property
    def served(self) -> dict[str, Any]:
        """The document of the last complete deployment."""
        complete = [one for one in self.deployments if one["State"] == "COMPLETE"]
        return json.loads(self.versions[int(complete[-1]["ConfigurationVersion"]) - 1]) if complete else {}

    def list_deployments(self, **given: Any) -> dict[str, Any]:
        """Return all deployments."""
        return self._checked("ListDeployments", given, self._list)

    def _list(self) -> dict[str, Any]:
        found = [dict(one) for one in self.deployments]
        for number, states in self._started.items():
            if states:
                self.deployments[number - 1]["State"] = states.pop(0)
        return {"Items": found}

    def get_hosted_configuration_version(self, **given: Any) -> dict[str, Any]:
        """Return a document."""
        return self._checked(
            "GetHostedConfigurationVersion", given, lambda: {"Content": io.BytesIO(self.versions[given["VersionNumber"] - 1])}
        )

    def create_hosted_configuration_version(self, **given: Any) -> dict[str, Any]:
        """Keep a document."""
        return self._checked("CreateHostedConfigurationVersion", given, lambda: self._create(given["Content"]))

    def start_deployment(self, **given: Any) -> dict[str, Any]:
        """Deploy a document at once."""
        return self._checked("StartDeployment", given, lambda: self._start(given["ConfigurationVersion"]))

    def stop_deployment(self, **given: Any) -> dict[str, Any]:
        """Roll a deployment in progress back."""
        return self._checked("StopDeployment", given, lambda: self._stop(given["DeploymentNumber"]))

    def _create(self, content: bytes) -> dict[str, Any]:
        self.versions.append(content)
        return {"VersionNumber": len(self.versions)}

    def _start(self, version: str) -> dict[str, Any]:
        if any(one["State"] in {"DEPLOYING", "ROLLING_BACK"} for one in self.deployments):
            raise Refused("StartDeployment", "ConflictException", "a deployment is in progress")
        number = len(self.deployments) + 1
        state, *later = self.course
        self.deployments.append({"DeploymentNumber": number, "ConfigurationVersion": version, "State": state})
        self._started[number] = later
        return dict(self.deployments[-1])

    def _stop(self, number: int) -> dict[str, Any]:
        self.deployments[number - 1]["State"] = "ROLLED_BACK"
        self._started.pop(number, None)
        return {}


class FakeFunctions(_Service):
    """Lambda: `limits` has the concurrency of each event source mapping, `updates` every change of one."""

    service = "lambda"

    def __init__(self) -> None:
        """Start without mappings."""
        super().__init__()
        self.limits: dict[str, int | None] = {}
        self.updates: list[tuple[str, int]] = []

    def get_event_source_mapping(self, **given: Any) -> dict[str, Any]:
        """Return a mapping and the function that it feeds, which has the mapping's name."""
        limit = self.limits.get(given["UUID"])
        scaling = {"ScalingConfig": {"MaximumConcurrency": limit}} if limit else {}
        return self._checked("GetEventSourceMapping", given, lambda: {"FunctionArn": given["UUID"], **scaling})

    def get_function_configuration(self, **given: Any) -> dict[str, Any]:
        """Return a function's name; it logs to the group of its context."""
        logging = {"LogGroup": "/aws/lambda/context"}
        return self._checked("GetFunctionConfiguration", given, lambda: {"FunctionName": given["FunctionName"], "LoggingConfig": logging})

    def update_event_source_mapping(self, **given: Any) -> dict[str, Any]:
        """Change the limit of a mapping."""
        return self._checked("UpdateEventSourceMapping", given, lambda: self._update(given["UUID"], **given["ScalingConfig"]))

    def _update(self, mapping: str, MaximumConcurrency: int) -> dict[str, Any]:  # noqa: N803 - botocore's name
        self.updates.append((mapping, MaximumConcurrency))
        self.limits[mapping] = MaximumConcurrency
        return {}


class FakeLogs(_Service):
    """CloudWatch Logs: `lines` are pairs of a function's name and a line. A line matches if it has all terms of the pattern.

    A term is quoted if it has other characters than letters, digits and underscores.
    """

    service = "logs"

    def __init__(self) -> None:
        """Start without lines."""
        super().__init__()
        self.lines: list[tuple[str, str]] = []
        self.groups_exist = True

    class exceptions:  # noqa: N801 - botocore's name
        """The errors that callers catch by name."""

        class ResourceNotFoundException(Exception):
            """There is no such group."""

    def filter_log_events(self, **given: Any) -> dict[str, Any]:
        """Return the lines that match, one a page."""
        if not self.groups_exist:
            raise self.exceptions.ResourceNotFoundException
        terms = re.findall(r'"([^"]+)"|(\S+)', given["filterPattern"])
        assert all(re.fullmatch(r"\w+", bare) for _, bare in terms if bare), given["filterPattern"]
        found = [
            {"message": line, "logStreamName": f"2026/11/21/{function}[live]0f"}
            for function, line in self.lines
            if all((quoted or bare) in line for quoted, bare in terms)
        ]
        page = int(given.get("nextToken", "0"))
        more = {"nextToken": str(page + 1)} if page + 1 < len(found) else {}
        return self._checked("FilterLogEvents", given, lambda: {"events": found[page : page + 1], **more})


class FakeReleases(_Service):
    """CodeDeploy with one group: `running` are the deployments in progress, `stopped` those that were stopped.

    Stopping a deployment makes one of `rollbacks`, which stay in progress.
    """

    service = "codedeploy"

    def __init__(self) -> None:
        super().__init__()
        self.running: list[str] = []
        self.rollbacks: list[str] = []
        self.stopped: list[str] = []

    def list_deployment_groups(self, **given: Any) -> dict[str, Any]:
        """Return the group."""
        return self._checked("ListDeploymentGroups", given, lambda: {"deploymentGroups": ["group"]})

    def list_deployments(self, **given: Any) -> dict[str, Any]:
        """Return the deployments in progress, also the roll-backs."""
        return self._checked("ListDeployments", given, lambda: {"deployments": [*self.running, *self.rollbacks]})

    def batch_get_deployments(self, **given: Any) -> dict[str, Any]:
        """Return by whom the deployments were made."""
        found = [
            {"deploymentId": one, "creator": "codeDeployRollback" if one in self.rollbacks else "CloudFormation"}
            for one in given["deploymentIds"]
        ]
        return self._checked("BatchGetDeployments", given, lambda: {"deploymentsInfo": found})

    def stop_deployment(self, **given: Any) -> dict[str, Any]:
        """Stop a deployment."""
        return self._checked("StopDeployment", given, lambda: self._stop(given["deploymentId"], given["autoRollbackEnabled"]))

    def _stop(self, deployment: str, roll_back: bool) -> dict[str, Any]:
        if deployment not in self.running + self.rollbacks:
            raise Refused("StopDeployment", "DeploymentAlreadyCompletedException", deployment)
        assert roll_back
        if deployment in self.running:
            self.running.remove(deployment)
            self.rollbacks.append(f"roll-back of {deployment}")
        else:
            self.rollbacks.remove(deployment)
        self.stopped.append(deployment)
        return {}
