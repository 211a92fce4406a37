"""Reads the parameters of a request: checks them against botocore's model and parses their expressions."""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore.exceptions import ParamValidationError
from botocore.validate import ParamValidator

from tests.fakes.aws.dynamodb.errors import Parameters, model
from tests.fakes.aws.dynamodb.expressions.parser import Parser, Placeholders
from tests.fakes.aws.dynamodb.expressions.syntax import Condition, Item
from tests.fakes.aws.dynamodb.expressions.values import find


class Expressions:
    """The parsed expressions of one request; every placeholder is used."""

    def __init__(self, given: Parameters) -> None:
        """Parse the expressions; raise ExpressionError for one that DynamoDB refuses."""
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
        """Return the attributes of an item that the projection names."""
        if self.projection is None:
            return item
        return {str(path.steps[0]): value for path in self.projection if (value := find(item, path.steps))}


EXPRESSIONS = (
    "KeyConditionExpression",
    "ConditionExpression",
    "FilterExpression",
    "UpdateExpression",
    "ProjectionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
)
_MOST_KNOWN = 10_000
_known_expressions: dict[Any, Expressions] = {}
_known_forms: set[Any] = set()


def expressions(given: Parameters) -> Expressions:
    """Return the parsed expressions of a request; equal ones are parsed once."""
    key = tuple([(name, part if isinstance(part, str) else repr(part)) for name in EXPRESSIONS if (part := given.get(name)) is not None])
    if key not in _known_expressions:
        if len(_known_expressions) >= _MOST_KNOWN:
            _known_expressions.clear()
        _known_expressions[key] = Expressions(given)
    return _known_expressions[key]


def clear_caches() -> None:
    """Empty the caches of parsed requests, for a test that measures memory."""
    _known_expressions.clear()
    _known_forms.clear()


def validate(operation: str, parameters: Parameters) -> None:
    """Raise ParamValidationError for parameters that botocore refuses."""
    form = operation, _form(parameters)
    if form in _known_forms:
        return
    report = ParamValidator().validate(parameters, model().operation_model(operation).input_shape)
    if report.has_errors():
        raise ParamValidationError(report=report.generate_report())
    _known_forms.add(form)


def _form(value: Any) -> Any:
    """Return the aspects that botocore validates: names, types, numbers, and text lengths up to the longest minimum."""
    kind = type(value)
    if kind is str:
        return min(len(value), _LONGEST_MINIMUM)
    if kind is dict:
        return tuple(value), tuple([min(len(part), _LONGEST_MINIMUM) if type(part) is str else _form(part) for part in value.values()])
    if kind is list:
        return tuple([_form(part) for part in value])
    return kind, value if kind in {int, float, bool} else id(kind)


_LONGEST_MINIMUM = 3


def only(given: Parameters, known: str) -> None:
    """Raise NotImplementedError for a parameter that the fake does not implement."""
    unknown = given.keys() - _names(known)
    if unknown:
        raise NotImplementedError(f"the in-memory DynamoDB does not implement {', '.join(sorted(unknown))} here")


@cache
def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())
