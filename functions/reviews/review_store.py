"""The table of reviews: the execution that waits for the decision on an order, its task token, and the open reviews.

The order log decides whether an order is held; this table only finds held orders and their waiting executions. A
review is open while its item has the attribute `list`, the key of the sparse index `open-reviews`. Closed items are
kept for a while, because events and executions may arrive late.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orderflow.aws import dynamodb
from orderflow.aws.cursor import Position
from orderflow.domain.money import Money

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

INDEX = "open-reviews"
# One partition: held orders are few, and it takes a thousand writes a second.
_LIST = "open"
# Longer than a message can live in its queue, the dead-letter queue and a redrive.
RETENTION = timedelta(days=90)


class Review(Struct, frozen=True):
    """A held order that waits for a decision since `opened_at` (UTC), with its fraud score and reasons."""

    order_id: str
    opened_at: datetime
    total: Money
    score: int
    reasons: tuple[str, ...]


class ReviewStore:
    """Stores reviews in a DynamoDB table."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Use the table named `table`."""
        self._table = table
        self._client = client

    def claim(self, review: Review, execution: str) -> str:
        """Open a review for an execution unless the order has one; return the execution that owns the review."""
        item = {
            "order_id": review.order_id,
            "execution": execution,
            "list": _LIST,
            "opened_at": review.opened_at,
            "amount": review.total.amount,
            "currency": review.total.currency,
            "score": review.score,
            "reasons": review.reasons,
        }
        try:
            self._client.put_item(
                TableName=self._table,
                Item=dynamodb.encode_item(item),
                ConditionExpression="attribute_not_exists(order_id)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            return dynamodb.stored_item(refused)["execution"]
        return execution

    def take_over(self, order_id: str, ended: str, execution: str) -> bool:
        """Move an open review from an ended execution to another one; return whether that succeeded."""
        values = dynamodb.values(ended=ended, execution=execution)
        names = {"#list": "list"}
        return self._update(order_id, "SET execution = :execution", "execution = :ended AND attribute_exists(#list)", names, values)

    def store_task_token(self, order_id: str, execution: str, token: str) -> bool:
        """Store the task token of an execution; return whether the review is open and owned by that execution."""
        values = dynamodb.values(token=token, execution=execution)
        names = {"#list": "list", "#token": "token"}
        return self._update(order_id, "SET #token = :token", "execution = :execution AND attribute_exists(#list)", names, values)

    def close(self, order_id: str, now: datetime) -> str | None:
        """Close the order's review, if it has one; return the task token of the waiting execution.

        Idempotent: closing again returns the token again, so a retry after a crash can still use it.
        """
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=dynamodb.key(order_id=order_id),
                UpdateExpression="SET expires_at = if_not_exists(expires_at, :expires_at) REMOVE #list",
                ConditionExpression="attribute_exists(order_id)",
                ExpressionAttributeNames={"#list": "list"},
                ExpressionAttributeValues=dynamodb.values(expires_at=int((now + RETENTION).timestamp())),
                ReturnValues="ALL_NEW",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return dynamodb.decode_item(answer.get("Attributes", {})).get("token")

    def list_open(self, limit: int, after: Position | None) -> tuple[list[Review], Position | None]:
        """Return up to `limit` open reviews after a position, oldest first, and the position of the next page.

        The index is eventually consistent.
        """
        start = {"ExclusiveStartKey": _key_of(after)} if after else {}
        page = self._client.query(
            TableName=self._table,
            IndexName=INDEX,
            KeyConditionExpression="#list = :open",
            ExpressionAttributeNames={"#list": "list"},
            ExpressionAttributeValues=dynamodb.values(open=_LIST),
            Limit=limit,
            **start,  # pyright: ignore[reportArgumentType]
        )
        last = page.get("LastEvaluatedKey")
        return [_review(item) for item in map(dynamodb.decode_item, page["Items"])], _position(dynamodb.decode_item(last)) if last else None

    def _update(self, order_id: str, update: str, condition: str, names: dict[str, str], values: dict[str, Any]) -> bool:
        try:
            self._client.update_item(
                TableName=self._table,
                Key=dynamodb.key(order_id=order_id),
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _key_of(position: Position) -> dict[str, Any]:
    return dynamodb.key(order_id=position.order_id, list=_LIST, opened_at=position.moment)


def _position(key: Mapping[str, Any]) -> Position:
    return Position(key["opened_at"], key["order_id"])


def _review(item: Mapping[str, Any]) -> Review:
    return Review(
        order_id=item["order_id"],
        opened_at=datetime.fromisoformat(item["opened_at"]).astimezone(UTC),
        total=Money(item["amount"], item["currency"]),
        score=item["score"],
        reasons=tuple(item["reasons"]),
    )
