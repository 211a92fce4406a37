"""The parts of an expression: operands, conditions and update actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

type Value = dict[str, Any]
type Item = dict[str, Value]
type Steps = tuple[str | int, ...]


class ExpressionError(ValueError):
    """DynamoDB would refuse the request with ValidationException."""


@dataclass(frozen=True)
class Path:
    """A document path: an attribute, then keys of maps and indexes of lists."""

    steps: Steps


@dataclass(frozen=True)
class Literally:
    """A value from ExpressionAttributeValues."""

    value: Value


@dataclass(frozen=True)
class Call:
    """A function applied to operands."""

    function: str
    arguments: tuple[Operand, ...]


@dataclass(frozen=True)
class Arithmetic:
    """A sum or difference in a SET action."""

    sign: str
    left: Operand
    right: Operand


type Operand = Path | Literally | Call | Arithmetic


@dataclass(frozen=True)
class Comparison:
    """Two operands and a comparator."""

    sign: str
    left: Operand
    right: Operand


@dataclass(frozen=True)
class Between:
    """An operand within two bounds, both included."""

    operand: Operand
    low: Operand
    high: Operand


@dataclass(frozen=True)
class In:
    """An operand equal to one of a list."""

    operand: Operand
    options: tuple[Operand, ...]


@dataclass(frozen=True)
class Both:
    """Two conditions that must hold."""

    left: Condition
    right: Condition


@dataclass(frozen=True)
class Either:
    """Two conditions of which at least one must hold."""

    left: Condition
    right: Condition


@dataclass(frozen=True)
class Not:
    """A condition that must not hold."""

    condition: Condition


type Condition = Comparison | Between | In | Both | Either | Not | Call


@dataclass(frozen=True)
class Action:
    """One change of an update expression."""

    clause: Literal["SET", "REMOVE", "ADD", "DELETE"]
    path: Path
    operand: Operand | None = None
