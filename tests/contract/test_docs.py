"""The documents: what they tell a reader to type exists, and their links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from devtools.target import ROOT

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
# What the tools read from the environment, into which make puts the variables of its command line.
TOOLS = [path.read_text("utf-8") for folder in ("devtools", "tests/load") for path in sorted((ROOT / folder).rglob("*.py"))]
READ = r"""(?:option|whole_number|settings\.get|moment)\(["']([A-Z]+)["']"""
VARIABLES = {name for text in TOOLS for name in re.findall(READ, text)} | set(re.findall(r"^([A-Z]+) \?=", MAKEFILE, re.MULTILINE))


def commands(text: str) -> list[str]:
    """Return the commands of a document: indented or fenced lines, and what stands in backquotes."""
    blocks = re.findall(r"^```(?:sh|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    parts = [part.strip() for line in [*lines, *re.findall(r"`([^`\n]+)`", text)] for part in line.split("&&")]
    return [part for part in parts if re.match(r"(make|sam) ", part)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_command_is_one_of_the_makefile(path: Path) -> None:
    for command in commands(path.read_text("utf-8")):
        if command.startswith("make "):
            words = shlex.split(command)[1:]
            targets = [word for word in words if "=" not in word]
            given = [word.partition("=")[0] for word in words if "=" in word]
            assert set(targets) <= TARGETS, command
            assert set(given) <= VARIABLES, command


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_sam_command_is_used_by_the_makefile_or_names_what_exists(path: Path) -> None:
    for command in commands(path.read_text("utf-8")):
        if command.startswith("sam "):
            assert command.split()[1] in {"build", "deploy", "local"}, command
            for event in re.findall(r"\bevents/\S+", command):
                assert (ROOT / event).is_file(), command


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text("utf-8")):
        if not link.startswith(("http://", "https://", "urn:")):
            assert (path.parent / link).exists(), link


def test_the_readme_tells_what_a_newcomer_types_first() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert {"make run", "make test", "make invoke"} <= set(commands(text))


def test_every_decision_has_a_number_of_its_own_and_says_it() -> None:
    found = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(path.name[:4]) for path in found]
    assert sorted(set(numbers)) == numbers
    for path in found:
        assert path.read_text("utf-8").startswith(f"# {int(path.name[:4])}. "), path.name
