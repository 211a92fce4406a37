"""Fixtures of the inventory: stock of two products, and retries without pauses."""

from __future__ import annotations

import pytest

from orderflow.aws import dynamodb
from tests.conftest import Aws
from tests.fakes.aws.dynamodb import FakeDynamoDB
from tests.support.stocked_orders import fill


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb.time, "sleep", lambda _: None)


@pytest.fixture
def database(aws: Aws) -> FakeDynamoDB:
    fill(aws.dynamodb)
    return aws.dynamodb
