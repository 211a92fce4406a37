"""Plans writes without applying them: checks keys, sizes and conditions, and computes the new item."""

from __future__ import annotations

from tests.fakes.aws.dynamodb.errors import ConditionFailed, Parameters
from tests.fakes.aws.dynamodb.expressions.evaluation import holds
from tests.fakes.aws.dynamodb.expressions.syntax import ExpressionError, Item
from tests.fakes.aws.dynamodb.expressions.updates import updated
from tests.fakes.aws.dynamodb.expressions.values import normalized
from tests.fakes.aws.dynamodb.keys import Key, checked_size, exact_key, key_of
from tests.fakes.aws.dynamodb.requests import expressions, only
from tests.fakes.aws.dynamodb.storage import Storage, Write
from tests.fakes.aws.dynamodb.tables import Table

BATCH_WRITES = 25

_CONDITIONAL = "TableName ConditionExpression ExpressionAttributeNames ExpressionAttributeValues ReturnValuesOnConditionCheckFailure"


def planned(storage: Storage, kind: str, given: Parameters) -> Write:
    """Plan a Put, Update, Delete or ConditionCheck.

    Raises:
        ConditionFailed: the condition does not hold.
        ExpressionError: DynamoDB would refuse the request.
    """
    return _PLANS[kind](storage, storage.table(given["TableName"]), given)


def batch_write_item(storage: Storage, given: Parameters, unprocessed: int) -> Parameters:
    """Apply the PutRequests of BatchWriteItem, but leave the last `unprocessed` of each table."""
    only(given, "RequestItems")
    if sum(map(len, given["RequestItems"].values())) > BATCH_WRITES:
        raise ExpressionError("Too many items requested for the BatchWriteItem call")
    left: Parameters = {}
    for name, requests in given["RequestItems"].items():
        done = max(0, len(requests) - unprocessed)
        writes = [planned(storage, "Put", {"TableName": name, "Item": _item_of(request)}) for request in requests]
        if len({write.key for write in writes}) < len(writes):
            raise ExpressionError("Provided list of item keys contains duplicates")
        storage.commit(writes[:done])
        if requests[done:]:
            left[name] = requests[done:]
    return {"UnprocessedItems": left}


def _item_of(request: Parameters) -> Item:
    if "PutRequest" not in request:
        raise NotImplementedError("the in-memory DynamoDB implements PutRequest only in BatchWriteItem")
    return request["PutRequest"]["Item"]


def _put(storage: Storage, table: Table, given: Parameters) -> Write:
    only(given, f"Item {_CONDITIONAL}")
    item = {name: normalized(value) for name, value in given["Item"].items()}
    size = checked_size(table, item)
    key = key_of(table.key, item)
    return Write(table, key, item, _checked(storage, table, key, given), size)


def _update(storage: Storage, table: Table, given: Parameters) -> Write:
    only(given, f"Key UpdateExpression {_CONDITIONAL}")
    key = exact_key(table, given["Key"])
    update = expressions(given).update
    old = _checked(storage, table, key, given)
    if any(action.path.steps[0] in table.key for action in update):
        raise ExpressionError("Cannot update attribute; this attribute is part of the key")
    new = updated(update, old or {name: normalized(value) for name, value in given["Key"].items()})
    return Write(table, key, new, old, checked_size(table, new))


def _delete(storage: Storage, table: Table, given: Parameters) -> Write:
    only(given, f"Key {_CONDITIONAL}")
    key = exact_key(table, given["Key"])
    return Write(table, key, None, _checked(storage, table, key, given))


def _check(storage: Storage, table: Table, given: Parameters) -> Write:
    only(given, f"Key {_CONDITIONAL}")
    key = exact_key(table, given["Key"])
    found = _checked(storage, table, key, given)
    return Write(table, key, found, found)


_PLANS = {"Put": _put, "Update": _update, "Delete": _delete, "ConditionCheck": _check}


def _checked(storage: Storage, table: Table, key: Key, given: Parameters) -> Item | None:
    """Return the item before the write; raise ConditionFailed if the condition does not hold."""
    found = storage.find(table, key)
    if not holds(expressions(given).condition, found or {}):
        raise ConditionFailed(found if given.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" else None)
    return found


def returned(wanted: str, write: Write, given: Parameters) -> Parameters:
    """Return the answer that ReturnValues asks for."""
    if wanted == "NONE":
        return {}
    changed = {action.path.steps[0] for action in expressions(given).update}
    match wanted:
        case "ALL_OLD":
            attributes = write.old
        case "ALL_NEW" if "UpdateExpression" in given:
            attributes = write.new
        case "UPDATED_OLD" if "UpdateExpression" in given:
            attributes = {name: value for name, value in (write.old or {}).items() if name in changed}
        case "UPDATED_NEW" if "UpdateExpression" in given:
            attributes = {name: value for name, value in (write.new or {}).items() if name in changed}
        case _:
            raise ExpressionError("Return values set to invalid value")
    return {"Attributes": attributes} if attributes else {}
