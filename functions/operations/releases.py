"""The releases in progress: CodeDeploy shifts the traffic of each released function's alias by a deployment of its own."""

from __future__ import annotations

from itertools import batched
from typing import Any

_IN_PROGRESS = ["Created", "Queued", "InProgress", "Baking", "Ready"]
# A roll-back is a deployment of its own, by CodeDeploy or by CloudFormation: stopped, it would leave traffic on the version that fails
# (https://docs.aws.amazon.com/codedeploy/latest/userguide/deployments-rollback-and-redeploy.html).
_ROLLBACKS = frozenset({"codeDeployRollback", "CloudFormationRollback"})
# The most of BatchGetDeployments.
_BATCH = 25


class Releases:
    """The deployments of a CodeDeploy application."""

    def __init__(self, application: str, client: Any) -> None:
        """Use this client; without an application, nothing is ever released gradually."""
        self._application = application
        self._client = client

    def in_progress(self) -> list[str]:
        """Return the ids of the deployments in progress, without roll-backs."""
        if not self._application:
            return []
        # One page of each: a stack has fewer than a hundred groups, and a group one deployment at a time.
        groups = self._client.list_deployment_groups(applicationName=self._application)["deploymentGroups"]
        return self._without_rollbacks([one for group in groups for one in self._of(group)])

    def stop(self) -> None:
        """Stop every deployment in progress and shift its traffic back to the version before."""
        for deployment in self.in_progress():
            self._client.stop_deployment(deploymentId=deployment, autoRollbackEnabled=True)

    def _of(self, group: str) -> list[str]:
        return self._client.list_deployments(
            applicationName=self._application, deploymentGroupName=group, includeOnlyStatuses=_IN_PROGRESS
        )["deployments"]

    def _without_rollbacks(self, deployments: list[str]) -> list[str]:
        found = [
            one
            for ids in batched(deployments, _BATCH, strict=False)
            for one in self._client.batch_get_deployments(deploymentIds=list(ids))["deploymentsInfo"]
        ]
        return [one["deploymentId"] for one in found if one.get("creator") not in _ROLLBACKS]
