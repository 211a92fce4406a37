"""Fixtures of the shared package: an order log on the in-memory DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orderflow.aws import dynamodb
from orderflow.aws.order_log import OrderLog
from tests.fakes.aws.dynamodb import FakeDynamoDB

if TYPE_CHECKING:
    from tests.fakes.aws.environment import Aws


@pytest.fixture
def database(aws: Aws) -> FakeDynamoDB:
    return aws.dynamodb


@pytest.fixture
def orderlog(database: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch) -> OrderLog:
    monkeypatch.setattr(dynamodb.time, "sleep", lambda _: None)
    return OrderLog("OrderLog", database.client)
