"""Cut from template.yaml the resources of a part and all references to them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import yaml

from devtools.cli import UserError
from devtools.remove.names import referred
from devtools.remove.spans import Change, Source, Span, applied

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from devtools.remove.names import Part

# In these mappings an entry can be without the others.
ENTRIES = ("Variables", "DefinitionSubstitutions", "Outputs", "Parameters", "Conditions", "ParameterLabels", "StringEquals")
SECTION = re.compile(r"  # == .* ==\n")


def owned(text: str, resources: Mapping[str, Mapping[str, Any]], part: Part) -> list[str]:
    """Return the resources of a part: the whole section of a context; of a use case those with its function's name, and its tables.

    Raises:
        UserError: a section has functions of another context as well.
    """
    functions = [name for name, one in resources.items() if one["Type"] == "AWS::Serverless::Function"]
    own = [name for name in functions if part.owns_handler(resources[name]["Properties"]["Handler"])]
    if not own:
        raise UserError(f"template.yaml has no function of {part.context}: it is removed already")
    if not part.is_context:
        named = [name for name in resources if name.startswith(tuple(own))]
        return named + [name for name in resources if _is_only_of(name, named, resources)]
    found = list[str]()
    for section in _sections(text):
        if set(section) & set(own):
            if others := set(section) & set(functions) - set(own):
                raise UserError(f"template.yaml: {', '.join(sorted(others))} stand among the resources of {part.context}: move them")
            found += section
    return found


def _is_only_of(name: str, named: list[str], resources: Mapping[str, Mapping[str, Any]]) -> bool:
    referrers = {other for other, one in resources.items() if name in referred(one) and other != name}
    return bool(referrers) and referrers <= set(named) and resources[name]["Type"] == "AWS::DynamoDB::Table"


def _sections(text: str) -> Iterator[list[str]]:
    for section in SECTION.split(text)[1:]:
        yield re.findall(r"^  (\w+):", section, re.MULTILINE)


def without(text: str, dropped: set[str], resources: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the template without resources and references to them, such as grants, variables and names in lists.

    The sources of events stay: events that a context appended earlier can be published again.

    Raises:
        UserError: a remaining resource needs them.
    """
    before, unused = None, _unused_actions(resources, dropped)
    while before != text:
        before = text
        text = Cut(text, dropped, unused).text()
    # Lines that surrounded a section.
    return re.sub(r"\n{3,}", "\n\n", text)


def _unused_actions(resources: Mapping[str, Mapping[str, Any]], dropped: set[str]) -> set[str]:
    """Return the actions that only removed resources may perform: the permissions boundary need not allow them."""
    used = set[str]().union(*(_actions(one) for name, one in resources.items() if name not in {*dropped, "PermissionsBoundary"}))
    return set[str]().union(*(_actions(resources[name]) for name in dropped & set(resources))) - used


def _actions(resource: Mapping[str, Any]) -> set[str]:
    return set(re.findall(r"'([a-z0-9-]+:[A-Z]\w+)'", str(resource)))


class Cut:
    """One pass over the template."""

    def __init__(self, text: str, dropped: set[str], unused: set[str]) -> None:
        """Cut the resources `dropped` and the actions that are `unused` without them."""
        self._source, self._removed, self._unused = Source(text), dropped, unused
        self._cuts: list[Change] = []
        self._is_boundary = False

    def text(self) -> str:
        """Return the template without them."""
        root = cast("Any", yaml.compose(self._source.text))  # pyright: ignore[reportUnknownMemberType]
        for section, entries in root.value:
            for key, value in entries.value if isinstance(entries, yaml.MappingNode) else ():
                self._is_boundary = key.value == "PermissionsBoundary"
                if section.value == "Resources" and key.value in self._removed:
                    self._cuts.append((self._lines(key, value), ""))
                elif self._doomed(value, section.value):
                    if section.value == "Resources":
                        raise UserError(f"template.yaml: {key.value} needs a removed resource; edit it first")
                    self._cut(entries, [(key, value)])
        return self._without_empty_sections(applied(self._source.text, self._cuts))

    def _without_empty_sections(self, text: str) -> str:
        return re.sub(r"  # == [^\n]* ==\n\n*(?=  # == |Outputs:)", "", text)

    def _doomed(self, node: Any, key: str) -> bool:
        """Cut within a node, and return whether it needs a removed resource."""
        match node:
            case yaml.SequenceNode():
                doomed = [one for one in node.value if self._doomed(one, key)]
                if doomed and len(doomed) < len(node.value):
                    self._cut(node, doomed)
                return bool(doomed) and len(doomed) == len(node.value)
            case yaml.MappingNode():
                doomed = [(name, value) for name, value in node.value if self._doomed(value, name.value)]
                if doomed and len(doomed) < len(node.value) and key in ENTRIES:
                    self._cut(node, doomed)
                    return False
                return bool(doomed)
            case _:
                return self._scalar(node, key)

    def _scalar(self, node: Any, key: str) -> bool:
        value = str(node.value)
        if self._is_boundary and value in self._unused and key == "Action":
            return True
        names = set[str]()
        if node.tag in {"!Ref", "!GetAtt"}:
            names = {value.partition(".")[0]}
        elif node.tag == "!Condition" or key == "DependsOn":
            names = {value}
        elif "${" in value:
            names = {name.partition(".")[0] for name in re.findall(r"\$\{(\w+[^}]*)\}", value)}
            if names & self._removed and names - self._removed - {"AWS"}:
                return self._text_without(node)
        return bool(names & self._removed)

    def _text_without(self, node: Any) -> bool:
        """Cut the entries of a JSON text that name something removed; return whether it is another text."""
        span = self._span(node)
        text = self._source.text[span.start : span.end]
        one = "|".join(re.escape(name) for name in sorted(self._removed))
        left = re.sub(rf',?\s*"[\w-]+": "\$\{{(?:{one})\}}"(?=\}}\s*$)', "", text)
        left = re.sub(rf'"[\w-]+": "\$\{{(?:{one})\}}",[ ]?', "", left)
        left = re.sub(r"\n\s*(?=\n)", "", left)
        if left == text:
            return True
        self._cuts.append((span, left))
        return False

    def _span(self, node: Any) -> Span:
        return Span(node.start_mark.index, node.end_mark.index)

    def _cut(self, container: Any, doomed: list[Any]) -> None:
        all_of = [self._place(one) for one in container.value]
        if container.flow_style:
            cut = [index for index, one in enumerate(container.value) if one in doomed]
            self._cuts += self._source.elements(all_of, cut)
            if len(all_of) - 1 in cut:
                # The closing bracket follows the last element that remains, without the space before the removed ones.
                last = max(place.end for index, place in enumerate(all_of) if index not in cut)
                self._cuts.append((Span(last, container.end_mark.index - 1), ""))
        else:
            self._cuts += [(self._lines(*(one if isinstance(one, tuple) else (one, one))), "") for one in doomed]

    def _place(self, one: Any) -> Span:
        first, last = cast("tuple[Any, Any]", one) if isinstance(one, tuple) else (one, one)
        return Span(first.start_mark.index, last.end_mark.index)

    def _lines(self, first: Any, last: Any) -> Span:
        """Return the lines of an entry in block style, with the comments before it."""
        start = self._source.line_start(first.start_mark.index)
        end = _last_mark(last)
        return Span(self._source.with_comments(start), self._source.next_line(end - 1))


def _last_mark(node: Any) -> int:
    """Return where the last value within a node ends; the mark of a block is after the comments that follow it."""
    if isinstance(node, yaml.ScalarNode) or not node.value or node.flow_style:
        return len(node.start_mark.buffer[: node.end_mark.index].rstrip()) if node.start_mark.buffer else node.end_mark.index
    last = node.value[-1]
    return _last_mark(last[1] if isinstance(last, tuple) else last)
