"""CloudWatch's statistics and metric math, as far as alarms and dashboards use them: for local dashboards and for tests.

Between two series, a missing value counts as 0 in arithmetic and comparisons, and a division by zero has no value
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html).
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping

_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda left, right: left / right,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {ast.GtE: operator.ge, ast.Gt: operator.gt, ast.Lt: operator.lt}


def statistic(name: str, values: list[float]) -> float | None:
    """Return a statistic of the values of a period, or None where there are none.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
    """
    if not values:
        return None
    known = {"Sum": sum(values), "SampleCount": len(values), "Maximum": max(values), "Average": sum(values) / len(values)}
    if name in known:
        return known[name]
    if rank := re.fullmatch(r"PR\(:(\d+)\)", name):
        return 100 * sum(value <= int(rank[1]) for value in values) / len(values)
    percentile = re.fullmatch(r"p(\d+)", name)
    if not percentile:
        message = f"the statistic {name} is not known here"
        raise ValueError(message)
    return sorted(values)[max(0, math.ceil(len(values) * int(percentile[1]) / 100) - 1)]


def evaluated(expression: str, values: Mapping[str, float | None]) -> float | None:
    """Return the value of an expression; None where a value that it needs is missing."""
    return _value(ast.parse(expression, mode="eval").body, values)


def _value(node: ast.expr, values: Mapping[str, float | None]) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _apply(_ARITHMETIC[type(op)], *_operands(left, right, values))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _apply(_COMPARISONS[type(op)], *_operands(left, right, values))
        case ast.Call(func=ast.Name(id="IF"), args=[condition, yes, no]):
            holds = _value(condition, values)
            return None if holds is None else _value(yes if holds else no, values)
        case ast.Call(func=ast.Name(id="FILL"), args=[one, other]):
            found = _value(one, values)
            return _value(other, values) if found is None else found
        case ast.Call(func=ast.Name(id="SUM"), args=[ast.List(elts=several)]):
            found = [value for one in several if (value := _value(one, values)) is not None]
            return sum(found) if found else None
        case _:
            message = f"metric math of this form is not known here: {ast.dump(node)}"
            raise ValueError(message)


def _operands(left: ast.expr, right: ast.expr, values: Mapping[str, float | None]) -> tuple[float | None, float | None]:
    found = _value(left, values), _value(right, values)
    constant = isinstance(left, ast.Constant) or isinstance(right, ast.Constant)
    return found if constant or found == (None, None) else (found[0] or 0, found[1] or 0)


def _apply(operation: Callable[[float, float], float], left: float | None, right: float | None) -> float | None:
    try:
        return None if left is None or right is None else operation(left, right)
    except ZeroDivisionError:
        return None
