"""The deployments of the feature flags in AppConfig."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from operations.domain.remediation import FlagState
from orderflow.aws.flags import DEFAULT, version

DEPLOYING = frozenset({"DEPLOYING", "VALIDATING", "BAKING", "ROLLING_BACK"})
SERVED = frozenset({"COMPLETE", "BAKING"})
# StopDeployment refuses this state.
_ROLLING_BACK = "ROLLING_BACK"
# A deployment at once takes seconds. All polls together end before the time-out of the function, 60 seconds.
POLLS, POLL_SECONDS = 30, 1.0


class NotDeployedError(Exception):
    """AppConfig rolled a deployment back, as while a monitored alarm is in ALARM state, or did not complete it in time."""


class FlagDeployments:
    """The flags' profile in one environment; `strategy` deploys at once, `wait` sleeps for so many seconds between two polls."""

    def __init__(
        self,
        client: Any,
        *,
        application: str,
        environment: str,
        profile: str,
        strategy: str,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Use an AppConfig client, and the ids of the flags' resources."""
        self._client = client
        self._wait = wait
        self._environment = {"ApplicationId": application, "EnvironmentId": environment}
        self._profile = {"ApplicationId": application, "ConfigurationProfileId": profile}
        self._strategy = strategy

    @classmethod
    def from_setting(cls, flags: str, client: Any, strategy: str = "") -> FlagDeployments:
        """Return the deployments of the profile FLAGS (application/environment/profile, their ids)."""
        application, environment, profile = flags.split("/")
        return cls(client, application=application, environment=environment, profile=profile, strategy=strategy)

    def latest_first(self) -> list[dict[str, Any]]:
        """Return the last deployments of the flags, latest first, fifty at most.

        Source: https://docs.aws.amazon.com/appconfig/2019-10-09/APIReference/API_ListDeployments.html
        """
        found = self._client.list_deployments(**self._environment, MaxResults=50)["Items"]
        return sorted(found, key=lambda one: -one["DeploymentNumber"])

    def content(self, deployment: dict[str, Any]) -> bytes:
        """Return the document of a deployment."""
        number = int(deployment["ConfigurationVersion"])
        return self._client.get_hosted_configuration_version(**self._profile, VersionNumber=number)["Content"].read()

    def state(self) -> FlagState:
        """Return the flags that functions receive now; before the first deployment, the document is empty."""
        known = self.latest_first()
        deployments = [one for one in known if one["State"] in SERVED]
        deploying = next((one["DeploymentNumber"] for one in known if one["State"] in DEPLOYING - SERVED), 0)
        if not deployments:
            return FlagState({}, DEFAULT, deploying=deploying)
        served, previous = deployments[0], deployments[1]["DeploymentNumber"] if len(deployments) > 1 else 0
        content = self.content(served)
        deployed_at = served.get("CompletedAt") or served.get("StartedAt")
        return FlagState(json.loads(content), version(content), served["DeploymentNumber"], deployed_at, previous, deploying)

    def document(self, number: int) -> dict[str, Any]:
        """Return the document of the deployment with this number."""
        return json.loads(self.content(next(one for one in self.latest_first() if one["DeploymentNumber"] == number)))

    def deploy(self, document: dict[str, Any], why: str) -> str:
        """Deploy a document at once, and stop the deployment in progress; return the document's version once it is complete.

        Raises:
            NotDeployedError: AppConfig rolled it back, or did not complete it in time.
            botocore.exceptions.ClientError: AppConfig refused it, for instance while the stopped deployment is rolled back.
        """
        for one in self._stoppable():
            self._stop(one)
        content = json.dumps(document, indent=2).encode()
        made = self._client.create_hosted_configuration_version(
            **self._profile, Content=content, ContentType="application/json", Description=why
        )
        started = self._client.start_deployment(
            **self._environment,
            ConfigurationProfileId=self._profile["ConfigurationProfileId"],
            ConfigurationVersion=str(made["VersionNumber"]),
            DeploymentStrategyId=self._strategy,
            Description=why,
        )
        self.await_completion(started["DeploymentNumber"])
        return version(content)

    def await_completion(self, number: int) -> None:
        """Wait until the deployment with this number can no longer be rolled back.

        Source: https://docs.aws.amazon.com/appconfig/latest/userguide/monitoring-deployments.html

        Raises:
            NotDeployedError: AppConfig rolled it back, or did not complete it in time.
        """
        state = self._state_of(number)
        for _ in range(POLLS):
            if state not in DEPLOYING - {_ROLLING_BACK}:
                break
            self._wait(POLL_SECONDS)
            state = self._state_of(number)
        if state != "COMPLETE":
            message = f"flag deployment {number} is {state}"
            raise NotDeployedError(message)

    def _state_of(self, number: int) -> str:
        # A list may lack a deployment that has just started.
        return next((one["State"] for one in self.latest_first() if one["DeploymentNumber"] == number), "DEPLOYING")

    def stop(self, number: int) -> None:
        """Stop the deployment with this number, if it is in progress."""
        if number in self._stoppable():
            self._stop(number)

    def _stoppable(self) -> list[int]:
        return [one["DeploymentNumber"] for one in self.latest_first() if one["State"] in DEPLOYING - {_ROLLING_BACK}]

    def _stop(self, number: int) -> None:
        self._client.stop_deployment(**self._environment, DeploymentNumber=number, AllowRevert=True)
