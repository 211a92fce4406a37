"""The table Reviews: which execution waits for an order's decision, under which token, and the list of open ones.

The order log says whether an order is held; this table only helps to find such orders and to end the
execution that waits. A row is on the list, the sparse index `open-reviews`, for as long as it has the
attribute `list`. Closed rows stay for a while, because events and executions may come late.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from orderflow.aws.cursor import Position
from orderflow.aws.order_log import timestamp
from orderflow.domain.money import Money

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

INDEX = "open-reviews"
# One partition: held orders are few, and it takes a thousand writes a second.
_LIST = "open"
# Longer than a message can live in a queue, its dead-letter queue and a redrive from there.
RETENTION = timedelta(days=90)


class Review(Struct, frozen=True):
    """An order that waits for a person since `opened_at` (UTC), with what the fraud rules said."""

    order_id: str
    opened_at: datetime
    total: Money
    score: int
    reasons: tuple[str, ...]


class ReviewStore:
    """Knows how the table's items look."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table `table`."""
        self._table = table
        self._client = client

    def claim(self, review: Review, execution: str) -> str:
        """Put a review on the list for an execution, unless there is one; return the execution whose it is now."""
        item = {
            "order_id": {"S": review.order_id},
            "execution": {"S": execution},
            "list": {"S": _LIST},
            "opened_at": {"S": timestamp(review.opened_at)},
            "amount": {"N": str(review.total.amount)},
            "currency": {"S": review.total.currency},
            "score": {"N": str(review.score)},
            "reasons": {"L": [{"S": reason} for reason in review.reasons]},
        }
        try:
            self._client.put_item(
                TableName=self._table,
                Item=item,
                ConditionExpression="attribute_not_exists(order_id)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            return cast("dict[str, Any]", refused.response)["Item"]["execution"]["S"]
        return execution

    def take_over(self, order_id: str, ended: str, execution: str) -> bool:
        """Give an open review of an execution that has ended to another one; tell whether it is that one's now."""
        values = {":ended": {"S": ended}, ":execution": {"S": execution}}
        names = {"#list": "list"}
        return self._update(order_id, "SET execution = :execution", "execution = :ended AND attribute_exists(#list)", names, values)

    def store_task_token(self, order_id: str, execution: str, token: str) -> bool:
        """Keep the token under which an execution waits; tell whether the review is open and that execution's."""
        values = {":token": {"S": token}, ":execution": {"S": execution}}
        names = {"#list": "list", "#token": "token"}
        return self._update(order_id, "SET #token = :token", "execution = :execution AND attribute_exists(#list)", names, values)

    def close(self, order_id: str, now: datetime) -> str | None:
        """Take the order's review off the list, if it has one; return the token that somebody waits under.

        Closing again returns the token again: whoever died before using it does so then.
        """
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key={"order_id": {"S": order_id}},
                UpdateExpression="SET expires_at = if_not_exists(expires_at, :expires_at) REMOVE #list",
                ConditionExpression="attribute_exists(order_id)",
                ExpressionAttributeNames={"#list": "list"},
                ExpressionAttributeValues={":expires_at": {"N": str(int((now + RETENTION).timestamp()))}},
                ReturnValues="ALL_NEW",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return answer.get("Attributes", {}).get("token", {}).get("S")

    def list_open(self, most: int, after: Position | None) -> tuple[list[Review], Position | None]:
        """Return up to `most` open reviews, oldest first, from after a position, and the position to go on from.

        The index follows the table with a delay.
        """
        start = {"ExclusiveStartKey": _key_of(after)} if after else {}
        page = self._client.query(
            TableName=self._table,
            IndexName=INDEX,
            KeyConditionExpression="#list = :open",
            ExpressionAttributeNames={"#list": "list"},
            ExpressionAttributeValues={":open": {"S": _LIST}},
            Limit=most,
            **start,  # pyright: ignore[reportArgumentType]
        )
        last = page.get("LastEvaluatedKey")
        return [_review(item) for item in page["Items"]], _position(last) if last else None

    def _update(self, order_id: str, update: str, condition: str, names: dict[str, str], values: dict[str, Any]) -> bool:
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"order_id": {"S": order_id}},
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _key_of(position: Position) -> dict[str, Any]:
    return {"order_id": {"S": position.order_id}, "list": {"S": _LIST}, "opened_at": {"S": position.moment}}


def _position(key: Mapping[str, Any]) -> Position:
    return Position(key["opened_at"]["S"], key["order_id"]["S"])


def _review(item: Mapping[str, Any]) -> Review:
    return Review(
        order_id=item["order_id"]["S"],
        opened_at=datetime.fromisoformat(item["opened_at"]["S"]).astimezone(UTC),
        total=Money(int(item["amount"]["N"]), item["currency"]["S"]),
        score=int(item["score"]["N"]),
        reasons=tuple(reason["S"] for reason in item["reasons"]["L"]),
    )
