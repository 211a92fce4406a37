"""Attribute values: normal form, order, size, and arithmetic on numbers and sets."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal, DecimalException
from functools import lru_cache
from typing import Any

from tests.fakes.aws.dynamodb.expressions.syntax import ExpressionError, Item, Steps, Value

# DynamoDB's numbers have 38 significant digits.
ARITHMETIC = Context(prec=38)
ORDERED = {"S", "N", "B"}


def find(item: Item, steps: Steps) -> Value | None:
    """Return the value at a document path of `item`, or None."""
    value: Value | None = {"M": item}
    for step in steps:
        if isinstance(step, str):
            value = value.get("M", {}).get(step)
        else:
            elements: list[Value] = value.get("L", [])
            value = elements[step] if step < len(elements) else None
        if value is None:
            return None
    return value


def copied(value: Any) -> Any:
    """Return a deep copy of a document; much faster than `copy.deepcopy`, which matters for a million calls."""
    kind = type(value)
    if kind is str:
        return value
    if kind is dict:
        return {name: part if type(part) is str else copied(part) for name, part in value.items()}
    if kind is list:
        return [copied(part) for part in value]
    if kind is set:
        return set(value)
    return value


def normalized(value: Value) -> Value:
    """Return the value in the service's normal form.

    Raises:
        ExpressionError: the value has no type or several, is an empty set, or is an invalid number.
    """
    if len(value) != 1:
        raise ExpressionError("Supplied AttributeValue must contain exactly one of the supported datatypes")
    (kind, content), *_ = value.items()
    match kind:
        case "S":
            return {"S": content}
        case "N":
            return {"N": _number(content)}
        case "M":
            return {"M": {name: normalized(entry) for name, entry in content.items()}}
        case "L":
            return {"L": [normalized(entry) for entry in content]}
        case "SS" | "NS" | "BS":
            return {kind: _set(kind, content)}
        case _:
            return copied(value)


def ordering(value: Value) -> Any:
    """Return a key that sorts values of one of the types S, N and B as the service sorts them."""
    kind = type_of(value)
    if kind == "N":
        return _decimal(value["N"])
    return value["S"].encode() if kind == "S" else bytes(value[kind])


@lru_cache(maxsize=4096)
def _decimal(text: str) -> Decimal:
    return Decimal(_number(text))


def size(value: Value) -> int:
    """Return the approximate bytes of the value within an item's 400 KB."""
    (kind, content), *_ = value.items()
    match kind:
        case "S":
            return len(content) if content.isascii() else len(content.encode())
        case "N":
            return len(content) // 2 + 2
        case "B":
            return len(content)
        case "M":
            return 3 + sum(len(name.encode()) + size(entry) + 1 for name, entry in content.items())
        case "L":
            return 3 + sum(size(entry) + 1 for entry in content)
        case "SS" | "NS" | "BS":
            return sum(size({kind[0]: entry}) for entry in content)
        case _:
            return 1


def type_of(value: Value) -> str:
    """Return the value's type descriptor, such as `S`."""
    return next(iter(value))


@lru_cache(maxsize=4096)
def _number(text: str) -> str:
    try:
        number = Decimal(text)
    except DecimalException:
        number = Decimal("NaN")
    if not number.is_finite():
        raise ExpressionError(f"The parameter cannot be converted to a numeric value: {text}")
    digits = number.normalize(Context(prec=1000)).as_tuple().digits
    if len(digits) > ARITHMETIC.prec:
        raise ExpressionError("Attempting to store more than 38 significant digits in a Number")
    return "0" if number == 0 else f"{number.normalize(ARITHMETIC):f}"


def _set(kind: str, content: Sequence[Any]) -> list[Any]:
    members = [_number(member) if kind == "NS" else member for member in content]
    if not members:
        raise ExpressionError("An string set  may not be empty")
    if len(set(members)) < len(members):
        raise ExpressionError("Input collection contains duplicates")
    return sorted(members)


def compare(sign: str, left: Value | None, right: Value | None) -> bool:
    """Compare two values as DynamoDB does: a missing one equals nothing, values of different types have no order."""
    if sign == "=":
        return left is not None and left == right
    if sign == "<>":
        return left is None or left != right
    if left is None or right is None or type_of(left) != type_of(right) or type_of(left) not in ORDERED:
        return False
    low, high = ordering(left), ordering(right)
    return {"<": low < high, "<=": low <= high, ">": low > high, ">=": low >= high}[sign]


def present(value: Value | None) -> Value:
    """Return the value; raise ExpressionError where an attribute is missing."""
    if value is None:
        raise ExpressionError("The provided expression refers to an attribute that does not exist in the item")
    return value


def total(sign: str, left: Value, right: Value) -> Value:
    """Return the sum or difference of two numbers; raise ExpressionError for other types."""
    if "N" not in left or "N" not in right:
        raise ExpressionError(f"An operand in the update expression has an incorrect data type; operator: {sign}")
    apply = ARITHMETIC.add if sign == "+" else ARITHMETIC.subtract
    return {"N": _number(str(apply(Decimal(left["N"]), Decimal(right["N"]))))}
