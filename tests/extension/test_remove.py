"""`make remove` in a scratch clone: the remaining repository passes its checks and tests without a reference to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devtools.cli import UserError
from devtools.remove import stack
from devtools.remove.command import removable, require_clean
from devtools.remove.names import PARTS
from devtools.target import ROOT
from tests.extension.checks import require_green, succeeded
from tests.support.clone import Clone


def require_removed(clone: Clone, contexts: str) -> None:
    """Remove contexts, and fail where one is left, or a check or test of the remaining repository fails."""
    removed = succeeded(clone.make("remove", f"CONTEXT={contexts}"))
    assert re.search(r"removed +\d+ resources, \d+ files", removed)
    template = (clone.folder / "template.yaml").read_text("utf-8")
    for part in map(PARTS.__getitem__, contexts.split(",")):
        assert not re.search(rf"Handler: {part.context}\.handlers\.({'|'.join(part.handlers) or r'\w+'})", template)
        assert not part.is_context or not (clone.folder / "functions" / part.context).exists()
    require_green(clone)


@pytest.mark.parametrize("contexts", [["loyalty", "analytics", "invoices", "reviews", "tracking"]])
def test_contexts_are_removed_together(tmp_path: Path, contexts: list[str]) -> None:
    require_removed(Clone(tmp_path), ",".join(contexts))


# Each takes minutes: `make test-remove` runs them.
@pytest.mark.alone
@pytest.mark.parametrize("context", ["loyalty", "analytics", "invoices", "reviews", "tracking"])
def test_context_is_removed_alone(tmp_path: Path, context: str) -> None:
    require_removed(Clone(tmp_path), context)


@pytest.mark.alone
def test_generated_context_is_removed_without_a_trace(tmp_path: Path) -> None:
    """The context of docs/extending.md, whose name the generator and its tests use as an example."""
    clone = Clone(tmp_path)
    succeeded(clone.make("new", "context", "NAME=gifts", "EVENTS=OrderConfirmed"))
    clone.commit()

    succeeded(clone.make("remove", "CONTEXT=gifts"))

    assert clone.changed(since="HEAD~1") == []


@pytest.mark.parametrize(
    ("context", "message"),
    [("loyality", "CONTEXT must be one of"), ("", "CONTEXT must be one of"), ("orders", "orders cannot be removed, every order needs it")],
)
def test_unknown_and_needed_contexts_are_refused_by_one_line(context: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        removable(ROOT, context)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "removed", ["{FIRST: 1, OTHER: !Ref Gone}", "{FIRST: 1,\n  OTHER: !Ref Gone}", "{FIRST: 1,\n  OTHER: !Ref Gone\n}"]
)
def test_bracket_closes_after_the_last_element_that_stays(removed: str) -> None:
    text = "Resources:\n  Kept: {{Variables: {}}}\n"
    assert stack.without(text.format(removed), {"Gone"}, {"Kept": {}}) == text.format("{FIRST: 1}")


def test_changed_work_tree_is_refused(tmp_path: Path) -> None:
    clone = Clone(tmp_path)
    (clone.folder / "README.md").write_text("changed", "utf-8")
    with pytest.raises(UserError, match=r"the work tree has changes \(README.md\)"):
        require_clean(clone.folder)


def test_page_names_every_removable_context() -> None:
    page = (ROOT / "docs" / "extending.md").read_text("utf-8")
    for name in PARTS:
        assert f"`{name}`" in page, f"docs/extending.md, section A removal: add `{name}` and what its removal means"
