"""DynamoDB's expression language: conditions, updates, key conditions and projections.

Anything that this parser does not know raises ExpressionError, so a test can never pass on an
expression that was skipped. Reserved words, unused and undefined placeholders are refused as the
service refuses them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, DecimalException
from functools import cache, lru_cache
from typing import Any, Literal

type Value = dict[str, Any]
type Item = dict[str, Value]
type Steps = tuple[str | int, ...]

# The service's numbers have 38 significant digits.
ARITHMETIC = Context(prec=38)

_TOKEN = re.compile(
    r"\s*(?:(?P<index>\d+)|(?P<word>[A-Za-z][A-Za-z0-9_]*)|(?P<name>#[A-Za-z0-9_]+)"
    r"|(?P<value>:[A-Za-z0-9_]+)|(?P<sign><>|<=|>=|[=<>+\-(),.\[\]]))"
)

# Those of the service's 573 reserved words that could name something in an order pipeline.
_RESERVED = frozenset(
    """
    action all and array attribute auth between binary boolean bucket by capacity case comment commit condition
    connection count counter create current cursor data database date datetime day default delete duration each
    element empty end error exception execute exists expression fail file filter first float for format found free
    from full function group handler hash hidden hold hour identity if in index input interval item items key keys
    language last left length level limit lines list load local location lock log map match max member method
    metrics min minute mode month name names new next no none not null number object of offset old on online open
    operator or order other out output owner parameter parameters partition path percent permission plan position
    primary prior private processed property public put query range rank read reads record ref reference region
    release replace request reset resource response restore result return right role roles row rows rule rules
    scan schema scope search second section segment select sequence session set shard share short signal size
    source space split start state statistics status storage store stored stream string sum system table text time
    timestamp timezone to token total transaction trigger ttl type unique unit unknown until update url user users
    uuid value values view void wait when where window with work write year zone
    """.split()  # noqa: SIM905 - one line a word would be longer than the parser
)


class ExpressionError(ValueError):
    """The expression is not one that the service would carry out."""


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
    """Two conditions of which one must hold."""

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


class Placeholders:
    """ExpressionAttributeNames and -Values of one request, and which of them were used."""

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
        """Raise ExpressionError for a placeholder that no expression mentioned."""
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
        self._tokens = _tokens(text)
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
        if word.lower() in _RESERVED:
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
_ORDERED = {"S", "N", "B"}


@cache
def _tokens(text: str) -> tuple[tuple[str, str], ...]:
    tokens: list[tuple[str, str]] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise ExpressionError(f'Syntax error; token: "{text[position:].strip()[:1]}"')
        tokens.append((found.lastgroup, found[found.lastgroup]))
        position = found.end()
    return (*tokens, ("end", "<EOF>"))


def _comparison(sign: str, left: Operand, right: Operand) -> Comparison:
    for operand in (left, right):
        if sign not in {"=", "<>"} and isinstance(operand, Literally) and _type(operand.value) not in _ORDERED:
            raise ExpressionError(
                f"Incorrect operand type for operator or function; operator: {sign}, operand type: {_type(operand.value)}"
            )
    return Comparison(sign, left, right)


def _refuse_overlaps(paths: Sequence[Path]) -> None:
    for number, path in enumerate(paths):
        for other in paths[:number]:
            shorter = min(len(path.steps), len(other.steps))
            if path.steps[:shorter] == other.steps[:shorter]:
                raise ExpressionError("Two document paths overlap with each other; must remove or rewrite one of these")


def holds(condition: Condition | None, item: Item) -> bool:
    """Tell whether `item` meets the condition; no condition always holds."""
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
            return _compare(sign, evaluate(left, item), evaluate(right, item))
        case Between(operand, low, high):
            value = evaluate(operand, item)
            return _compare(">=", value, evaluate(low, item)) and _compare("<=", value, evaluate(high, item))
        case In(operand, options):
            value = evaluate(operand, item)
            return any(_compare("=", value, evaluate(option, item)) for option in options)
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
            return _sum(sign, _present(evaluate(left, item)), _present(evaluate(right, item)))


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


def updated(actions: Sequence[Action], item: Item) -> Item:
    """Return `item` after an update expression; every operand is taken from the item as it was."""
    planned = [(action, evaluate(action.operand, item) if action.operand else None) for action in actions]
    result = copied(item)
    for action, operand in planned:
        match action.clause:
            case "SET":
                _assign(result, action.path.steps, _present(operand))
            case "ADD":
                _assign(result, action.path.steps, _added(find(item, action.path.steps), _present(operand)))
            case "DELETE":
                _subtract(result, action.path.steps, _present(operand))
            case "REMOVE":
                pass
    # Last and from behind, so that the indexes of a list's elements stay those of the old item.
    for action, _ in sorted(planned, key=lambda pair: _removal_order(pair[0]), reverse=True):
        if action.clause == "REMOVE":
            _remove(result, action.path.steps)
    return result


def copied(value: Any) -> Any:
    """Return a deep copy of a document; much faster than `copy.deepcopy`, which the tests would call a million times."""
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
    """Return the value as the service would give it back.

    Raises:
        ExpressionError: it has no type or several, is an empty set, or is not a number that fits.
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
    kind = _type(value)
    if kind == "N":
        return _decimal(value["N"])
    return value["S"].encode() if kind == "S" else bytes(value[kind])


@lru_cache(maxsize=4096)
def _decimal(text: str) -> Decimal:
    return Decimal(_number(text))


def size(value: Value) -> int:
    """Return about how many bytes the value takes of an item's 400 KB."""
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


def _type(value: Value) -> str:
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


def _compare(sign: str, left: Value | None, right: Value | None) -> bool:
    if sign == "=":
        return left is not None and left == right
    if sign == "<>":
        return left is None or left != right
    if left is None or right is None or _type(left) != _type(right) or _type(left) not in _ORDERED:
        return False
    low, high = ordering(left), ordering(right)
    return {"<": low < high, "<=": low <= high, ">": low > high, ">=": low >= high}[sign]


def _predicate(function: str, arguments: Sequence[Value | None]) -> bool:
    subject = arguments[0]
    match function:
        case "attribute_exists":
            return subject is not None
        case "attribute_not_exists":
            return subject is None
        case "attribute_type":
            return subject is not None and _type(subject) == _present(arguments[1])["S"]
        case "begins_with":
            return _begins_with(subject, _present(arguments[1]))
        case "contains":
            return _contains(subject, _present(arguments[1]))
        case _:
            raise ExpressionError(f"The function is not allowed here; function: {function}")


def _begins_with(subject: Value | None, prefix: Value) -> bool:
    kind = _type(prefix)
    if kind not in {"S", "B"}:
        raise ExpressionError("Incorrect operand type for operator or function; operator: begins_with")
    return subject is not None and kind in subject and subject[kind].startswith(prefix[kind])


def _contains(subject: Value | None, member: Value) -> bool:
    if subject is None:
        return False
    kind = _type(subject)
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
            return {"L": [element for argument in arguments for element in _present(argument)["L"]]}
        case _:
            raise ExpressionError(f"The function is not allowed here; function: {function}")


def _size_of(value: Value | None) -> Value | None:
    if value is None or _type(value) in {"N", "BOOL", "NULL"}:
        return None
    content = value[_type(value)]
    return {"N": str(len(content.encode() if isinstance(content, str) else content))}


def _present(value: Value | None) -> Value:
    if value is None:
        raise ExpressionError("The provided expression refers to an attribute that does not exist in the item")
    return value


def _sum(sign: str, left: Value, right: Value) -> Value:
    if "N" not in left or "N" not in right:
        raise ExpressionError(f"An operand in the update expression has an incorrect data type; operator: {sign}")
    apply = ARITHMETIC.add if sign == "+" else ARITHMETIC.subtract
    return {"N": _number(str(apply(Decimal(left["N"]), Decimal(right["N"]))))}


def _added(old: Value | None, more: Value) -> Value:
    kind = _type(more)
    if kind not in {"N", "SS", "NS", "BS"}:
        raise ExpressionError(f"Incorrect operand type for operator or function; operator: ADD, operand type: {kind}")
    if old is None:
        return more
    if kind not in old:
        raise ExpressionError("An operand in the update expression has an incorrect data type")
    return _sum("+", old, more) if kind == "N" else {kind: sorted({*old[kind], *more[kind]})}


def _subtract(item: Item, steps: Steps, members: Value) -> None:
    kind = _type(members)
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
