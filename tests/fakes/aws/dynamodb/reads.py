"""Reads: single items, batches, queries and scans, of tables and indexes, page by page."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence

from tests.fakes.aws.dynamodb.errors import Parameters
from tests.fakes.aws.dynamodb.expressions.evaluation import holds
from tests.fakes.aws.dynamodb.expressions.syntax import Condition, ExpressionError, Item
from tests.fakes.aws.dynamodb.key_conditions import check_key_condition, partition_value, sort_key_bounds
from tests.fakes.aws.dynamodb.keys import exact_key, item_size, key_of
from tests.fakes.aws.dynamodb.requests import expressions, only
from tests.fakes.aws.dynamodb.storage import Ordered, Storage
from tests.fakes.aws.dynamodb.tables import Index, Table

BATCH_KEYS = 100
PAGE_BYTES = 1024 * 1024

_READING = (
    "TableName IndexName Limit ExclusiveStartKey FilterExpression ProjectionExpression Select ConsistentRead"
    " ExpressionAttributeNames ExpressionAttributeValues"
)


def get_item(storage: Storage, given: Parameters) -> Parameters:
    """Run GetItem."""
    only(given, "TableName Key ConsistentRead ProjectionExpression ExpressionAttributeNames")
    table = storage.table(given["TableName"])
    project = expressions(given).project
    item = storage.find(table, exact_key(table, given["Key"]))
    return {} if item is None else {"Item": project(item)}


def batch_get_item(storage: Storage, given: Parameters, unprocessed: int) -> Parameters:
    """Run BatchGetItem, but leave the last `unprocessed` keys of each table unprocessed."""
    only(given, "RequestItems")
    if sum(len(request["Keys"]) for request in given["RequestItems"].values()) > BATCH_KEYS:
        raise ExpressionError("Too many items requested for the BatchGetItem call")
    responses: dict[str, list[Item]] = {}
    left: dict[str, Parameters] = {}
    for name, request in given["RequestItems"].items():
        done = max(0, len(request["Keys"]) - unprocessed)
        responses[name] = _batch_of(storage, name, {**request, "Keys": request["Keys"][:done]})
        if unprocessed:
            left[name] = {**request, "Keys": request["Keys"][done:]}
    return {"Responses": responses, "UnprocessedKeys": left}


def _batch_of(storage: Storage, name: str, request: Parameters) -> list[Item]:
    only(request, "Keys ConsistentRead ProjectionExpression ExpressionAttributeNames")
    table, project = storage.table(name), expressions(request).project
    keys = [exact_key(table, key) for key in request["Keys"]]
    if len(set(keys)) < len(keys):
        raise ExpressionError("Provided list of item keys contains duplicates")
    return [project(item) for key in keys if (item := storage.find(table, key)) is not None]


def query(storage: Storage, given: Parameters) -> Parameters:
    """Run Query."""
    only(given, f"KeyConditionExpression ScanIndexForward {_READING}")
    table, index = _source(storage, given)
    key = index.key if index else table.key
    condition = expressions(given).key_condition
    check_key_condition(condition, list(key))
    items = _indexed(storage, table, index) if index else _partition(storage, table, condition, given)
    return _page(storage, table, index, [item for item in items if holds(condition, item)], given)


def scan(storage: Storage, given: Parameters) -> Parameters:
    """Run Scan, in key order, which DynamoDB does not guarantee."""
    only(given, f"Segment TotalSegments {_READING}")
    table, index = _source(storage, given)
    items = _indexed(storage, table, index) if index else _sorted(storage, table, given)
    if "TotalSegments" in given:
        partition = next(iter(index.key if index else table.key))
        items = [item for item in items if _segment(item[partition], given["TotalSegments"]) == given["Segment"]]
    return _page(storage, table, index, items, given)


def _segment(value: Mapping[str, object], segments: int) -> int:
    """Return the segment of a partition key, by a hash as in DynamoDB."""
    return zlib.crc32(repr(value).encode()) % segments


def _source(storage: Storage, given: Parameters) -> tuple[Table, Index | None]:
    table, name = storage.table(given["TableName"]), given.get("IndexName")
    if name is None:
        return table, None
    if name not in table.indexes:
        raise ExpressionError(f"The table does not have the specified index: {name}")
    if given.get("ConsistentRead"):
        raise ExpressionError("Consistent reads are not supported on global secondary indexes")
    return table, table.indexes[name]


def _sorted(storage: Storage, table: Table, given: Parameters) -> list[Item]:
    items = storage.items[table.name]
    if isinstance(items, Ordered) and "Limit" in given and "TotalSegments" not in given:
        start = given.get("ExclusiveStartKey")
        return items.following(key_of(table.key, start) if start else None, given["Limit"] + 1)
    return [items[key] for key in sorted(items)]


def _partition(storage: Storage, table: Table, condition: Condition | None, given: Parameters) -> list[Item]:
    """Return the items with the partition key that a key condition names, in sort key order."""
    items, value = storage.items[table.name], partition_value(condition, next(iter(table.key)))
    if isinstance(items, Ordered):
        # A few more than the limit, so that the page detects further items.
        most = given["Limit"] + 2 if "Limit" in given and "ExclusiveStartKey" not in given else None
        bounds = sort_key_bounds(condition, list(table.key)[-1])
        return items.between(value, *bounds, most, backwards=not given.get("ScanIndexForward", True))
    return [items[key] for key in sorted([key for key in items if key[0] == value])]


def _indexed(storage: Storage, table: Table, index: Index) -> list[Item]:
    """Return the projected items of an index in the order of its keys."""
    keys = _keys(table, index)
    items = storage.items[table.name].values()
    present = [_projected(table, index, item) for item in items if all(name in item for name in index.key)]
    return sorted(present, key=lambda item: key_of(keys, item))


def _projected(table: Table, index: Index, item: Item) -> Item:
    if index.projection == "ALL":
        return item
    extra = () if index.projection == "KEYS_ONLY" else index.projection
    names = {*table.key, *index.key, *extra}
    return {name: value for name, value in item.items() if name in names}


def _page(storage: Storage, table: Table, index: Index | None, found: Sequence[Item], given: Parameters) -> Parameters:
    read = expressions(given)
    keys, backwards = _keys(table, index), not given.get("ScanIndexForward", True)
    rest = _after(found[::-1] if backwards else found, given.get("ExclusiveStartKey"), keys, backwards=backwards)
    page = list(rest[: given.get("Limit")])
    if len(page) * storage.largest[table.name] > PAGE_BYTES:
        page = list(_one_megabyte(page))
    names = [item for item in page if holds(read.filter, item)]
    answer: Parameters = {"Count": len(names), "ScannedCount": len(page)}
    if given.get("Select") != "COUNT":
        answer["Items"] = [read.project(item) for item in names]
    # Like DynamoDB, a page that ends at the limit names its last key even without further items.
    if page and (len(page) < len(rest) or len(page) == given.get("Limit")):
        answer["LastEvaluatedKey"] = {name: page[-1][name] for name in keys}
    return answer


def _keys(table: Table, index: Index | None) -> dict[str, str]:
    """Return the key attributes by which results are sorted."""
    return {**(index.key if index else {}), **table.key}


def _after(found: Sequence[Item], start: Item | None, keys: Mapping[str, str], *, backwards: bool) -> Sequence[Item]:
    """Return the items after the start key, whose own item may have been deleted."""
    if start is None:
        return found
    if set(start) != set(keys):
        raise ExpressionError("The provided starting key is invalid")
    last = key_of(keys, start)
    return [item for item in found if (key_of(keys, item) < last if backwards else key_of(keys, item) > last)]


def _one_megabyte(items: Sequence[Item]) -> Iterator[Item]:
    taken = 0
    for item in items:
        taken += item_size(item)
        if taken > PAGE_BYTES:
            return
        yield item
