"""Claims of remediations: one execution works on a state change of an alarm, and an action on a target is not repeated soon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from operations.domain.remediation import COOL_DOWN, Action, Alarm
from orderflow.aws import dynamodb

if TYPE_CHECKING:
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
        return self._take(f"alarm {alarm.name} {dynamodb.timestamp(alarm.changed_at)}", execution, now, free_before=_NEVER)

    def take_target(self, action: Action, execution: str, now: datetime) -> bool:
        """Claim the action's target; return false if another execution claimed it less than COOL_DOWN ago."""
        return self._take(f"{action.action} {action.target}", execution, now, free_before=now - COOL_DOWN)

    def _take(self, claim: str, execution: str, now: datetime, *, free_before: datetime) -> bool:
        item = {"claim": claim, "execution": execution, "claimed_at": now, "expires_at": int((now + _KEPT).timestamp())}
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
