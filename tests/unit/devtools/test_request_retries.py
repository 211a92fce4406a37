"""Retries of the tools' requests, for a limited time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from devtools import web
from devtools.cli import UserError
from devtools.local.carrier import Carrier
from devtools.local.post_fulfilment import Script, ScriptedOrder, ScriptRun
from devtools.target import Target
from devtools.web import Answer, with_retries
from orderflow.aws.webhooks import ID, TIMESTAMP

OK, BUSY, REFUSED = Answer(200, b""), Answer(503, b""), Answer(422, b"")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(web.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(web.time, "sleep", sleep)
    return now


def answering(*given: Answer | OSError) -> tuple[Callable[[], Answer], list[int]]:
    """Return a call that gives these answers and repeats the last one, and the counter of its calls."""
    left: Iterator[Answer | OSError] = iter(given)
    count = [0]

    def call_target() -> Answer:
        count[0] += 1
        answer = next(left, given[-1])
        if isinstance(answer, OSError):
            raise answer
        return answer

    return call_target, count


@pytest.mark.parametrize("first", [BUSY, TimeoutError(), ConnectionRefusedError()])
def test_request_without_answer_is_repeated(first: Answer | OSError) -> None:
    call_target, count = answering(first, first, OK)
    assert with_retries(call_target, 60) is OK
    assert count == [3]


def test_request_to_a_stopped_target_ends_within_seconds(clock: list[float]) -> None:
    """A refused connection means that no process listens (connect(2), ECONNREFUSED), so a long wait is useless."""
    call_target, _ = answering(ConnectionRefusedError())
    with pytest.raises(ConnectionRefusedError):
        with_retries(call_target, 600)
    assert clock[0] <= 1010


def test_rejection_is_not_repeated() -> None:
    call_target, count = answering(REFUSED)
    assert with_retries(call_target, 60) is REFUSED
    assert count == [1]


def test_request_without_retry_time_is_sent_once() -> None:
    call_target, count = answering(BUSY)
    assert with_retries(call_target, 0) is BUSY
    assert count == [1]


def test_requests_are_repeated_for_a_limited_time(clock: list[float]) -> None:
    call_target, _ = answering(TimeoutError())
    with pytest.raises(TimeoutError):
        with_retries(call_target, 60)
    assert 1060 <= clock[0] <= 1061


def test_carrier_signs_every_attempt_to_the_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target("embedded", "http://127.0.0.1:4566", managed=False)
    target.__dict__["resources"] = {"CarrierWebhookUrl": "https://abc.lambda-url.us-east-1.on.aws/"}
    carrier = Carrier(target, patience=60)
    carrier.__dict__["secret"] = "secret"
    monkeypatch.setattr("devtools.local.carrier.time.time", web.time.monotonic)
    sent: list[tuple[str, dict[str, str]]] = []

    def call(_: str, url: str, *, headers: dict[str, str], **__: Any) -> Answer:
        sent.append((url, headers))
        return OK if len(sent) == 3 else BUSY

    monkeypatch.setattr(web, "call", call)
    carrier.post(b"{}")

    assert {url for url, _ in sent} == {"http://127.0.0.1:4566/"}
    assert {headers.get("Host") for _, headers in sent} == {"abc.lambda-url.us-east-1.on.aws"}
    assert [headers[TIMESTAMP] for _, headers in sent] == [str(int(1000 + number * web.PAUSE_SECONDS)) for number in range(3)]
    assert len({headers[ID] for _, headers in sent}) == 1


@pytest.mark.parametrize(
    ("error", "result"), [(UserError("held after 600 s, not confirmed"), "held after 600 s, not confirmed"), (OSError(), "OSError")]
)
def test_failed_script_has_its_error_as_result(error: Exception, result: str) -> None:
    def run(_: ScriptedOrder) -> str:
        raise error

    order: Any = None
    failed = ScriptRun(Script("held", "una", run, "confirmed"), order)
    failed.execute()
    assert (failed.actual, failed.ended) == (result, True)
    assert failed.actual != failed.expected
