"""Cut from Markdown pages the sections, rows, list items and sentences that name something removed."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from devtools.remove.names import Names

WIDTH = 140
_NAMED = re.compile(r"`[^`\n]+`")
_LIST = re.compile(r"`[^`]+`(?:(?:,\s+and|,|\s+and|\s+or)\s+`[^`]+`)+")
_LABEL = re.compile(r"\[([\w ,:/<>-]+)\]")


def without(text: str, names: Names) -> str:
    """Return a page without references to removed parts."""
    blocks = re.split(r"(\n{2,})", _without_sections(text, names))
    shorter = "".join(_block(block, names) for block in blocks)
    return text if shorter == text else re.sub(r"\n{3,}", "\n\n", shorter)


def mentions(text: str, names: Names) -> Iterable[int]:
    """Yield the numbers of the lines that have a word for a removed name. A reader decides on these."""
    wanted = re.compile(rf"\b({'|'.join(names.part.words)})\b", re.IGNORECASE)
    yield from (number for number, line in enumerate(text.splitlines(), 1) if wanted.search(line))


def _without_sections(text: str, names: Names) -> str:
    result, below = list[str](), 0
    for line in text.splitlines(keepends=True):
        if heading := re.match(r"(#+) (.*)", line):
            if below and len(heading[1]) > below:
                continue
            below = len(heading[1]) if _is_about(heading[2], names) else 0
            if below and result and result[-1] == "\n" and re.match(r"<!-- written by ", result[-2]):
                del result[-2:]
        if not below or line.startswith("<!-- written by"):
            below = 0 if line.startswith("<!-- written by") else below
            result.append(line)
    return "".join(result)


def _is_about(heading: str, names: Names) -> bool:
    words = set(re.findall(r"\w+", heading.lower()))
    return bool(words & set(names.part.words)) or any(_is_named(one, names) for one in _NAMED.findall(heading))


def _is_named(quoted: str, names: Names) -> bool:
    word = quoted.strip("`").rstrip("/")
    return names.names_string(word) or names.names_string(word.partition(" ")[0].partition("/handlers")[0])


def _block(block: str, names: Names) -> str:
    if block.startswith(("#", "<")) or not block.strip():
        return block
    if block.lstrip().startswith("|"):
        return "\n".join(row for line in block.split("\n") if (row := _row(line, names)) is not None)
    if "```" in block or block.startswith("    "):
        return "\n".join(_without_labels(line, names) for line in block.split("\n") if not _is_command(line, names))
    if re.match(r"\s*([-*]|\d+\.) ", block):
        items = re.split(r"\n(?=\s*(?:[-*]|\d+\.) )", block)
        return "\n".join(filter(None, (_prose(item, names) for item in items)))
    return _prose(block, names)


def _is_command(line: str, names: Names) -> bool:
    words = line.split()
    return any(names.names_string(word) or names.names_route(word) for word in words)


def _row(line: str, names: Names) -> str | None:
    first = line.split("|")[1] if line.count("|") > 1 else ""
    named = _NAMED.findall(first)
    plain = re.sub(r"^Lambda ", "", first.strip())
    if names.names_string(plain) or (named and all(_is_named(one, names) for one in named)):
        return None
    return _without_items(line, names)


def _without_items(text: str, names: Names) -> str:
    def shorter(found: re.Match[str]) -> str:
        items = _NAMED.findall(found[0])
        kept = [one for one in items if not _is_named(one, names)]
        if len(kept) == len(items) or not kept:
            return found[0]
        last = re.search(r"(,?\s+(?:and|or)\s+)`[^`]+`$", found[0])
        return ", ".join(kept[:-1]) + ((last[1] if last else ", ") if len(kept) > 1 else "") + kept[-1]

    return _LIST.sub(shorter, text)


def _prose(text: str, names: Names) -> str:
    shorter = _without_items(text, names)
    sentences = re.split(r"(?<=[.:])\s+(?=[A-Z`])", shorter)
    kept = [one for one in sentences if not any(_is_named(word, names) for word in _NAMED.findall(one))]
    if kept == re.split(r"(?<=[.:])\s+(?=[A-Z`])", text):
        return text
    return _filled(" ".join(kept), text) if kept else ""


def _filled(text: str, like: str) -> str:
    indent = re.match(r"\s*(?:(?:[-*]|\d+\.) )?", like)
    first = indent[0] if indent else ""
    words = " ".join(text.split()).removeprefix(first.strip()).strip()
    wrapper = textwrap.TextWrapper(WIDTH, first, " " * len(first), break_long_words=False, break_on_hyphens=False)
    return wrapper.fill(words)


def _without_labels(line: str, names: Names) -> str:
    """Cut the words for removed names from the labels of a diagram."""

    def shorter(found: re.Match[str]) -> str:
        label = found[1]
        for word in names.part.words:
            label = re.sub(rf"(?<![\w ]){word},(?:<br/>| )?|\b(?<= ){word}, |, ?(?:<br/>)?{word}$", "", label)
        return f"[{label}]"

    return _LABEL.sub(shorter, line)
