"""DynamoDB in memory: the low-level client's operations, answers and errors, for tests.

It takes and gives what botocore's client does. Parameters are checked against botocore's own service
model, expressions are really parsed, and what is not built here raises instead of passing, so a test
cannot be green because of something that the fake skipped.

    database = FakeDynamoDB(Table("stock", {"sku": "S"}))
    database.client.put_item(TableName="stock", Item={"sku": {"S": "MUG"}})
    database.calls["PutItem"]                     # 1
    database.before = crash_at("PutItem")         # the process dies before the next one

`before` and `after` are called with the operation's name and its parameters around every attempt:
`before` when nothing has happened yet, `after` when the change is committed, or refused, and only
the answer is missing. What they raise is what the caller gets, except that errors which botocore retries are
retried here too where `attempts` is more than one.
"""

from __future__ import annotations

import threading
import uuid
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, cast

import yaml
from botocore.errorfactory import ClientExceptionsFactory
from botocore.exceptions import ClientError, ConnectionClosedError, ParamValidationError, ReadTimeoutError
from botocore.session import get_session
from botocore.validate import ParamValidator

from tests.fakes.aws.expressions import (
    Between,
    Both,
    Call,
    Comparison,
    Condition,
    ExpressionError,
    Item,
    Literally,
    Parser,
    Path,
    Placeholders,
    copied,
    find,
    holds,
    normalized,
    ordering,
    size,
    updated,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Parameters = dict[str, Any]
type Answer = dict[str, Any]
type Hook = Callable[[str, Parameters], None]
type Key = tuple[Any, ...]

TRANSACTION_ITEMS = 100
BATCH_KEYS = 100
ITEM_BYTES = 400 * 1024
PAGE_BYTES = 1024 * 1024
TRANSACTION_BYTES = 4 * 1024 * 1024

_RETRIED_CODES = {
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionInProgressException",
}


class Crash(BaseException):
    """The process dies here. Not an Exception, so that no handler of the code under test survives it."""


@dataclass(frozen=True)
class Index:
    """A global secondary index; it holds only the items that have all of `key`.

    `key` maps the partition key and, second, the sort key to their types. `projection` is ALL,
    KEYS_ONLY, or the attributes kept besides the keys.
    """

    key: Mapping[str, str]
    projection: str | tuple[str, ...] = "ALL"


@dataclass(frozen=True)
class Table:
    """A table's definition; `key` maps the partition key and, second, the sort key to their types."""

    name: str
    key: Mapping[str, str]
    indexes: Mapping[str, Index] = field(default_factory=dict[str, Index])


class _Refused(Exception):
    """A condition did not hold; `there` is the item that is there instead, if any."""

    def __init__(self, there: Item | None) -> None:
        super().__init__()
        self.there = there


class Ordered(MutableMapping[Key, Item]):
    """A mapping of items that finds those of a partition in the order of their sort keys, without looking at the others."""

    @abstractmethod
    def between(self, partition: Any, low: Any, high: Any, most: int | None, *, backwards: bool) -> list[Item]:
        """Return, in their order, at most so many items between two sort keys, the last ones if `backwards`."""


@dataclass(frozen=True)
class _Write:
    table: Table
    key: Key
    new: Item | None
    old: Item | None
    size: int = 0


class FakeDynamoDB:
    """A set of tables and the client to use them. All operations are atomic and safe for threads."""

    def __init__(
        self, *tables: Table, attempts: int = 1, storage: Callable[[], MutableMapping[Key, Item]] = dict, keeps_changes: bool = True
    ) -> None:
        """Start with empty tables; `attempts` is how often botocore would send a call that fails.

        The items of each table are in a mapping that `storage` makes; every change is on `changes`, as a stream has it, unless that
        would be too many.
        """
        self.calls: Counter[str] = Counter()
        self.before: Hook | None = None
        self.unprocessed = 0
        self.after: Hook | None = None
        self.changes: dict[str, list[dict[str, Any]]] = {table.name: [] for table in tables}
        self.exceptions = _exceptions()
        self._attempts = attempts
        self._tables = {table.name: table for table in tables}
        self._items: dict[str, MutableMapping[Key, Item]] = {table.name: storage() for table in tables}
        self._keeps_changes = keeps_changes
        self._tokens: dict[str, str] = {}
        self._largest: dict[str, int] = {table.name: 0 for table in tables}
        self._lock = threading.RLock()

    @property
    def client(self) -> DynamoDBClient:
        """The fake as code under test sees it: a botocore client."""
        return cast("DynamoDBClient", self)

    def items(self, table: str) -> list[Item]:
        """Return copies of all items of a table, sorted by key, without counting as a call."""
        with self._lock:
            return copied([self._items[table][key] for key in sorted(self._items[table])])

    def each(self, table: str) -> Iterator[Item]:
        """Yield the items of a table in no order, without counting as a call; nothing may be written meanwhile."""
        yield from self._items[table].values()

    def seed(self, table: str, *items: Item) -> None:
        """Put items without conditions, calls counted or hooks."""
        with self._lock:
            for item in items:
                self._commit([self._planned_put(self._tables[table], {"Item": item})])

    def get_item(self, **parameters: Any) -> Answer:
        """GetItem."""
        return self._call("GetItem", parameters, self._get_item)

    def put_item(self, **parameters: Any) -> Answer:
        """PutItem."""
        return self._call("PutItem", parameters, lambda given: self._write_one("Put", given))

    def update_item(self, **parameters: Any) -> Answer:
        """UpdateItem."""
        return self._call("UpdateItem", parameters, lambda given: self._write_one("Update", given))

    def delete_item(self, **parameters: Any) -> Answer:
        """DeleteItem."""
        return self._call("DeleteItem", parameters, lambda given: self._write_one("Delete", given))

    def query(self, **parameters: Any) -> Answer:
        """Query, on the table or an index."""
        return self._call("Query", parameters, self._query)

    def scan(self, **parameters: Any) -> Answer:
        """Scan, of the table or an index; in key order, which the service does not promise."""
        return self._call("Scan", parameters, self._scan)

    def batch_get_item(self, **parameters: Any) -> Answer:
        """BatchGetItem; the last `unprocessed` keys are left for another call."""
        return self._call("BatchGetItem", parameters, self._batch_get_item)

    def transact_write_items(self, **parameters: Any) -> Answer:
        """TransactWriteItems: all or nothing; the same ClientRequestToken again changes nothing."""
        parameters.setdefault("ClientRequestToken", str(uuid.uuid4()))
        return self._call("TransactWriteItems", parameters, self._transact)

    def _call(self, operation: str, parameters: Parameters, run: Callable[[Parameters], Answer]) -> Answer:
        _validate(operation, parameters)
        for attempt in range(1, self._attempts + 1):
            try:
                return self._attempt(operation, parameters, run)
            except (ClientError, ConnectionClosedError, ReadTimeoutError) as error:
                if attempt == self._attempts or not _is_retried(error):
                    raise
        raise AssertionError

    def _attempt(self, operation: str, parameters: Parameters, run: Callable[[Parameters], Answer]) -> Answer:
        with self._lock:
            self.calls[operation] += 1
        if self.before:
            self.before(operation, parameters)
        answer: Answer = {}
        refusal: ClientError | None = None
        try:
            with self._lock:
                answer = run({**parameters})
        except ExpressionError as error:
            refusal = client_error(operation, "ValidationException", str(error))
        except _Refused as refused:
            there: dict[str, Any] = {"Item": copied(refused.there)} if refused.there else {}
            refusal = client_error(operation, "ConditionalCheckFailedException", _CONDITION_FAILED, **there)
        except _FailureError as failure:
            refusal = client_error(operation, failure.code, failure.message, **failure.details)
        if self.after:
            self.after(operation, parameters)
        if refusal:
            raise refusal
        return {**copied(answer), "ResponseMetadata": {"HTTPStatusCode": 200, "RetryAttempts": 0}}

    def _table(self, name: str) -> Table:
        if name not in self._tables:
            raise _FailureError("ResourceNotFoundException", "Requested resource not found")
        return self._tables[name]

    def _there(self, table: Table, key: Key) -> Item | None:
        return self._items[table.name].get(key)

    def _get_item(self, given: Parameters) -> Answer:
        _only(given, "TableName Key ConsistentRead ProjectionExpression ExpressionAttributeNames")
        table = self._table(given["TableName"])
        expressions = _expressions(given)
        item = self._there(table, _exact_key(table, given["Key"]))
        return {} if item is None else {"Item": expressions.project(item)}

    def _batch_get_item(self, given: Parameters) -> Answer:
        _only(given, "RequestItems")
        if sum(len(request["Keys"]) for request in given["RequestItems"].values()) > BATCH_KEYS:
            raise ExpressionError("Too many items requested for the BatchGetItem call")
        responses: dict[str, list[Item]] = {}
        left: dict[str, Parameters] = {}
        for name, request in given["RequestItems"].items():
            done = max(0, len(request["Keys"]) - self.unprocessed)
            responses[name] = self._batch_of(name, {**request, "Keys": request["Keys"][:done]})
            if self.unprocessed:
                left[name] = {**request, "Keys": request["Keys"][done:]}
        return {"Responses": responses, "UnprocessedKeys": left}

    def _batch_of(self, name: str, request: Parameters) -> list[Item]:
        _only(request, "Keys ConsistentRead ProjectionExpression ExpressionAttributeNames")
        table, project = self._table(name), _expressions(request).project
        keys = [_exact_key(table, key) for key in request["Keys"]]
        if len(set(keys)) < len(keys):
            raise ExpressionError("Provided list of item keys contains duplicates")
        return [project(item) for key in keys if (item := self._there(table, key)) is not None]

    def _write_one(self, kind: str, given: Parameters) -> Answer:
        returned = given.pop("ReturnValues", "NONE")
        write = self._planned(kind, given)
        answer = _returned(returned, write, given)
        self._commit([write])
        return answer

    def _planned(self, kind: str, given: Parameters) -> _Write:
        """Check a write and its condition; nothing is changed yet."""
        plan = {"Put": self._planned_put, "Update": self._planned_update, "Delete": self._planned_delete}
        plan["ConditionCheck"] = self._planned_check
        return plan[kind](self._table(given["TableName"]), given)

    def _planned_put(self, table: Table, given: Parameters) -> _Write:
        _only(given, f"Item {_CONDITIONAL}")
        item = {name: normalized(value) for name, value in given["Item"].items()}
        bytes_ = _checked_size(table, item)
        key = _key_of(table.key, item)
        return _Write(table, key, item, self._checked(table, key, given), bytes_)

    def _planned_update(self, table: Table, given: Parameters) -> _Write:
        _only(given, f"Key UpdateExpression {_CONDITIONAL}")
        key = _exact_key(table, given["Key"])
        update = _expressions(given).update
        old = self._checked(table, key, given)
        if any(action.path.steps[0] in table.key for action in update):
            raise ExpressionError("Cannot update attribute; this attribute is part of the key")
        new = updated(update, old or {name: normalized(value) for name, value in given["Key"].items()})
        return _Write(table, key, new, old, _checked_size(table, new))

    def _planned_delete(self, table: Table, given: Parameters) -> _Write:
        _only(given, f"Key {_CONDITIONAL}")
        key = _exact_key(table, given["Key"])
        return _Write(table, key, None, self._checked(table, key, given))

    def _planned_check(self, table: Table, given: Parameters) -> _Write:
        _only(given, f"Key {_CONDITIONAL}")
        key = _exact_key(table, given["Key"])
        there = self._checked(table, key, given)
        return _Write(table, key, there, there)

    def _checked(self, table: Table, key: Key, given: Parameters) -> Item | None:
        there = self._there(table, key)
        if not holds(_expressions(given).condition, there or {}):
            raise _Refused(there if given.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" else None)
        return there

    def _commit(self, writes: Sequence[_Write]) -> None:
        for write in writes:
            if write.new is None:
                self._items[write.table.name].pop(write.key, None)
            else:
                self._items[write.table.name][write.key] = write.new
                self._largest[write.table.name] = max(self._largest[write.table.name], write.size)
            if self._keeps_changes and write.new != write.old:
                self.changes[write.table.name].append(_stream_record(write))

    def _transact(self, given: Parameters) -> Answer:
        _only(given, "TransactItems ClientRequestToken")
        token, content = given["ClientRequestToken"], repr(given["TransactItems"])
        if self._tokens.get(token, content) != content:
            raise _FailureError("IdempotentParameterMismatchException", "The token was used with other parameters")
        if token in self._tokens:
            return {}
        self._commit(self._planned_transaction(given["TransactItems"]))
        self._tokens[token] = content
        return {}

    def _planned_transaction(self, items: Sequence[Parameters]) -> list[_Write]:
        pairs = [_single(item) for item in items]
        if not 1 <= len(pairs) <= TRANSACTION_ITEMS:
            raise ExpressionError(f"Member must have length less than or equal to {TRANSACTION_ITEMS}, and at least 1")
        targets = [self._target(request) for _, request in pairs]
        if len(set(targets)) < len(targets):
            raise ExpressionError("Transaction request cannot include multiple operations on one item")
        plans = [self._attempted(kind, request) for kind, request in pairs]
        reasons = [plan if isinstance(plan, dict) else {"Code": "None"} for plan in plans]
        if any(reason["Code"] != "None" for reason in reasons):
            raise _FailureError("TransactionCanceledException", _cancelled(reasons), CancellationReasons=reasons)
        writes = [plan for plan in plans if isinstance(plan, _Write)]
        if sum(write.size for write in writes) > TRANSACTION_BYTES:
            raise ExpressionError("Member must have a total size of at most 4 MB")
        return writes

    def _attempted(self, kind: str, request: Parameters) -> _Write | dict[str, Any]:
        """Return the planned write, or the reason why it cancels its transaction."""
        try:
            return self._planned(kind, request)
        except _Refused as refused:
            there = {"Item": refused.there} if refused.there else {}
            return {"Code": "ConditionalCheckFailed", "Message": _CONDITION_FAILED, **there}
        except ExpressionError as error:
            if "does not exist in the item" not in str(error) and "incorrect data type" not in str(error):
                raise
            return {"Code": "ValidationError", "Message": str(error)}

    def _target(self, request: Parameters) -> tuple[str, Key]:
        table = self._table(request["TableName"])
        return table.name, _key_of(table.key, request.get("Item") or request["Key"])

    def _query(self, given: Parameters) -> Answer:
        _only(given, f"KeyConditionExpression ScanIndexForward {_READING}")
        table, index = self._source(given)
        key = index.key if index else table.key
        condition = _expressions(given).key_condition
        _check_key_condition(condition, list(key))
        items = self._indexed(table, index) if index else self._partition(table, condition, given)
        found = [item for item in items if holds(condition, item)]
        return self._page(table, index, found, given)

    def _partition(self, table: Table, condition: Condition | None, given: Parameters) -> list[Item]:
        """Return the items of a table with the partition key that a key condition asks for, in the order of their keys."""
        items, value = self._items[table.name], _partition_value(condition, next(iter(table.key)))
        if isinstance(items, Ordered):
            # Some more than are asked for, so that it shows that there are more.
            most = given["Limit"] + 2 if "Limit" in given and "ExclusiveStartKey" not in given else None
            return items.between(value, *_bounds(condition, list(table.key)[-1]), most, backwards=not given.get("ScanIndexForward", True))
        return [items[key] for key in sorted([key for key in items if key[0] == value])]

    def _scan(self, given: Parameters) -> Answer:
        _only(given, _READING)
        table, index = self._source(given)
        return self._page(table, index, self._indexed(table, index), given)

    def _page(self, table: Table, index: Index | None, found: Sequence[Item], given: Parameters) -> Answer:
        expressions = _expressions(given)
        keys, backwards = _keys(table, index), not given.get("ScanIndexForward", True)
        rest = _after(found[::-1] if backwards else found, given.get("ExclusiveStartKey"), keys, backwards=backwards)
        read = list(rest[: given.get("Limit")])
        if len(read) * self._largest[table.name] > PAGE_BYTES:
            read = list(_one_page(read))
        kept = [item for item in read if holds(expressions.filter, item)]
        answer: Answer = {"Count": len(kept), "ScannedCount": len(read)}
        if given.get("Select") != "COUNT":
            answer["Items"] = [expressions.project(item) for item in kept]
        # As in the service, a page that the limit ended names its last key even if nothing follows.
        if read and (len(read) < len(rest) or len(read) == given.get("Limit")):
            answer["LastEvaluatedKey"] = {name: read[-1][name] for name in keys}
        return answer

    def _source(self, given: Parameters) -> tuple[Table, Index | None]:
        table, name = self._table(given["TableName"]), given.get("IndexName")
        if name is None:
            return table, None
        if name not in table.indexes:
            raise ExpressionError(f"The table does not have the specified index: {name}")
        if given.get("ConsistentRead"):
            raise ExpressionError("Consistent reads are not supported on global secondary indexes")
        return table, table.indexes[name]

    def _indexed(self, table: Table, index: Index | None) -> list[Item]:
        items = self._items[table.name]
        if index is None:
            return [items[key] for key in sorted(items)]
        keys = _keys(table, index)
        present = [_projected(table, index, item) for item in items.values() if all(name in item for name in index.key)]
        return sorted(present, key=lambda item: _key_of(keys, item))


_CONDITION_FAILED = "The conditional request failed"
_CONDITIONAL = "TableName ConditionExpression ExpressionAttributeNames ExpressionAttributeValues ReturnValuesOnConditionCheckFailure"
_READING = (
    "TableName IndexName Limit ExclusiveStartKey FilterExpression ProjectionExpression Select ConsistentRead"
    " ExpressionAttributeNames ExpressionAttributeValues"
)


class _FailureError(Exception):
    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details


class _Expressions:
    """The expressions of one request, with all placeholders accounted for."""

    def __init__(self, given: Parameters) -> None:
        placeholders = Placeholders(given.get("ExpressionAttributeNames"), given.get("ExpressionAttributeValues"))

        def condition(name: str) -> Condition | None:
            return Parser(given[name], placeholders).condition() if name in given else None

        self.key_condition = condition("KeyConditionExpression")
        self.condition = condition("ConditionExpression")
        self.filter = condition("FilterExpression")
        self.update = Parser(given["UpdateExpression"], placeholders).update() if "UpdateExpression" in given else ()
        projection = "ProjectionExpression" in given
        self.projection = Parser(given["ProjectionExpression"], placeholders).projection() if projection else None
        placeholders.check_all_used()
        if any(len(path.steps) > 1 for path in self.projection or ()):
            raise NotImplementedError("the in-memory DynamoDB projects whole attributes only")

    def project(self, item: Item) -> Item:
        """Return what was asked for of an item."""
        if self.projection is None:
            return item
        return {str(path.steps[0]): value for path in self.projection if (value := find(item, path.steps))}


def _expressions(given: Parameters) -> _Expressions:
    """Read the expressions of a request; those of one like it are read once."""
    key = tuple([(name, part if isinstance(part, str) else repr(part)) for name in _EXPRESSIONS if (part := given.get(name)) is not None])
    if key not in _known_expressions:
        if len(_known_expressions) >= _MOST_KNOWN:
            _known_expressions.clear()
        _known_expressions[key] = _Expressions(given)
    return _known_expressions[key]


def forget() -> None:
    """Forget the requests that were read before: for whoever looks at how much a process has in memory."""
    _known_expressions.clear()
    _known_forms.clear()


_EXPRESSIONS = (
    "KeyConditionExpression",
    "ConditionExpression",
    "FilterExpression",
    "UpdateExpression",
    "ProjectionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
)
_MOST_KNOWN = 10_000
_known_expressions: dict[Any, _Expressions] = {}
_known_forms: set[Any] = set()


def client_error(operation: str, code: str, message: str, *, status: int = 400, **details: Any) -> ClientError:
    """Return the error that botocore would raise: the modelled class where the service has one."""
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": 0},
        **details,
    }
    return _exceptions().from_code(code)(response, operation)


def throttled(operation: str) -> ClientError:
    """Return what the caller sees when the call was refused for its rate; nothing happened."""
    return client_error(operation, "ThrottlingException", "Rate of requests exceeds the allowed throughput.")


def server_error(operation: str) -> ClientError:
    """Return a 5xx, after which the call may or may not have taken effect."""
    return client_error(operation, "InternalServerError", "Internal server error", status=500)


def answer_lost() -> ReadTimeoutError:
    """Return what the caller sees when no answer came in time."""
    return ReadTimeoutError(endpoint_url="http://dynamodb.invalid")


def conflict(given: Parameters) -> ClientError:
    """Return the cancellation of a transaction, by its parameters, that met another one on its first item."""
    reasons = [{"Code": "TransactionConflict"}, *({"Code": "None"} for _ in given["TransactItems"][1:])]
    return client_error("TransactWriteItems", "TransactionCanceledException", _cancelled(reasons), CancellationReasons=reasons)


def crash_at(operation: str, *, call: int = 1) -> Hook:
    """Return a hook that ends the process at the n-th call of an operation from now on."""
    seen = Counter[str]()

    def hook(name: str, _: Parameters) -> None:
        seen[name] += 1
        if name == operation and seen[name] == call:
            raise Crash(operation)

    return hook


def tables_of(template: FilePath) -> list[Table]:
    """Read the tables of a CloudFormation or SAM template; each is named by its logical id."""
    resources: dict[str, Any] = yaml.load(template.read_text(), Loader=_TemplateLoader)["Resources"]  # noqa: S506
    return [_table_of(name, resource["Properties"]) for name, resource in resources.items() if resource["Type"] == "AWS::DynamoDB::Table"]


class _TemplateLoader(yaml.CSafeLoader):
    """Reads the short forms of intrinsic functions as their plain arguments."""


def _intrinsic(loader: yaml.CSafeLoader, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(cast("yaml.ScalarNode", node))


_TemplateLoader.add_multi_constructor("!", _intrinsic)  # pyright: ignore[reportUnknownMemberType]


def _table_of(name: str, properties: Mapping[str, Any]) -> Table:
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in properties["AttributeDefinitions"]}
    indexes = {
        index["IndexName"]: Index(_key_schema(index, types), _projection_of(index["Projection"]))
        for index in properties.get("GlobalSecondaryIndexes", ())
    }
    return Table(name, _key_schema(properties, types), indexes)


def _key_schema(properties: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, str]:
    ordered = sorted(properties["KeySchema"], key=lambda entry: entry["KeyType"])
    return {entry["AttributeName"]: types[entry["AttributeName"]] for entry in ordered}


def _projection_of(projection: Mapping[str, Any]) -> str | tuple[str, ...]:
    kind = projection["ProjectionType"]
    return tuple(projection["NonKeyAttributes"]) if kind == "INCLUDE" else kind


@cache
def _model() -> Any:
    return get_session().get_service_model("dynamodb")


@cache
def _exceptions() -> Any:
    return ClientExceptionsFactory().create_client_exceptions(_model())


def _validate(operation: str, parameters: Parameters) -> None:
    form = operation, _form(parameters)
    if form in _known_forms:
        return
    report = ParamValidator().validate(parameters, _model().operation_model(operation).input_shape)
    if report.has_errors():
        raise ParamValidationError(report=report.generate_report())
    _known_forms.add(form)


def _form(value: Any) -> Any:
    """Return what botocore's validation looks at: names and types, numbers, and lengths up to the longest that a text must have."""
    kind = type(value)
    if kind is str:
        return min(len(value), _LONGEST_MINIMUM)
    if kind is dict:
        return tuple(value), tuple([min(len(part), _LONGEST_MINIMUM) if type(part) is str else _form(part) for part in value.values()])
    if kind is list:
        return tuple([_form(part) for part in value])
    return kind, value if kind in {int, float, bool} else id(kind)


_LONGEST_MINIMUM = 3


def _is_retried(error: Exception) -> bool:
    if not isinstance(error, ClientError):
        return True
    return error.response.get("Error", {}).get("Code") in _RETRIED_CODES


def _only(given: Parameters, known: str) -> None:
    unknown = given.keys() - _names(known)
    if unknown:
        raise NotImplementedError(f"the in-memory DynamoDB does not know {', '.join(sorted(unknown))} here")


@cache
def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _single(item: Parameters) -> tuple[str, Parameters]:
    if len(item) != 1:
        raise ExpressionError("TransactItems can only contain one of Check, Put, Update or Delete")
    return next(iter(item.items()))


def _exact_key(table: Table, given: Item) -> Key:
    if set(given) != set(table.key):
        raise ExpressionError("The provided key element does not match the schema")
    return _key_of(table.key, given)


def _key_of(key: Mapping[str, str], item: Item) -> Key:
    for name, kind in key.items():
        if kind not in item.get(name, {}):
            raise ExpressionError(f"One of the required keys was not given a value, or not of type {kind}: {name}")
        if item[name][kind] in {"", b""}:
            raise ExpressionError(f"The AttributeValue for a key attribute cannot contain an empty string value: {name}")
    return tuple([ordering(item[name]) for name in key])


def _checked_size(table: Table, item: Item) -> int:
    """Return how large an item is that may be put into the table."""
    _key_of(table.key, item)
    for index in table.indexes.values():
        _key_of({name: kind for name, kind in index.key.items() if name in item}, item)
    found = _item_size(item)
    if found > ITEM_BYTES:
        raise ExpressionError("Item size has exceeded the maximum allowed size")
    return found


def _item_size(item: Item) -> int:
    return sum([len(name.encode()) + size(value) for name, value in item.items()])


def _cancelled(reasons: Sequence[Mapping[str, Any]]) -> str:
    codes = ", ".join(reason["Code"] for reason in reasons)
    return f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"


def _returned(wanted: str, write: _Write, given: Parameters) -> Answer:
    if wanted == "NONE":
        return {}
    changed = {action.path.steps[0] for action in _expressions(given).update}
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


def _stream_record(write: _Write) -> dict[str, Any]:
    """Return the change as the table's stream would show it; what is in a table is never changed in place, so it is not copied."""
    item = cast("Item", write.new or write.old)
    images = {"NewImage": write.new, "OldImage": write.old}
    present = {name: image for name, image in images.items() if image is not None}
    kind = "REMOVE" if write.new is None else "INSERT" if write.old is None else "MODIFY"
    keys = {name: item[name] for name in write.table.key}
    return {"eventName": kind, "dynamodb": {"Keys": keys, **present}}


def _projected(table: Table, index: Index, item: Item) -> Item:
    if index.projection == "ALL":
        return item
    extra = () if index.projection == "KEYS_ONLY" else index.projection
    kept = {*table.key, *index.key, *extra}
    return {name: value for name, value in item.items() if name in kept}


def _check_key_condition(condition: Condition | None, key: Sequence[str]) -> None:
    """Refuse anything but the partition key's value, then at most one condition on the sort key."""
    conditions = [condition.left, condition.right] if isinstance(condition, Both) else [condition]
    by_name = dict(_key_part(part) for part in conditions)
    signs = {"=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"}
    if by_name.get(key[0]) != "=" or len(by_name) < len(conditions):
        raise ExpressionError(f"Query condition missed key schema element: {key[0]}")
    if not set(by_name) <= set(key) or not set(by_name.values()) <= signs:
        raise ExpressionError("Query key condition not supported")


def _partition_value(condition: Condition | None, name: str) -> Any:
    parts = [condition.left, condition.right] if isinstance(condition, Both) else [condition]
    for part in parts:
        match part:
            case Comparison("=", Path((found,)), Literally(value)) if found == name:
                return ordering(value)
            case _:
                pass
    raise AssertionError(name)


def _bounds(condition: Condition | None, name: str) -> tuple[Any, Any]:
    """Return the least and the greatest sort key that a key condition allows, ends included, and None for an open end."""
    for part in [condition.left, condition.right] if isinstance(condition, Both) else [condition]:
        match part:
            case Comparison("<" | "<=", Path((found,)), Literally(value)) if found == name:
                return None, ordering(value)
            case Comparison(">" | ">=", Path((found,)), Literally(value)) if found == name:
                return ordering(value), None
            case Between(Path((found,)), Literally(low), Literally(high)) if found == name:
                return ordering(low), ordering(high)
            case _:
                pass
    return None, None


def _key_part(condition: Condition | None) -> tuple[str | int, str]:
    match condition:
        case Comparison(sign, Path((name,)), Literally()):
            return name, sign
        case Between(Path((name,)), Literally(), Literally()):
            return name, "BETWEEN"
        case Call(function, (Path((name,)), Literally())):
            return name, function
        case _:
            raise ExpressionError("Query key condition not supported")


def _keys(table: Table, index: Index | None) -> dict[str, str]:
    """Return the key attributes in the order by which results are sorted."""
    return {**(index.key if index else {}), **table.key}


def _after(found: Sequence[Item], start: Item | None, keys: Mapping[str, str], *, backwards: bool) -> Sequence[Item]:
    """Return what follows the start key, whose item may be gone by now."""
    if start is None:
        return found
    if set(start) != set(keys):
        raise ExpressionError("The provided starting key is invalid")
    last = _key_of(keys, start)
    return [item for item in found if (_key_of(keys, item) < last if backwards else _key_of(keys, item) > last)]


def _one_page(items: Sequence[Item]) -> Iterator[Item]:
    taken = 0
    for item in items:
        taken += _item_size(item)
        yield item
        if taken > PAGE_BYTES:
            return


__all__ = [
    "Crash",
    "FakeDynamoDB",
    "Index",
    "Table",
    "answer_lost",
    "client_error",
    "conflict",
    "crash_at",
    "forget",
    "server_error",
    "tables_of",
    "throttled",
]
