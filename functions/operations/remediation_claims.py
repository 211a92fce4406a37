"""Claims of remediations: one execution works on a state change of an alarm, and an action on a target is not repeated soon.

The claim of a raise of concurrency stores the value to restore, and the execution that restored it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from operations.domain.alarm_signals import Alarm
from operations.domain.remediation import COOL_DOWN, Action, Raise
from orderflow.aws import dynamodb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

_KEPT = timedelta(days=30)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class Claims:
    """The claims in the table `table`. An execution that lost the answer to a claim claims again."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Use this client."""
        self._table = table
        self._client = client

    def take_change(self, alarm: Alarm, execution: str, now: datetime) -> bool:
        """Claim the alarm's state change; return false if another execution has it."""
        return self._take(f"alarm {alarm.name} {alarm.state} {dynamodb.timestamp(alarm.changed_at)}", execution, now, free_before=_NEVER)

    def take_target(self, action: Action, execution: str, now: datetime) -> bool:
        """Claim the action's target; return false if another execution claimed it less than COOL_DOWN ago."""
        raised = {"raised_to": action.maximum, "restore_to": action.restore_to} if action.restore_to else {}
        return self._take(f"{action.action} {action.target}", execution, now, free_before=now - COOL_DOWN, **raised)

    def last_raise(self, queue: str, execution: str) -> Raise | None:
        """Return the last raise of the concurrency of a queue's consumer; one that `execution` itself has set back is not restored."""
        found = dynamodb.read_item(self._client, self._table, _raise_of(queue))
        if found is None or "restore_to" not in found:
            return None
        return Raise(found["raised_to"], found["restore_to"], restored=found.get("restored_by", execution) != execution)

    def take_restoration(self, queue: str, execution: str) -> bool:
        """Claim to set the last raise back; return false if another execution did."""
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_raise_of(queue),
                UpdateExpression="SET restored_by = :execution",
                ConditionExpression="attribute_exists(restore_to) AND (attribute_not_exists(restored_by) OR restored_by = :execution)",
                ExpressionAttributeValues=dynamodb.values(execution=execution),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _take(self, claim: str, execution: str, now: datetime, *, free_before: datetime, **more: int) -> bool:
        item = {"claim": claim, "execution": execution, "claimed_at": now, "expires_at": int((now + _KEPT).timestamp())} | more
        try:
            self._client.put_item(
                TableName=self._table,
                Item=dynamodb.encode_item(item),
                ConditionExpression="attribute_not_exists(claim) OR execution = :execution OR claimed_at < :free_before",
                ExpressionAttributeValues=dynamodb.values(execution=execution, free_before=free_before),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _raise_of(queue: str) -> Mapping[str, Any]:
    return dynamodb.encode_item({"claim": f"raise_concurrency {queue}"})
