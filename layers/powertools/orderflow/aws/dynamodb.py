"""Shared by all DynamoDB stores: the item codec, reads, paging, and transactions with retries.

botocore uses DynamoDB's typed attributes (`{"S": "text"}`). boto3 has a codec for them, but it is slower to import than this module
and turns every number into a `Decimal`; here numbers are `int`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from botocore.exceptions import ClientError
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

ATTEMPTS = 5

_CONDITION_FAILED = "ConditionalCheckFailed"
# DynamoDB may accept the same transaction a moment later; botocore does not repeat a cancelled one
# (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
_CONFLICTS = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}


class CancellationReason(Struct, frozen=True):
    """Why DynamoDB canceled a transaction, for one of its writes; `item` is the stored item, if the write requested it."""

    code: str
    item: dict[str, Any] = {}

    @property
    def is_condition_failed(self) -> bool:
        """True if the condition of this write did not hold."""
        return self.code == _CONDITION_FAILED

    @property
    def is_conflict(self) -> bool:
        """True if another transaction held the item of this write, or DynamoDB throttled the write."""
        return self.code in _CONFLICTS


class Conflict(RuntimeError):
    """Another writer changed the item first; read and decide again. `item` is the stored item, if the write requested it."""

    def __init__(self, key: str = "", item: dict[str, Any] | None = None) -> None:
        """Create the error for this key and stored item."""
        super().__init__(key)
        self.item = item


class _Canceled(RuntimeError):
    def __init__(self, reasons: Sequence[CancellationReason] = ()) -> None:
        """Create the error for these reasons, one per write."""
        super().__init__([reason.code for reason in reasons])
        self.reasons = reasons


class TransactionConflict(_Canceled):
    """Other transactions held the same items in every attempt, or DynamoDB throttled them; a later retry can succeed.

    `reasons` has one entry per item of `extra_writes`, from the last attempt; it is empty if DynamoDB named none.
    """


class TransactionConditionFailed(_Canceled):
    """A condition of `extra_writes` did not hold. `reasons` has one entry per item of `extra_writes`."""


def encode(value: object) -> dict[str, Any]:
    """Return a value as a DynamoDB attribute; a datetime becomes a string that sorts by time.

    Raises:
        TypeError: DynamoDB has no type for it.
    """
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case datetime():
            return {"S": timestamp(value)}
        case bytes():
            return {"B": value}
        case Mapping():
            return {"M": encode_item(cast("Mapping[str, object]", value))}
        case list() | tuple():
            return {"L": [encode(one) for one in cast("Sequence[object]", value)]}
        case set() | frozenset():
            return {"SS": sorted(cast("set[str]", value))}
        case _:
            message = f"a DynamoDB attribute cannot hold {type(value).__name__}; encode it as text, number, list or map first"
            raise TypeError(message)


def decode(attribute: Mapping[str, Any]) -> Any:
    """Return the Python value of a DynamoDB attribute; the inverse of `encode`, except that a time stays text."""
    [(kind, value)] = attribute.items()
    match kind:
        case "N":
            return int(value)
        case "M":
            return decode_item(value)
        case "L":
            return [decode(one) for one in value]
        case "SS":
            return set(value)
        case _:
            return value


def encode_item(item: Mapping[str, object]) -> dict[str, Any]:
    """Return Python values by name as a DynamoDB item."""
    return {name: encode(value) for name, value in item.items()}


def decode_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return a DynamoDB item as Python values by name."""
    return {name: decode(attribute) for name, attribute in item.items()}


def key(**attributes: str | int) -> dict[str, Any]:
    """Return an item's primary key: `key(order_id="ord_1", version=1)`."""
    return encode_item(attributes)


def values(**named: object) -> dict[str, Any]:
    """Return `ExpressionAttributeValues`: `values(version=1)` defines `:version`."""
    return {f":{name}": encode(value) for name, value in named.items()}


def timestamp(moment: datetime) -> str:
    """Return a UTC moment as RFC 3339 with microseconds, so that strings sort by time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_item(client: DynamoDBClient, table: str, item_key: Mapping[str, Any], *, consistent: bool = True) -> dict[str, Any] | None:
    """Return the item under `item_key` (see `key`), or None if there is none."""
    answer = client.get_item(TableName=table, Key=item_key, ConsistentRead=consistent)
    return decode_item(answer["Item"]) if "Item" in answer else None


def read_items(operation: Callable[..., Any], **request: Any) -> Iterator[dict[str, Any]]:
    """Yield the items of a query or a scan, page after page: `read_items(client.query, TableName=...)`."""
    while True:
        page = operation(**request)
        yield from map(decode_item, page["Items"])
        if "LastEvaluatedKey" not in page:
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def read_batch(client: DynamoDBClient, table: str, keys: Sequence[Mapping[str, Any]], *, consistent: bool = True) -> list[dict[str, Any]]:
    """Return the items under up to 100 different `keys`, in any order; missing items are omitted.

    Raises:
        TransactionConflict: DynamoDB left keys unprocessed in every attempt.
    """
    return list(map(decode_item, read_encoded_batch(client, table, keys, consistent=consistent)))


def read_encoded_batch(
    client: DynamoDBClient, table: str, keys: Sequence[Mapping[str, Any]], *, consistent: bool = True
) -> list[dict[str, Any]]:
    """Return items as `read_batch` does, without decoding them, for a store that decodes each item on its own."""
    request: Any = {table: {"Keys": keys, "ConsistentRead": consistent}}
    found: list[dict[str, Any]] = []
    for attempt in range(ATTEMPTS):
        if attempt:
            backoff(attempt)
        answer: Any = client.batch_get_item(RequestItems=request)
        found += answer["Responses"].get(table, [])
        request = answer.get("UnprocessedKeys")
        if not request:
            return found
    raise TransactionConflict


def stored_item(failed: ClientError) -> dict[str, Any]:
    """Return the stored item of a write whose condition failed, for a write with `ReturnValuesOnConditionCheckFailure="ALL_OLD"`."""
    return decode_item(cast("dict[str, Any]", failed.response).get("Item", {}))


def write_item[A](client: DynamoDBClient, operation: Callable[..., A], **request: Any) -> A:
    """Write one item that transactions write as well, retried while one of them holds it: `write_item(client, client.put_item, Item=...)`.

    DynamoDB rejects a write of an item in a transaction, and botocore does not retry it
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-conflict-handling).

    Raises:
        TransactionConflict: a transaction held the item in every attempt.
    """
    for attempt in range(ATTEMPTS):
        try:
            return operation(**request)
        except client.exceptions.TransactionConflictException:
            backoff(attempt + 1)
    raise TransactionConflict


def transact(
    client: DynamoDBClient,
    items: Sequence[TransactWriteItemTypeDef],
    extra_writes: Sequence[TransactWriteItemTypeDef] = (),
    *,
    own: int | None = None,
    attempts: int = ATTEMPTS,
) -> None:
    """Write `items` and `extra_writes` in one transaction, retried while other transactions hold some of them or DynamoDB throttles.

    The first `own` of `items` (by default all) have conditions on data that the caller read before.

    Raises:
        Conflict: a condition of the first `own` of `items` did not hold.
        TransactionConditionFailed: a condition of `extra_writes` did not hold.
        TransactionConflict: other transactions held the items in every attempt.
    """
    reasons: list[CancellationReason] = []
    for attempt in range(attempts):
        if attempt:
            backoff(attempt)
        try:
            client.transact_write_items(TransactItems=[*items, *extra_writes])
        except client.exceptions.TransactionCanceledException as canceled:
            reasons = _reasons(canceled)
            failed = next((reason for reason in reasons[: own if own is not None else len(items)] if reason.is_condition_failed), None)
            if failed:
                raise Conflict(item=failed.item) from None
            if any(reason.is_condition_failed for reason in reasons[len(items) :]):
                raise TransactionConditionFailed(reasons[len(items) :]) from None
            if not any(reason.is_conflict for reason in reasons):
                raise
        else:
            return
    raise TransactionConflict(reasons[len(items) :])


def backoff(attempts: int) -> None:
    """Wait before the next attempt after `attempts` conflicts: 10 to 50 ms per attempt, random."""
    time.sleep(random.uniform(0.01, 0.05) * attempts)  # noqa: S311 - jitter, not a secret


def _reasons(canceled: ClientError) -> list[CancellationReason]:
    reasons: list[dict[str, Any]] = cast("dict[str, Any]", canceled.response).get("CancellationReasons", [])
    return [CancellationReason(reason.get("Code", "None"), decode_item(reason.get("Item", {}))) for reason in reasons]
