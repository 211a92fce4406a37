"""Cut the references to a removed context from the Python files.

`Names` has the strings and modules of the removed context. An element of a list, a key of a dictionary, a case of a test or a statement
with one of them is cut; so is a definition that needs it, and then the references to that definition, until no reference remains.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from devtools.remove.module import Module, defined, is_function

if TYPE_CHECKING:
    from collections.abc import Iterable

    from devtools.remove.names import Names


@dataclass
class Code:
    """The Python files of the repository by module, and the names removed from them."""

    names: Names
    texts: dict[str, str]
    # Names that modules no longer define, attributes that no object has any more, fixtures of tests, and modules without content.
    dropped: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    attributes: set[str] = field(default_factory=set[str])
    fixtures: set[str] = field(default_factory=set[str])
    files: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        """Remember the texts as they were."""
        self._originals = dict(self.texts)

    def cut(self) -> None:
        """Cut until nothing is left that names something removed."""
        used, size = self._counted(), (-1,)
        while size != self._size():
            size = self._size()
            for name in sorted(self.texts.keys() - self.files):
                self._cut_module(name)
            self._forget_unused(used)

    def _size(self) -> tuple[int, ...]:
        names = sum(map(len, self.dropped.values()))
        return names, len(self.attributes), len(self.fixtures), len(self.files), sum(map(len, self.texts.values()))

    def _cut_module(self, name: str) -> None:
        text = self.texts[name]
        if any(words(part) <= words(text) for part in self._wanted()):
            module = Module(self, name, text)
            self.texts[name] = module.cut()
            if module.emptied:
                self.files.add(name)

    def _wanted(self) -> set[str]:
        modules = {name.rpartition(".")[2] for name in (*self.names.modules, *self.files)}
        return self.names.strings | self.names.routes | modules | self.attributes | self.fixtures | set[str]().union(*self.dropped.values())

    def is_removed(self, module: str) -> bool:
        """Return whether a module is removed."""
        return module in self.files or self.names.has_module(module)

    def is_set(self, attribute: str, *, but: str) -> bool:
        """Return whether another module sets an attribute of this name, or has a method of it."""
        pattern = re.compile(rf"^ +(?:async )?def {attribute}\(|(?:\.|^ +){attribute}(?:: .*|, [\w.]+)? = |^ +{attribute}: ", re.MULTILINE)
        return any(pattern.search(self.texts[name]) for name in self.texts.keys() - self.files - {but})

    def _counted(self) -> Counter[str]:
        return Counter(word for name in self.texts.keys() - self.files for word in re.findall(r"\w+", self.texts[name]))

    def _forget_unused(self, used: Counter[str]) -> None:
        """Mark the definitions as dropped that only removed code used."""
        lonely = {word for word, count in self._counted().items() if count == 1 and used[word] > 1}
        for name in self.texts.keys() - self.files:
            text = self.texts[name]
            own = lonely | {word for word in self._private_before(name) if len(re.findall(rf"\b{word}\b", text)) == 1}
            if own & words(text):
                self._forget_of(name, ast.parse(text), own)

    def _private_before(self, name: str) -> set[str]:
        """Return the private names that a module used before it was cut."""
        before = self._originals[name]
        found = Counter(re.findall(r"\b_[a-zA-Z]\w+", before)) if before != self.texts[name] else Counter[str]()
        return {word for word, count in found.items() if count > 1}

    def _forget_of(self, name: str, tree: ast.Module, lonely: set[str]) -> None:
        for node in tree.body:
            self.dropped[name] |= lonely & set(defined(node))
            if isinstance(node, ast.ClassDef):
                self.attributes |= {one.name for one in node.body if is_function(one)} & lonely


@cache
def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(re.findall(r"\w+", text))


def modules(root: Path, files: Iterable[str]) -> dict[str, Path]:
    """Return the Python files by module; functions/ is a root of modules as the repository is."""
    return {name.removeprefix("functions/").removesuffix(".py").removesuffix("/__init__").replace("/", "."): root / name for name in files}
