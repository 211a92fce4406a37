"""The client: counts calls, calls the hooks, retries like botocore, and turns failures into its errors."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from tests.fakes.aws.dynamodb import reads, writes
from tests.fakes.aws.dynamodb.errors import (
    CONDITION_FAILED,
    ConditionFailed,
    Failure,
    Hook,
    Parameters,
    client_error,
    exceptions,
    is_retried,
)
from tests.fakes.aws.dynamodb.expressions.syntax import ExpressionError, Item
from tests.fakes.aws.dynamodb.expressions.values import copied
from tests.fakes.aws.dynamodb.keys import Key
from tests.fakes.aws.dynamodb.requests import validate
from tests.fakes.aws.dynamodb.storage import Storage
from tests.fakes.aws.dynamodb.tables import Table
from tests.fakes.aws.dynamodb.transactions import Transactions

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class FakeDynamoDB:
    """A set of tables and the client to use them. All operations are atomic and safe for threads."""

    def __init__(
        self, *tables: Table, attempts: int = 1, storage: Callable[[], MutableMapping[Key, Item]] = dict, keeps_changes: bool = True
    ) -> None:
        """Start with empty tables.

        `attempts` is how often botocore sends a call that fails. `storage` makes the mapping of each table's items. `changes` has
        every change as a stream record, unless that would be too many.
        """
        self.calls: Counter[str] = Counter()
        self.before: Hook | None = None
        self.after: Hook | None = None
        self.unprocessed = 0
        self.exceptions = exceptions()
        self._attempts = attempts
        self._storage = Storage(tables, storage, keeps_changes=keeps_changes)
        self._transactions = Transactions(self._storage)
        self._lock = threading.RLock()

    @property
    def client(self) -> DynamoDBClient:
        """The fake, typed as the code under test sees it: a botocore client."""
        return cast("DynamoDBClient", self)

    @property
    def changes(self) -> dict[str, list[dict[str, Any]]]:
        """The stream records of each table, oldest first."""
        return self._storage.changes

    def items(self, table: str) -> list[Item]:
        """Return copies of all items of a table, sorted by key, without counting as a call."""
        with self._lock:
            items = self._storage.items[table]
            return copied([items[key] for key in sorted(items)])

    def each(self, table: str) -> Iterator[Item]:
        """Yield the items of a table in any order, without counting as a call; do not write during the iteration."""
        yield from self._storage.items[table].values()

    def seed(self, table: str, *items: Item) -> None:
        """Put items without counting as a call, and without hooks."""
        with self._lock:
            for item in items:
                self._storage.commit([writes.planned(self._storage, "Put", {"TableName": table, "Item": item})])

    def get_item(self, **parameters: Any) -> Parameters:

        return self._call("GetItem", parameters, lambda given: reads.get_item(self._storage, given))

    def put_item(self, **parameters: Any) -> Parameters:

        return self._call("PutItem", parameters, lambda given: self._write("Put", given))

    def update_item(self, **parameters: Any) -> Parameters:

        return self._call("UpdateItem", parameters, lambda given: self._write("Update", given))

    def delete_item(self, **parameters: Any) -> Parameters:

        return self._call("DeleteItem", parameters, lambda given: self._write("Delete", given))

    def query(self, **parameters: Any) -> Parameters:
        """Query, on the table or an index."""
        return self._call("Query", parameters, lambda given: reads.query(self._storage, given))

    def scan(self, **parameters: Any) -> Parameters:
        """Scan, of the table or an index."""
        return self._call("Scan", parameters, lambda given: reads.scan(self._storage, given))

    def batch_get_item(self, **parameters: Any) -> Parameters:
        """BatchGetItem; leaves the last `unprocessed` keys unprocessed."""
        return self._call("BatchGetItem", parameters, lambda given: reads.batch_get_item(self._storage, given, self.unprocessed))

    def batch_write_item(self, **parameters: Any) -> Parameters:
        """BatchWriteItem; `unprocessed` of the last requests are left for another call."""
        return self._call("BatchWriteItem", parameters, lambda given: writes.batch_write_item(self._storage, given, self.unprocessed))

    def transact_write_items(self, **parameters: Any) -> Parameters:
        """TransactWriteItems: atomic; a repeated ClientRequestToken changes nothing."""
        parameters.setdefault("ClientRequestToken", str(uuid.uuid4()))
        return self._call("TransactWriteItems", parameters, self._transactions.write)

    def _write(self, kind: str, given: Parameters) -> Parameters:
        wanted = given.pop("ReturnValues", "NONE")
        write = writes.planned(self._storage, kind, given)
        answer = writes.returned(wanted, write, given)
        self._storage.commit([write])
        return answer

    def _call(self, operation: str, parameters: Parameters, run: Callable[[Parameters], Parameters]) -> Parameters:
        validate(operation, parameters)
        for attempt in range(1, self._attempts + 1):
            try:
                return self._attempt(operation, parameters, run)
            except (ClientError, ConnectionClosedError, ReadTimeoutError) as error:
                if attempt == self._attempts or not is_retried(error):
                    raise
        raise AssertionError

    def _attempt(self, operation: str, parameters: Parameters, run: Callable[[Parameters], Parameters]) -> Parameters:
        with self._lock:
            self.calls[operation] += 1
        if self.before:
            self.before(operation, parameters)
        answer = self._answer(operation, parameters, run)
        if self.after:
            self.after(operation, parameters)
        if isinstance(answer, ClientError):
            raise answer
        return {**copied(answer), "ResponseMetadata": {"HTTPStatusCode": 200, "RetryAttempts": 0}}

    def _answer(self, operation: str, parameters: Parameters, run: Callable[[Parameters], Parameters]) -> Parameters | ClientError:
        try:
            with self._lock:
                return run({**parameters})
        except ExpressionError as error:
            return client_error(operation, "ValidationException", str(error))
        except ConditionFailed as failed:
            item: Parameters = {"Item": copied(failed.found)} if failed.found else {}
            return client_error(operation, "ConditionalCheckFailedException", CONDITION_FAILED, **item)
        except Failure as failure:
            return client_error(operation, failure.code, failure.message, **failure.details)
