"""The releases in progress: CodeDeploy shifts the traffic of each released function's alias by a deployment of its own."""

from __future__ import annotations

from typing import Any

_IN_PROGRESS = ["Created", "Queued", "InProgress", "Baking", "Ready"]


class Releases:
    """The deployments of a CodeDeploy application."""

    def __init__(self, application: str, client: Any) -> None:
        """Use this client; without an application, nothing is ever released gradually."""
        self._application = application
        self._client = client

    def in_progress(self) -> list[str]:
        """Return the ids of the deployments in progress."""
        if not self._application:
            return []
        # One page of each: a stack has fewer than a hundred groups, and a group one deployment at a time.
        groups = self._client.list_deployment_groups(applicationName=self._application)["deploymentGroups"]
        return [deployment for group in groups for deployment in self._of(group)]

    def stop(self) -> None:
        """Stop every deployment in progress and shift its traffic back to the version before."""
        for deployment in self.in_progress():
            self._client.stop_deployment(deploymentId=deployment, autoRollbackEnabled=True)

    def _of(self, group: str) -> list[str]:
        return self._client.list_deployments(
            applicationName=self._application, deploymentGroupName=group, includeOnlyStatuses=_IN_PROGRESS
        )["deployments"]
