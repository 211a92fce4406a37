"""Parses DynamoDB's expressions: conditions, updates, key conditions and projections.

The parser raises ExpressionError for unknown syntax, so no test passes on a skipped expression. Like DynamoDB it
refuses reserved words, and unused or undefined placeholders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tests.fakes.aws.dynamodb.expressions.lexer import RESERVED, tokens
from tests.fakes.aws.dynamodb.expressions.syntax import (
    Action,
    Arithmetic,
    Between,
    Both,
    Call,
    Comparison,
    Condition,
    Either,
    ExpressionError,
    In,
    Literally,
    Not,
    Operand,
    Path,
    Value,
)
from tests.fakes.aws.dynamodb.expressions.values import ORDERED, normalized, type_of


class Placeholders:
    """ExpressionAttributeNames and -Values of one request, with their use."""

    def __init__(self, names: Mapping[str, str] | None = None, values: Mapping[str, Value] | None = None) -> None:
        """Raise ExpressionError for maps that are given but empty."""
        for kind, given in (("Names", names), ("Values", values)):
            if given is not None and not given:
                raise ExpressionError(f"ExpressionAttribute{kind} must not be empty")
        self._names = names or {}
        self._values = {name: normalized(value) for name, value in (values or {}).items()}
        self._used: set[str] = set()

    def name(self, placeholder: str) -> str:
        """Return the attribute that `#placeholder` stands for."""
        return self._take("name", self._names, placeholder)

    def value(self, placeholder: str) -> Value:
        """Return the value that `:placeholder` stands for."""
        return self._take("value", self._values, placeholder)

    def check_all_used(self) -> None:
        """Raise ExpressionError for a placeholder that no expression uses."""
        for kind, given in (("Names", self._names), ("Values", self._values)):
            unused = sorted(set(given) - self._used)
            if unused:
                raise ExpressionError(f"Value provided in ExpressionAttribute{kind} unused in expressions: keys: {{{', '.join(unused)}}}")

    def _take[T](self, kind: str, given: Mapping[str, T], placeholder: str) -> T:
        if placeholder not in given:
            raise ExpressionError(
                f"An expression attribute {kind} used in the document path is not defined; attribute {kind}: {placeholder}"
            )
        self._used.add(placeholder)
        return given[placeholder]


class Parser:
    """Reads one expression."""

    def __init__(self, text: str, placeholders: Placeholders) -> None:
        """Split `text` into tokens; raise ExpressionError for a character that starts none."""
        if not text.strip():
            raise ExpressionError("The expression can not be empty;")
        self._tokens = tokens(text)
        self._at = 0
        self._placeholders = placeholders
        self._enclosed: Condition | None = None
        self._allowed = _ARITY.keys() - _IN_UPDATES

    def condition(self) -> Condition:
        """Read the whole text as a condition."""
        return self._whole(self._either)

    def update(self) -> tuple[Action, ...]:
        """Read the whole text as an update expression."""
        self._allowed = _IN_UPDATES
        return self._whole(self._clauses)

    def projection(self) -> tuple[Path, ...]:
        """Read the whole text as a list of paths."""
        paths = self._whole(lambda: self._listed(self._path))
        _refuse_overlaps(paths)
        return paths

    def _whole[T](self, read: Callable[[], T]) -> T:
        result = read()
        if self._kind() != "end":
            raise self._syntax_error()
        return result

    def _either(self) -> Condition:
        left = self._both()
        while self._word("OR"):
            left = Either(left, self._both())
        return left

    def _both(self) -> Condition:
        left = self._negation()
        while self._word("AND"):
            left = Both(left, self._negation())
        return left

    def _negation(self) -> Condition:
        return Not(self._negation()) if self._word("NOT") else self._simple()

    def _simple(self) -> Condition:
        if self._sign("("):
            inner = self._either()
            self._expect(")")
            if inner is self._enclosed:
                raise ExpressionError("The expression has redundant parentheses;")
            self._enclosed = inner
            return inner
        left = self._operand()
        if isinstance(left, Call) and left.function in _PREDICATES:
            return left
        return self._compared(left)

    def _compared(self, left: Operand) -> Condition:
        if self._word("BETWEEN"):
            low = self._operand()
            if not self._word("AND"):
                raise self._syntax_error()
            return Between(left, low, self._operand())
        if self._word("IN"):
            self._expect("(")
            options = self._listed(self._operand)
            self._expect(")")
            return In(left, options)
        for sign in _COMPARATORS:
            if self._sign(sign):
                return _comparison(sign, left, self._operand())
        raise self._syntax_error()

    def _clauses(self) -> tuple[Action, ...]:
        actions: list[Action] = []
        seen: set[str] = set()
        while self._kind() == "word":
            clause = self._next().upper()
            if clause in seen:
                raise ExpressionError(f'The "{clause}" section can only be used once in an update expression;')
            seen.add(clause)
            actions += self._listed(lambda clause=clause: self._action(clause))
        _refuse_overlaps([action.path for action in actions])
        return tuple(actions)

    def _action(self, clause: str) -> Action:
        path = self._path()
        match clause:
            case "SET":
                self._expect("=")
                return Action("SET", path, self._sum())
            case "REMOVE":
                return Action("REMOVE", path)
            case "ADD" | "DELETE":
                return Action(clause, path, self._literal())
            case _:
                raise self._syntax_error()

    def _sum(self) -> Operand:
        left = self._operand()
        for sign in ("+", "-"):
            if self._sign(sign):
                return Arithmetic(sign, left, self._operand())
        return left

    def _operand(self) -> Operand:
        if self._kind() == "value":
            return self._literal()
        if self._kind() == "word" and self._peek(1) == "(":
            return self._call()
        return self._path()

    def _call(self) -> Call:
        function = self._next()
        self._expect("(")
        arguments = self._listed(self._operand)
        self._expect(")")
        if function not in _ARITY:
            raise ExpressionError(f"Invalid function name; function: {function}")
        if function not in self._allowed:
            raise ExpressionError(f"The function is not allowed in this kind of expression; function: {function}")
        if len(arguments) != _ARITY[function]:
            raise ExpressionError(f"Incorrect number of operands for operator or function; function: {function}")
        if function in _ON_PATHS and not isinstance(arguments[0], Path):
            raise ExpressionError(f"Operator or function requires a document path; operator or function: {function}")
        return Call(function, arguments)

    def _literal(self) -> Literally:
        if self._kind() != "value":
            raise self._syntax_error()
        return Literally(self._placeholders.value(self._next()))

    def _path(self) -> Path:
        steps: list[str | int] = [self._attribute()]
        while True:
            if self._sign("."):
                steps.append(self._attribute())
            elif self._sign("["):
                steps.append(self._index())
                self._expect("]")
            else:
                return Path(tuple(steps))

    def _attribute(self) -> str:
        if self._kind() == "name":
            return self._placeholders.name(self._next())
        if self._kind() != "word":
            raise self._syntax_error()
        word = self._next()
        if word.lower() in RESERVED:
            raise ExpressionError(f"Attribute name is a reserved keyword; reserved keyword: {word}")
        return word

    def _index(self) -> int:
        if self._kind() != "index":
            raise self._syntax_error()
        return int(self._next())

    def _listed[T](self, read: Callable[[], T]) -> tuple[T, ...]:
        items = [read()]
        while self._sign(","):
            items.append(read())
        return tuple(items)

    def _word(self, word: str) -> bool:
        found = self._kind() == "word" and self._peek().upper() == word
        self._at += found
        return found

    def _sign(self, sign: str) -> bool:
        found = self._kind() == "sign" and self._peek() == sign
        self._at += found
        return found

    def _expect(self, sign: str) -> None:
        if not self._sign(sign):
            raise self._syntax_error()

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _kind(self) -> str:
        return self._tokens[self._at][0]

    def _peek(self, ahead: int = 0) -> str:
        position = min(self._at + ahead, len(self._tokens) - 1)
        return self._tokens[position][1]

    def _syntax_error(self) -> ExpressionError:
        near = " ".join(text for _, text in self._tokens[self._at : self._at + 3])
        return ExpressionError(f'Syntax error; token: "{self._peek()}", near: "{near}"')


_COMPARATORS = ("=", "<>", "<=", ">=", "<", ">")
_ARITY = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
    "size": 1,
    "if_not_exists": 2,
    "list_append": 2,
}
_IN_UPDATES = {"if_not_exists", "list_append"}
_PREDICATES = {"attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains"}
_ON_PATHS = {"attribute_exists", "attribute_not_exists", "attribute_type", "size", "if_not_exists"}


def _comparison(sign: str, left: Operand, right: Operand) -> Comparison:
    for operand in (left, right):
        if sign not in {"=", "<>"} and isinstance(operand, Literally) and type_of(operand.value) not in ORDERED:
            raise ExpressionError(
                f"Incorrect operand type for operator or function; operator: {sign}, operand type: {type_of(operand.value)}"
            )
    return Comparison(sign, left, right)


def _refuse_overlaps(paths: Sequence[Path]) -> None:
    for number, path in enumerate(paths):
        for other in paths[:number]:
            shorter = min(len(path.steps), len(other.steps))
            if path.steps[:shorter] == other.steps[:shorter]:
                raise ExpressionError("Two document paths overlap with each other; must remove or rewrite one of these")
