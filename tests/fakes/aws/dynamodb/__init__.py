"""DynamoDB in memory: the operations, answers and errors of botocore's low-level client.

Parameters are checked against botocore's own service model, expressions are parsed, and a parameter that is not
implemented raises NotImplementedError, so no test passes on a skipped feature.

    database = FakeDynamoDB(Table("stock", {"sku": "S"}))
    database.client.put_item(TableName="stock", Item={"sku": {"S": "MUG"}})
    database.calls["PutItem"]                     # 1
    database.before = crash_at("PutItem")         # the process crashes before the next one

`before` and `after` are called with the operation's name and its parameters around every attempt: `before` before
any effect, `after` when the change is committed or refused but not answered. An error that they raise reaches the
caller, unless botocore would retry it and `attempts` is more than one.
"""

from tests.fakes.aws.dynamodb.database import FakeDynamoDB
from tests.fakes.aws.dynamodb.errors import (
    Crash,
    Hook,
    Parameters,
    answer_lost,
    client_error,
    conflict,
    crash_at,
    server_error,
    throttled,
)
from tests.fakes.aws.dynamodb.expressions.syntax import Item
from tests.fakes.aws.dynamodb.reads import PAGE_BYTES
from tests.fakes.aws.dynamodb.requests import clear_caches
from tests.fakes.aws.dynamodb.storage import Ordered
from tests.fakes.aws.dynamodb.tables import Index, Table, tables_of

__all__ = [
    "PAGE_BYTES",
    "Crash",
    "FakeDynamoDB",
    "Hook",
    "Index",
    "Item",
    "Ordered",
    "Parameters",
    "Table",
    "answer_lost",
    "clear_caches",
    "client_error",
    "conflict",
    "crash_at",
    "server_error",
    "tables_of",
    "throttled",
]
