"""Applies update expressions to an item."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes.aws.dynamodb.expressions.evaluation import evaluate
from tests.fakes.aws.dynamodb.expressions.syntax import Action, ExpressionError, Item, Steps, Value
from tests.fakes.aws.dynamodb.expressions.values import copied, find, present, total, type_of


def updated(actions: Sequence[Action], item: Item) -> Item:
    """Return `item` after an update expression; operands are read from the original item."""
    planned = [(action, evaluate(action.operand, item) if action.operand else None) for action in actions]
    result = copied(item)
    for action, operand in planned:
        match action.clause:
            case "SET":
                _assign(result, action.path.steps, present(operand))
            case "ADD":
                _assign(result, action.path.steps, _added(find(item, action.path.steps), present(operand)))
            case "DELETE":
                _subtract(result, action.path.steps, present(operand))
            case "REMOVE":
                pass
    # Removals come last, from the end of a list, so that indexes refer to the original item.
    for action, _ in sorted(planned, key=lambda pair: _removal_order(pair[0]), reverse=True):
        if action.clause == "REMOVE":
            _remove(result, action.path.steps)
    return result


def _added(old: Value | None, more: Value) -> Value:
    kind = type_of(more)
    if kind not in {"N", "SS", "NS", "BS"}:
        raise ExpressionError(f"Incorrect operand type for operator or function; operator: ADD, operand type: {kind}")
    if old is None:
        return more
    if kind not in old:
        raise ExpressionError("An operand in the update expression has an incorrect data type")
    return total("+", old, more) if kind == "N" else {kind: sorted({*old[kind], *more[kind]})}


def _subtract(item: Item, steps: Steps, members: Value) -> None:
    kind = type_of(members)
    old = find(item, steps)
    if kind not in {"SS", "NS", "BS"} or (old is not None and kind not in old):
        raise ExpressionError("An operand in the update expression has an incorrect data type")
    if old is None:
        return
    left = sorted({*old[kind]} - {*members[kind]})
    if left:
        _assign(item, steps, {kind: left})
    else:
        _remove(item, steps)


def _container(item: Item, steps: Steps) -> Value:
    holder = find(item, steps[:-1])
    wanted = "M" if isinstance(steps[-1], str) else "L"
    if holder is None or wanted not in holder:
        raise ExpressionError("The document path provided in the update expression is invalid for update")
    return holder


def _assign(item: Item, steps: Steps, value: Value) -> None:
    holder, last = _container(item, steps), steps[-1]
    if isinstance(last, str):
        holder["M"][last] = copied(value)
    elif last < len(holder["L"]):
        holder["L"][last] = copied(value)
    else:
        holder["L"].append(copied(value))


def _remove(item: Item, steps: Steps) -> None:
    holder, last = _container(item, steps), steps[-1]
    if isinstance(last, str):
        holder["M"].pop(last, None)
    elif last < len(holder["L"]):
        del holder["L"][last]


def _removal_order(action: Action) -> tuple[tuple[int, str | int], ...]:
    return tuple((1, step) if isinstance(step, int) else (0, step) for step in action.path.steps)
