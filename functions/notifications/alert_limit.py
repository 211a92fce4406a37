"""Limits the alerts to operators: an outage of a carrier concerns thousands of parcels at once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from orderflow.aws import dynamodb

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

MOST_AN_HOUR = 10
_KEPT = timedelta(days=1)


class AlertLimit:
    """Counts the alerts of each kind in an hour, in a table with the key `id` and the time to live `expiration`."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Use this table and client."""
        self._table = table
        self._client = client

    def take(self, kind: str, event_id: str, now: datetime) -> int:
        """Count the alert of an event, once; return how many of its kind the hour of `now` (UTC) has, or 0 if it is above the limit."""
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=dynamodb.key(id=f"operator_alerts#{kind}#{now:%Y-%m-%dT%H}"),
                UpdateExpression="SET expiration = :expiration ADD alerted :events",
                ConditionExpression="attribute_not_exists(alerted) OR size(alerted) < :most OR contains(alerted, :event)",
                ExpressionAttributeValues=dynamodb.values(
                    expiration=int((now + _KEPT).timestamp()), events={event_id}, event=event_id, most=MOST_AN_HOUR
                ),
                ReturnValues="UPDATED_NEW",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return 0
        return len(dynamodb.decode_item(answer["Attributes"])["alerted"])
