"""The sample events under `events/`, each with its expected answer beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

EVENTS = Path(__file__).resolve().parents[2] / "events"


def sample(path: str) -> Any:
    """Return a sample event, such as `orders/place_order/accepted`."""
    return msgspec.json.decode(_contents(path))


@cache
def _contents(path: str) -> bytes:
    return (EVENTS / f"{path}.json").read_bytes()


def expected(path: str) -> Any:
    """Return the expected answer of a sample event; the real one may have more fields."""
    return json.loads((EVENTS / f"{path}.answer.json").read_text("utf-8"))


def order_batch(*order_ids: str) -> Any:
    """Return an SQS batch with an event of each of these orders; the message ids are message-1 and so on."""
    ids = [{"order_id": order_id, "correlation_id": "correlation-1", "event_id": f"{order_id}:1"} for order_id in order_ids]
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "body": json.dumps({"detail-type": "Anything", "detail": detail}),
                "attributes": {"ApproximateReceiveCount": "1"},
                "eventSource": "aws:sqs",
            }
            for number, detail in enumerate(ids, 1)
        ]
    }


def names(folder: str) -> list[str]:
    """Return the sample events of a function, such as `orders/place_order`."""
    found = sorted(path.stem for path in (EVENTS / folder).glob("*.json") if not path.stem.endswith(".answer"))
    assert found, f"no sample events in {folder}"
    return [f"{folder}/{name}" for name in found]


def agrees(actual: Any, wanted: Any) -> bool:
    """Return whether an answer has all the wanted values."""
    if isinstance(wanted, Mapping):
        return isinstance(actual, Mapping) and all(name in actual and agrees(actual[name], value) for name, value in wanted.items())
    return actual == wanted


def assert_answer(handler: Any, name: str, context: Any) -> None:
    """Run a handler on a sample, and assert its expected answer or error."""
    wanted = expected(name)
    if "errorType" in wanted:
        with pytest.raises(Exception) as raised:  # noqa: PT011 - the answer names the type
            handler(sample(name), context)
        assert type(raised.value).__name__ == wanted["errorType"]
    else:
        assert agrees(handler(sample(name), context), wanted)
