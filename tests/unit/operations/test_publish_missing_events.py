"""Events of sampled orders that the bus lacks are logged and published; published events are not published again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from operations import missing_events
from operations.handlers import publish_missing_events
from operations.missing_events import MissingEventsNotPublished
from orderflow.aws import event_bus, order_log_items
from orderflow.aws.clients import client
from orderflow.aws.order_log import OrderLog
from orders.handlers import publish
from tests.conftest import Aws
from tests.fakes.aws.dynamodb import throttled
from tests.support import measured
from tests.support.prepared import advance, place
from tests.support.samples import expected, names, sample

LOG = OrderLog("OrderLog", client("dynamodb"))

type Run = Callable[[], dict[str, Any]]
type Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def run(aws: Aws, context: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a run with every order sampled and every event overdue at once."""
    monkeypatch.setattr(order_log_items, "SAMPLE", 1)
    monkeypatch.setattr(publish_missing_events, "OVERDUE_AFTER", timedelta(0))
    return lambda: publish_missing_events.handler({}, context)


def publish_versions(aws: Aws, context: Any, *versions: int) -> None:
    """Have the publisher process these versions from the stream."""
    records = [record for record in aws.dynamodb.changes["OrderLog"] if record["eventName"] == "INSERT"]
    publish.handler({"Records": [r for r in records if int(r["dynamodb"]["Keys"]["version"]["N"]) in versions]}, context)


def published(aws: Aws) -> list[str]:
    return [detail["event_id"] for detail in aws.kinesis.details]


def rewrite(aws: Aws, order_id: str, document: str) -> None:
    aws.dynamodb.client.update_item(
        TableName="OrderLog",
        Key={"order_id": {"S": order_id}, "version": {"N": "1"}},
        UpdateExpression="SET #event = :document",
        ExpressionAttributeNames={"#event": "event"},
        ExpressionAttributeValues={":document": {"S": document}},
    )


@pytest.mark.parametrize("name", names("operations/publish_missing_events"))
def test_samples_have_their_documented_answers(name: str, aws: Aws, context: Any) -> None:
    assert publish_missing_events.handler(sample(name), context).items() >= expected(name).items()


def test_published_events_are_not_published_again(run: Run, aws: Aws, context: Any) -> None:
    place(LOG, "ord_1")
    advance(LOG, "ord_1", "inventory.handlers.reserve_stock")
    publish_versions(aws, context, 1, 2)
    before = published(aws)

    assert run() == {"outcome": "reconciled", "overdue": 0, "published": 0}
    assert published(aws) == before == ["ord_1:1", "ord_1:2"]


def test_missing_event_is_published_once_and_logged(run: Run, aws: Aws, context: Any, logged: Lines, capsys: Any) -> None:
    place(LOG, "ord_1")
    advance(LOG, "ord_1", "inventory.handlers.reserve_stock", "fraud.handlers.screen_order")
    publish_versions(aws, context, 1, 3)

    assert run() == {"outcome": "reconciled", "overdue": 1, "published": 1}
    assert published(aws)[2:] == ["ord_1:2"]
    [line] = [line for line in logged() if line["level"] == "ERROR"]
    assert (line["order_id"], line["version"]) == ("ord_1", 2)
    assert measured.values(capsys.readouterr().out)["OverdueEvents"] == [1]

    assert run()["overdue"] == 0


def test_recent_event_is_not_overdue(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_missing_events, "OVERDUE_AFTER", timedelta(minutes=10))
    place(LOG, "ord_1")

    assert run()["overdue"] == 0


def test_unsampled_orders_cost_no_index_entry_and_no_call(run: Run, aws: Aws, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_log_items, "SAMPLE", 64)
    orders = [f"ord_{number}" for number in range(300)]
    for order_id in orders:
        place(LOG, order_id)
    sampled = [item for item in aws.dynamodb.items("OrderLog") if "outbox" in item]
    aws.dynamodb.calls.clear()

    publish_versions(aws, context, 1)

    assert 0 < len(sampled) < 20
    assert aws.dynamodb.calls == {"UpdateItem": len(sampled)}
    assert len(published(aws)) == len(orders)


def test_failed_index_update_does_not_block_the_stream(run: Run, aws: Aws, context: Any) -> None:
    place(LOG, "ord_1")
    aws.dynamodb.before = lambda operation, _: throw() if operation == "UpdateItem" else None

    publish_versions(aws, context, 1)
    aws.dynamodb.before = None

    assert (run()["published"], published(aws)) == (1, ["ord_1:1", "ord_1:1"])


def throw() -> None:
    raise throttled("UpdateItem")


def test_unpublishable_event_stays_overdue_and_others_are_published(run: Run, aws: Aws, logged: Lines) -> None:
    place(LOG, "ord_1")
    place(LOG, "ord_2")
    rewrite(aws, "ord_1", "{")

    assert run() == {"outcome": "reconciled", "overdue": 2, "published": 1}
    assert run() == {"outcome": "reconciled", "overdue": 1, "published": 0}
    assert published(aws) == ["ord_2:1"]
    assert {line["order_id"] for line in logged() if line["message"] == "event_cannot_be_published"} == {"ord_1"}


def test_event_refused_by_the_bus_fails_the_run_and_is_retried(run: Run, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bus.time, "sleep", lambda _: None)
    place(LOG, "ord_1")
    place(LOG, "ord_2")
    aws.events.refuse = {*range(event_bus.ATTEMPTS)}

    with pytest.raises(MissingEventsNotPublished, match="1 of 2"):
        run()

    assert run()["published"] == 1
    assert sorted(published(aws)) == ["ord_1:1", "ord_2:1"]


def test_bounded_run_publishes_the_oldest_events_first(run: Run, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing_events, "MAX_EVENTS", 2)
    for number in range(3):
        place(LOG, f"ord_{number}")

    assert [run()["overdue"] for _ in range(3)] == [2, 1, 0]
    assert published(aws) == ["ord_0:1", "ord_1:1", "ord_2:1"]
