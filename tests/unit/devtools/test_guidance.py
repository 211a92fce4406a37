"""Failures of the tests that guide a change say what to add to which file."""

import pytest

from tests.support.guidance import require_same


def test_message_names_what_to_add_and_remove_where_and_why() -> None:
    with pytest.raises(AssertionError) as failed:
        require_same({"A", "C"}, {"A", "B", "D"}, "RETAINED in test_template.py", "each table is kept or not")
    assert str(failed.value).startswith(
        "add B, D to RETAINED in test_template.py and remove C from RETAINED in test_template.py: each table"
    )


def test_equal_lists_pass() -> None:
    require_same(["A", "A"], {"A": 1}, "a file", "")
