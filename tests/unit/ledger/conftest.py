"""Fixtures of the ledger."""

from __future__ import annotations

import pytest

from tests.conftest import Aws
from tests.fakes.aws.dynamodb import FakeDynamoDB


@pytest.fixture
def database(aws: Aws) -> FakeDynamoDB:
    return aws.dynamodb
