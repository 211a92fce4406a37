"""Messages that wake a consumer: each is worked off on its own, under the ids of its event."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from orderflow.batch import each_order
from orderflow.observability import logger


def message(number: int, body: Any) -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    return {"messageId": f"message-{number}", "body": text, "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs"}


def delivered(order_id: str) -> dict[str, Any]:
    return {"detail-type": "OrderConfirmed", "detail": {"order_id": order_id, "correlation_id": "c", "event_id": f"{order_id}:5"}}


def test_an_order_is_named_and_what_is_no_event_comes_back_alone() -> None:
    seen: list[str] = []
    batch = {"Records": [message(1, delivered("ord_1")), message(2, "{"), message(3, {"detail": {}}), message(4, delivered("ord_2"))]}

    failed = each_order(batch, seen.append)

    assert seen == ["ord_1", "ord_2"]
    assert failed == {"batchItemFailures": [{"itemIdentifier": "message-2"}, {"itemIdentifier": "message-3"}]}


def test_its_ids_are_on_every_line(logged: Callable[[], list[dict[str, Any]]]) -> None:
    each_order({"Records": [message(1, delivered("ord_1"))]}, lambda _: logger.info("worked"))

    (line,) = logged()

    assert (line["order_id"], line["correlation_id"], line["event_id"]) == ("ord_1", "c", "ord_1:5")
