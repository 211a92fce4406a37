"""The template, translated once for all contract tests."""

from typing import Any

import pytest

from devtools import template
from devtools.target import ROOT
from tests.contract import test_permissions
from tests.contract.stack import Stack, with_nested


@pytest.fixture(scope="session")
def translated() -> dict[str, Any]:
    """Return the template that CloudFormation would be given, its alarms and saved queries included. Do not change it."""
    return with_nested(template.translated(), template.source(ROOT / "observability.yaml"))


@pytest.fixture(scope="session")
def stack(translated: dict[str, Any]) -> Stack:
    """Return the resources that CloudFormation would be given."""
    return Stack(translated)


@pytest.fixture(scope="session")
def used() -> dict[str, set[tuple[str, str]]]:
    """Return what every handler was seen to call in an order's life."""
    return test_permissions.observe()
