"""Key conditions of a query: validation and selection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.fakes.aws.dynamodb.expressions.syntax import (
    Between,
    Both,
    Call,
    Comparison,
    Condition,
    ExpressionError,
    Literally,
    Path,
)
from tests.fakes.aws.dynamodb.expressions.values import ordering

_SIGNS = {"=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"}


def check_key_condition(condition: Condition | None, key: Sequence[str]) -> None:
    """Raise ExpressionError for anything but the partition key's value, and at most one condition on the sort key."""
    parts = _parts(condition)
    by_name = dict(_sign(part) for part in parts)
    if by_name.get(key[0]) != "=" or len(by_name) < len(parts):
        raise ExpressionError(f"Query condition missed key schema element: {key[0]}")
    if not set(by_name) <= set(key) or not set(by_name.values()) <= _SIGNS:
        raise ExpressionError("Query key condition not supported")


def partition_value(condition: Condition | None, name: str) -> Any:
    """Return the partition key's value in its sortable form."""
    for part in _parts(condition):
        match part:
            case Comparison("=", Path((found,)), Literally(value)) if found == name:
                return ordering(value)
            case _:
                pass
    raise AssertionError(name)


def sort_key_bounds(condition: Condition | None, name: str) -> tuple[Any, Any]:
    """Return the inclusive bounds of the sort key that a condition allows; None is an open end."""
    for part in _parts(condition):
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


def _parts(condition: Condition | None) -> list[Condition | None]:
    return [condition.left, condition.right] if isinstance(condition, Both) else [condition]


def _sign(condition: Condition | None) -> tuple[str | int, str]:
    match condition:
        case Comparison(sign, Path((name,)), Literally()):
            return name, sign
        case Between(Path((name,)), Literally(), Literally()):
            return name, "BETWEEN"
        case Call(function, (Path((name,)), Literally())):
            return name, function
        case _:
            raise ExpressionError("Query key condition not supported")
