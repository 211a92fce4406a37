"""Evaluates conditions and operands for an item."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes.aws.dynamodb.expressions.syntax import (
    Arithmetic,
    Between,
    Both,
    Call,
    Comparison,
    Condition,
    Either,
    ExpressionError,
    In,
    Item,
    Literally,
    Not,
    Operand,
    Path,
    Value,
)
from tests.fakes.aws.dynamodb.expressions.values import compare, find, present, total, type_of


def holds(condition: Condition | None, item: Item) -> bool:
    """Return whether `item` meets the condition; no condition always holds."""
    match condition:
        case None:
            return True
        case Both(left, right):
            return holds(left, item) and holds(right, item)
        case Either(left, right):
            return holds(left, item) or holds(right, item)
        case Not(inner):
            return not holds(inner, item)
        case Comparison(sign, left, right):
            return compare(sign, evaluate(left, item), evaluate(right, item))
        case Between(operand, low, high):
            value = evaluate(operand, item)
            return compare(">=", value, evaluate(low, item)) and compare("<=", value, evaluate(high, item))
        case In(operand, options):
            value = evaluate(operand, item)
            return any(compare("=", value, evaluate(option, item)) for option in options)
        case Call(function, arguments):
            return _predicate(function, [evaluate(argument, item) for argument in arguments])


def evaluate(operand: Operand, item: Item) -> Value | None:
    """Return the operand's value for `item`, or None where an attribute is missing."""
    match operand:
        case Path(steps):
            return find(item, steps)
        case Literally(value):
            return value
        case Call(function, arguments):
            return _value_of(function, [evaluate(argument, item) for argument in arguments])
        case Arithmetic(sign, left, right):
            return total(sign, present(evaluate(left, item)), present(evaluate(right, item)))


def _predicate(function: str, arguments: Sequence[Value | None]) -> bool:
    subject = arguments[0]
    match function:
        case "attribute_exists":
            return subject is not None
        case "attribute_not_exists":
            return subject is None
        case "attribute_type":
            return subject is not None and type_of(subject) == present(arguments[1])["S"]
        case "begins_with":
            return _begins_with(subject, present(arguments[1]))
        case "contains":
            return _contains(subject, present(arguments[1]))
        case _:
            raise ExpressionError(f"The function is not allowed here; function: {function}")


def _begins_with(subject: Value | None, prefix: Value) -> bool:
    kind = type_of(prefix)
    if kind not in {"S", "B"}:
        raise ExpressionError("Incorrect operand type for operator or function; operator: begins_with")
    return subject is not None and kind in subject and subject[kind].startswith(prefix[kind])


def _contains(subject: Value | None, member: Value) -> bool:
    if subject is None:
        return False
    kind = type_of(subject)
    if kind == "L":
        return member in subject["L"]
    return kind in {"S", "SS", "NS", "BS"} and kind[0] in member and member[kind[0]] in subject[kind]


def _value_of(function: str, arguments: Sequence[Value | None]) -> Value | None:
    match function:
        case "size":
            return _size_of(arguments[0])
        case "if_not_exists":
            return arguments[1] if arguments[0] is None else arguments[0]
        case "list_append":
            return {"L": [element for argument in arguments for element in present(argument)["L"]]}
        case _:
            raise ExpressionError(f"The function is not allowed here; function: {function}")


def _size_of(value: Value | None) -> Value | None:
    if value is None or type_of(value) in {"N", "BOOL", "NULL"}:
        return None
    content = value[type_of(value)]
    return {"N": str(len(content.encode() if isinstance(content, str) else content))}
