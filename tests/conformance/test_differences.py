"""The declared differences name existing tests, and the README of the in-memory AWS lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.differences import DIFFERENCES, table

HERE = Path(__file__).parent
README = HERE.parent / "fakes" / "aws" / "README.md"


def test_readme_lists_every_difference() -> None:
    assert table() in README.read_text("utf-8"), f"the table in {README.name} must be:\n{table()}"


def test_every_difference_names_existing_tests(request: pytest.FixtureRequest) -> None:
    items: list[Any] = [item for item in request.session.items if item.path.parent == HERE]
    if {item.path.name for item in items} != {path.name for path in HERE.glob("test_*.py")}:
        pytest.skip("only a part of the suite was collected")
    names = {item.name.replace("fake-", "").replace("[fake]", "").replace("-fake]", "]") for item in items}
    assert {test for one in DIFFERENCES for test in one.tests} <= names


def test_no_test_has_two_differences_on_a_target() -> None:
    pairs = [(test, one.target) for one in DIFFERENCES for test in one.tests]
    assert len(pairs) == len(set(pairs))
