"""TransactWriteItems: atomic, with cancellation reasons and idempotency tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.fakes.aws.dynamodb.errors import CONDITION_FAILED, ConditionFailed, Failure, Parameters, cancellation_message
from tests.fakes.aws.dynamodb.expressions.syntax import ExpressionError
from tests.fakes.aws.dynamodb.keys import Key, key_of
from tests.fakes.aws.dynamodb.requests import only
from tests.fakes.aws.dynamodb.storage import Storage, Write
from tests.fakes.aws.dynamodb.writes import planned

MOST_ITEMS = 100
MOST_BYTES = 4 * 1024 * 1024


class Transactions:
    """The transactions of a database; remembers their ClientRequestTokens."""

    def __init__(self, storage: Storage) -> None:
        """Start without a known token."""
        self._storage = storage
        self._tokens: dict[str, str] = {}

    def write(self, given: Parameters) -> Parameters:
        """Run a transaction, unless its token already ran the same one."""
        only(given, "TransactItems ClientRequestToken")
        token, content = given["ClientRequestToken"], repr(given["TransactItems"])
        if self._tokens.get(token, content) != content:
            raise Failure("IdempotentParameterMismatchException", "The token was used with other parameters")
        if token not in self._tokens:
            self._storage.commit(_plan(self._storage, given["TransactItems"]))
            self._tokens[token] = content
        return {}


def _plan(storage: Storage, items: Sequence[Parameters]) -> list[Write]:
    """Plan all writes; raise Failure with the reasons if one of them cancels the transaction."""
    pairs = [_single(item) for item in items]
    _check_targets(storage, pairs)
    plans = [_attempted(storage, kind, request) for kind, request in pairs]
    reasons = [plan if isinstance(plan, dict) else {"Code": "None"} for plan in plans]
    if any(reason["Code"] != "None" for reason in reasons):
        raise Failure("TransactionCanceledException", cancellation_message(reasons), CancellationReasons=reasons)
    writes = [plan for plan in plans if isinstance(plan, Write)]
    if sum(write.size for write in writes) > MOST_BYTES:
        raise ExpressionError("Member must have a total size of at most 4 MB")
    return writes


def _check_targets(storage: Storage, pairs: Sequence[tuple[str, Parameters]]) -> None:
    if not 1 <= len(pairs) <= MOST_ITEMS:
        raise ExpressionError(f"Member must have length less than or equal to {MOST_ITEMS}, and at least 1")
    targets = {_target(storage, request) for _, request in pairs}
    if len(targets) < len(pairs):
        raise ExpressionError("Transaction request cannot include multiple operations on one item")


def _attempted(storage: Storage, kind: str, request: Parameters) -> Write | dict[str, Any]:
    """Return the planned write, or the reason for the cancellation."""
    try:
        return planned(storage, kind, request)
    except ConditionFailed as failed:
        item = {"Item": failed.found} if failed.found else {}
        return {"Code": "ConditionalCheckFailed", "Message": CONDITION_FAILED, **item}
    except ExpressionError as error:
        if "does not exist in the item" not in str(error) and "incorrect data type" not in str(error):
            raise
        return {"Code": "ValidationError", "Message": str(error)}


def _target(storage: Storage, request: Parameters) -> tuple[str, Key]:
    table = storage.table(request["TableName"])
    return table.name, key_of(table.key, request.get("Item") or request["Key"])


def _single(item: Parameters) -> tuple[str, Parameters]:
    if len(item) != 1:
        raise ExpressionError("TransactItems can only contain one of Check, Put, Update or Delete")
    return next(iter(item.items()))
