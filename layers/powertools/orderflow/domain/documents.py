"""External JSON documents: parsed strictly, with normalized text, and all invalid fields reported together.

| JSON | result |
|---|---|
| a key twice in one object, `NaN`, numbers beyond a double's (`1e400`), nesting of more than `MOST_LEVELS` | refused: `Malformed` |
| `2.0` and `2e0` for a whole number | the integer 2: JSON Schema, Validation 6.1.1, counts it as one |
| white space and zero-width characters around a text | trimmed; a text of nothing else is empty |
| the same text composed in two ways | Unicode NFC |
| characters not allowed in texts: controls, bidirectional overrides, noncharacters, lone surrogates | invalid, or replaced by U+FFFD |

SQS, SES and EventBridge refuse some of these characters, so a message that contains one could never be delivered.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Tab, line feed and carriage return are text. So are the marks U+200E, U+200F and U+061C, which right-to-left names may need.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff"
_MOST_ERRORS = 50
# Far more than documents of this API need, and far below Python's recursion limit.
MOST_LEVELS = 64
_TOO_DEEP = f"nested in more than {MOST_LEVELS} levels"
# Above this, a float cannot represent every integer.
_EXACT = 2**53


class Malformed(ValueError):
    """The text is not JSON, or its meaning is ambiguous."""


class Invalid(ValueError):
    """The document does not match the expected type.

    `errors` has the JSONPath of each invalid field and the reason, in the document's order.
    """

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        """Create the error for these invalid fields, at least one."""
        super().__init__("; ".join(f"{path}: {what}" for path, what in errors))
        self.errors = errors


def read[A](text: str, kind: type[A]) -> A:
    """Return a JSON text as a `kind`, its texts trimmed and in NFC.

    Raises:
        Malformed: it is not JSON, has a duplicate key, or is nested too deeply.
        Invalid: it does not match the type, or has characters that are not allowed in texts.
    """
    document = parse(text)
    return converted(cleaned(document), kind, unreadable(document))


def parse(text: str) -> Any:
    """Return the document of a JSON text, as `json.loads` does, with whole numbers as integers.

    Raises:
        Malformed: it is not JSON, has a duplicate key, or is nested too deeply.
    """
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_float=_number, parse_constant=_constant)
    except RecursionError:
        raise Malformed(_TOO_DEEP) from None
    except ValueError as error:
        raise Malformed(str(error)) from None
    if _levels_exceed(document, MOST_LEVELS):
        raise Malformed(_TOO_DEEP)
    return document


def cleaned(document: Any) -> Any:
    """Return a parsed document with its texts trimmed, in NFC, and characters that are not allowed replaced by U+FFFD."""
    match document:
        case str():
            return _clean(document)
        case list():
            return [cleaned(item) for item in cast("list[Any]", document)]
        case dict():
            return {_NO_TEXT.sub("\ufffd", key): cleaned(value) for key, value in cast("dict[str, Any]", document).items()}
        case _:
            return document


def unreadable(document: Any) -> list[tuple[str, str]]:
    """Return the fields of a parsed document that contain characters not allowed in texts, each with the reason."""
    return [
        (path, f"U+{ord(found[0]):04X} is not allowed in a text")
        for path, text in _texts(document, "$")
        if (found := _NO_TEXT.search(text))
    ]


def converted[A](document: Any, kind: type[A], known: list[tuple[str, str]] | None = None) -> A:
    """Return a parsed document as a `kind`; `known` are errors that were found before.

    Raises:
        Invalid: it does not match the type, or `known` has errors.
    """
    try:
        shaped = msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        errors = dict([*(known or []), *_errors(document, kind, "$")])
        raise Invalid(list(errors.items())[:_MOST_ERRORS] or [_error(error, "$")]) from None
    if known:
        raise Invalid(known[:_MOST_ERRORS])
    return shaped


def encode(document: Any) -> str:
    """Return a parsed document as JSON in ASCII, which every queue accepts."""
    return json.dumps(document, separators=(",", ":"))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen = set[str]()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        message = f"the key {twice!a} is duplicated in one object"
        raise Malformed(message)
    return found


def _number(text: str) -> int | float:
    value = float(text)
    if math.isinf(value):
        message = f"{text[:40]} exceeds the range of a number"
        raise Malformed(message)
    return int(value) if value.is_integer() and abs(value) <= _EXACT else value


def _constant(name: str) -> object:
    message = f"{name} is not JSON"
    raise Malformed(message)


def _levels_exceed(document: Any, most: int) -> bool:
    level = [document]
    for _ in range(most):
        level = [part for one in level for part in _parts(one)]
    return any(isinstance(one, list | dict) for one in level)


def _parts(document: Any) -> Iterable[Any]:
    match document:
        case list():
            return cast("list[Any]", document)
        case dict():
            return cast("dict[str, Any]", document).values()
        case _:
            return ()


def _clean(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    while (trimmed := text.strip().strip(_ZERO_WIDTH)) != text:
        text = trimmed
    return _NO_TEXT.sub("\ufffd", text)


def _texts(document: Any, path: str) -> Iterator[tuple[str, str]]:
    match document:
        case str():
            yield path, document
        case list():
            for number, item in enumerate(cast("list[Any]", document)):
                yield from _texts(item, f"{path}[{number}]")
        case dict():
            for key, value in cast("dict[str, Any]", document).items():
                yield path, key
                yield from _texts(value, f"{path}.{_NO_TEXT.sub('\ufffd', key)}")
        case _:
            return


def _errors(document: Any, kind: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the errors of each part of a document, or the error of the whole if no part has one."""
    found = list(_errors_of_parts(document, _bare(kind), path))
    yield from found
    if not found:
        try:
            msgspec.convert(document, kind)
        except msgspec.ValidationError as error:
            yield _error(error, path)


def _errors_of_parts(document: Any, kind: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(document, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct) and not kind.__struct_config__.tag:
        yield from _errors_of_fields(cast("dict[str, Any]", document), kind, path)
    elif isinstance(document, list) and get_origin(kind) is tuple and (of := get_args(kind))[1:] == (...,):
        for number, item in enumerate(cast("list[Any]", document)):
            yield from _errors(item, of[0], f"{path}[{number}]")


def _errors_of_fields(document: dict[str, Any], kind: type[msgspec.Struct], path: str) -> Iterator[tuple[str, str]]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, field in fields.items():
        if name in document:
            yield from _errors(document[name], field.type, f"{path}.{name}")
        elif field.required:
            yield f"{path}.{name}", "this field is missing"
    yield from ((f"{path}.{name}", what) for name, what in getattr(kind, "missing", _nothing)(document))
    if kind.__struct_config__.forbid_unknown_fields:
        yield from ((f"{path}.{name}", "there is no such field") for name in document if name not in fields)


def _nothing(_document: object) -> tuple[()]:
    return ()


def _bare(kind: Any) -> Any:
    """Return a type without its constraints; an alias is replaced by its type."""
    while True:
        if hasattr(kind, "__value__"):
            kind = kind.__value__
        elif hasattr(kind, "__metadata__"):
            kind = kind.__origin__
        else:
            return kind


def _error(error: msgspec.ValidationError, path: str) -> tuple[str, str]:
    what, _, below = str(error).partition(" - at `")
    return path + below.rstrip("`").removeprefix("$"), what[:1].lower() + what[1:]
