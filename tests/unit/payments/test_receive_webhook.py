"""The payment webhook: only currently signed messages reach the queue, unchanged."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from orderflow.aws.webhooks import Secret
from payments.domain import webhook_events
from payments.handlers import receive_webhook
from tests.conftest import ENVIRONMENT, ROOT
from tests.support import webhooks

SAMPLES = sorted(path for path in (ROOT / "events/payments/receive_webhook").glob("*.json") if not path.stem.endswith(".answer"))
REPORTED = {"message_id": "evt_1", "type": "authorization.expired", "payment": "ord_1:authorize"}
type Post = Callable[..., Any]


@pytest.fixture
def post(aws: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> Post:
    monkeypatch.setattr(receive_webhook, "SECRET", Secret("name", aws.secretsmanager))

    def call(body: bytes, at: float | None = None) -> Any:
        age = time.time() - at if at else 0
        event: Any = {"headers": webhooks.headers(body, age=age), "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        return receive_webhook.handler(event | {"requestContext": {"requestId": "r"}}, context)

    return call


def queued(aws: Any) -> list[Any]:
    return aws.sqs.sent.get(ENVIRONMENT["PAYMENTS_NOTICE_QUEUE_URL"], [])


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_sample_has_its_answer(path: Any, post: Post, aws: Any, context: Any) -> None:
    answer, wanted = (
        receive_webhook.handler(json.loads(path.read_text()), context),
        json.loads(path.with_suffix(".answer.json").read_text()),
    )

    assert (answer["statusCode"], json.loads(answer["body"])) == (wanted["statusCode"], wanted["body"])
    assert queued(aws) == []


def test_signed_message_is_stored_unchanged(post: Post, aws: Any) -> None:
    body = json.dumps(REPORTED, indent=1).encode()

    answer = post(body)

    assert (answer["statusCode"], json.loads(answer["body"])) == (202, {"message_id": "evt_1"})
    assert len(queued(aws)) == 1


def test_characters_refused_by_queues_are_replaced(post: Post, aws: Any) -> None:
    assert post(json.dumps(REPORTED | {"note": "a\x00b\uffff"}).encode())["statusCode"] == 202
    assert [stored["note"] for stored in queued(aws)] == ["a\ufffdb\ufffd"]


@pytest.mark.parametrize("seconds", [-400, 400])
def test_signature_of_another_time_is_refused(seconds: int, post: Post, aws: Any) -> None:
    assert post(json.dumps(REPORTED).encode(), time.time() + seconds)["statusCode"] == 401
    assert queued(aws) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"\xff", 400), (b"[" * 20_000, 400), (b"{}", 422), (json.dumps(REPORTED | {"type": "gift"}).encode(), 422)],
)
def test_unprocessable_webhook_is_answered_at_once(body: bytes, status: int, post: Post, aws: Any) -> None:
    assert post(body)["statusCode"] == status
    assert queued(aws) == []


def test_documented_messages_are_valid_and_complete() -> None:
    text = (ROOT / "docs" / "webhooks.md").read_text("utf-8").partition("## Payment webhook events")[2]
    displayed = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]

    assert [one["type"] for one in displayed] == re.findall(r"^\| `([a-z.]+)` \|", text, re.MULTILINE)
    assert [webhook_events.webhook_event_decoder.decode(json.dumps(one)).message_id for one in displayed] == [
        one["message_id"] for one in displayed
    ]
