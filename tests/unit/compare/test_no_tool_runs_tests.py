"""Tools and functions do not run modules of tests; an import contract in pyproject.toml forbids imports of them."""

from __future__ import annotations

import re

from devtools.target import ROOT

TEST_MODULE = re.compile(r"""["' ]tests\.\w+""")


def test_tools_and_functions_name_no_module_of_tests() -> None:
    sources = [path for folder in ("devtools", "functions", "layers") for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 100
    assert [str(path) for path in sources if TEST_MODULE.search(path.read_text("utf-8"))] == []
