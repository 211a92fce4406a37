"""Parts of a text by their offsets, and texts without them."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable, Sequence


class Span(NamedTuple):
    """A part of a text, from the first character to the one after the last."""

    start: int
    end: int

    def holds(self, other: Span) -> bool:
        """Return whether another part is within this one."""
        return self.start <= other.start and other.end <= self.end


# A part of a text and its replacement.
type Change = tuple[Span, str]


class Source:
    """A text, with the places of Python nodes in it."""

    def __init__(self, text: str) -> None:
        """Index the lines of `text`."""
        self.text = text
        self._lines = text.splitlines(keepends=True)
        self._starts = [0, *accumulate(map(len, self._lines))]

    def offset(self, line: int, column: int) -> int:
        """Return the offset of a line, counted from 1, and of a column in bytes of UTF-8, as `ast` counts."""
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        return self._starts[line - 1] + len(text.encode()[:column].decode())

    def of(self, node: ast.AST) -> Span:
        """Return the place of a node."""
        place: ast.expr = node  # pyright: ignore[reportAssignmentType] - the caller has a node with a place
        return Span(self.offset(place.lineno, place.col_offset), self.offset(place.end_lineno or place.lineno, place.end_col_offset or 0))

    def wide(self, node: ast.AST, within: int = 0) -> Span:
        """Return the place of a node with the parentheses around it that open after `within`."""
        span = self.of(node)
        while True:
            before = len(self.text[: span.start].rstrip())
            after = re.compile(r"\s*\)").match(self.text, span.end)
            if before <= within or self.text[before - 1] != "(" or not after:
                return span
            span = Span(before - 1, after.end())

    def statement(self, node: ast.stmt) -> Span:
        """Return the lines of a statement, with its decorators and the comments before it."""
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
        last = self.offset(node.end_lineno or node.lineno, node.end_col_offset or 0)
        return Span(self.with_comments(self._starts[first - 1]), self.next_line(last))

    def line_start(self, offset: int) -> int:
        """Return where the line of an offset begins."""
        return self.text.rfind("\n", 0, offset) + 1

    def next_line(self, offset: int) -> int:
        """Return where the line after an offset begins."""
        end = self.text.find("\n", offset)
        return len(self.text) if end < 0 else end + 1

    def with_comments(self, start: int) -> int:
        """Return the start of the comment lines that end at the start of a line."""
        while start and self.text[self.line_start(start - 1) : start].lstrip().startswith("#"):
            start = self.line_start(start - 1)
        return start

    def elements(self, ranges: Sequence[Span], cut: Iterable[int], *, is_tuple: bool = False) -> list[Change]:
        """Return the changes by which elements of a list vanish, with their commas, and the comments of their lines."""
        dropped = set(cut)
        changes: list[Change] = [(self._element(one), "") for index, one in enumerate(ranges) if index in dropped]
        kept = [one for index, one in enumerate(ranges) if index not in dropped]
        has_comma = re.compile(r"\s*,").match(self.text, ranges[-1].end)
        alone = is_tuple and len(kept) == 1
        if kept and not has_comma and len(ranges) - 1 in dropped and not alone:
            comma = self.text.index(",", kept[-1].end)
            changes.append((Span(comma, comma + 1), ""))
        if alone and not has_comma and len(ranges) - 1 not in dropped:
            changes.append((Span(ranges[-1].end, ranges[-1].end), ","))
        return changes

    def _element(self, one: Span) -> Span:
        start, end = one.start, one.end
        if comma := re.compile(r"\s*,[ \t]*(#[^\n]*)?").match(self.text, end):
            end = comma.end()
        begin = self.line_start(start)
        alone = not self.text[begin:start].strip()
        if alone and (rest := re.compile(r"[ \t]*\n").match(self.text, end)):
            return Span(self.with_comments(begin), rest.end())
        if not alone and self.text[end : end + 1] == "\n":
            # The last element of a line goes with the space before it.
            start = len(self.text[:start].rstrip(" "))
        return Span(start, end)


def applied(text: str, cuts: Sequence[Change]) -> str:
    """Return a text with parts replaced. A part within another one goes with it."""
    result, position = list[str](), 0
    for span, replacement in sorted(cuts, key=lambda cut: (cut[0].start, -cut[0].end)):
        if span.start < position:
            position = max(position, span.end) if span.end > position else position
            continue
        result += [text[position : span.start], replacement]
        position = span.end
    return "".join([*result, text[position:]])
