"""Rebuild of the order history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fraud.handlers import rebuild_history
from tests.conftest import Aws
from tests.support import samples
from tests.support.prepared import place, prepare

SCREENED = "ord_000000screenscreenedbefore"


@pytest.mark.parametrize("name", samples.names("fraud/rebuild_history"))
def test_samples_have_their_answers(name: str, aws: Aws, context: Any) -> None:
    prepare(rebuild_history.LOG, SCREENED)
    samples.assert_answer(rebuild_history.handler, name, context)


def test_history_has_the_item_that_the_screening_wrote(aws: Aws, context: Any) -> None:
    prepare(rebuild_history.LOG, SCREENED)
    order = rebuild_history.LOG.load(SCREENED)
    assert order.placed_at
    rebuild_history.HISTORY.add(order, order.placed_at)
    [written] = aws.dynamodb.items("Fraud")
    aws.dynamodb.client.delete_item(TableName="Fraud", Key={name: written[name] for name in ("customer_id", "placed")})
    rebuild_history.handler({"orders": [SCREENED]}, context)
    assert aws.dynamodb.items("Fraud") == [written]


def test_order_that_was_not_screened_has_no_item(aws: Aws, context: Any) -> None:
    place(rebuild_history.LOG, "ord_1")
    assert rebuild_history.handler({"orders": ["ord_1"]}, context)["rows"] == 0
    assert aws.dynamodb.items("Fraud") == []


def test_expired_item_is_not_written(aws: Aws) -> None:
    prepare(rebuild_history.LOG, SCREENED)
    order = rebuild_history.LOG.load(SCREENED)
    assert not rebuild_history.HISTORY.restore(order, datetime.now(UTC) + timedelta(days=195))
    assert aws.dynamodb.items("Fraud") == []
