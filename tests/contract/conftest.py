"""The template, translated once for all contract tests."""

import pytest

from devtools import template
from tests.contract.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Stack:
    """Return the resources that CloudFormation would be given."""
    return Stack(template.translated())
