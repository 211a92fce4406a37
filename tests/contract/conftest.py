"""The template, translated once for all contract tests."""

from typing import Any

import pytest

from devtools import template
from devtools.target import ROOT
from tests.contract import observed_calls
from tests.contract.stack import Stack, with_nested


@pytest.fixture(scope="session")
def translated() -> dict[str, Any]:
    """Return the translated template with its alarms and saved queries. Shared by all tests: never modify it."""
    return with_nested(template.translated(), template.source(ROOT / "observability.yaml"))


@pytest.fixture(scope="session")
def stack(translated: dict[str, Any]) -> Stack:
    """Return the translated template's resources."""
    return Stack(translated)


@pytest.fixture(scope="session")
def used() -> dict[str, set[tuple[str, str]]]:
    """Return the calls that every handler makes on all paths of an order."""
    return observed_calls.observe()
