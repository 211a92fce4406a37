"""Fixtures of the tests that run functions in this process."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.fakes.aws import clients


@pytest.fixture(scope="module")
def quiet() -> Iterator[None]:
    """Disable logging, and reset the functions' clients after the tests of a module."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    clients.lend()
