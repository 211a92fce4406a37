"""Signatures of messages: who may send, when, and what a sender is told who may not."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.http import Problem
from orderflow.webhooks import HEADER, MAX_BODY_BYTES, TOLERANCE_SECONDS, BadSignature, Secret, sign, signed_body, verify
from tests.support.services import FakeSecrets

NOW = 1_768_554_000
BODY = b'{"type": "picked"}'


def request(body: bytes, signature: str | None, *, name: str = HEADER) -> Any:
    headers = {name: signature} if signature else {}
    return {"headers": headers, "body": base64.b64encode(body).decode(), "isBase64Encoded": True, "requestContext": {"requestId": "r"}}


def by_url(body: bytes | None, method: str = "POST", **headers: str) -> Any:
    """Return a request as a function URL hands it on: a text as it is, names of headers in lower case, no body where none was sent."""
    sent = {} if body is None else {"body": body.decode()}
    http = {"method": method, "path": "/", "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "carrier/1.0"}
    context = {"requestId": "r", "http": http}
    return {"version": "2.0", "rawPath": "/", "headers": headers, "requestContext": context, "isBase64Encoded": False, **sent}


def refused(event: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        signed_body(event, lambda: "secret")
    return caught.value


def test_the_signature_is_the_documented_one() -> None:
    # printf '1768554000.{"type": "picked"}' | openssl dgst -sha256 -hmac secret
    assert sign("secret", BODY, NOW) == "t=1768554000,v1=fd9930a3dcba9b4038fad86902a9c00d162ecd9f9950ca46e8ed8de109df2d65"


@given(st.binary(max_size=200), st.text(min_size=1, max_size=20), st.integers(-TOLERANCE_SECONDS, TOLERANCE_SECONDS))
def test_what_the_holder_of_the_secret_signed_just_now_is_accepted(body: bytes, secret: str, age: int) -> None:
    verify(secret, body, sign(secret, body, NOW), NOW + age)


@given(st.binary(min_size=1, max_size=50), st.data())
def test_a_changed_body_is_not(body: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(body) - 1))
    changed = body[:at] + bytes([body[at] ^ data.draw(st.integers(1, 255))]) + body[at + 1 :]
    with pytest.raises(BadSignature, match="not of this body"):
        verify("secret", changed, sign("secret", body, NOW), NOW)


def test_another_secret_or_time_is_not() -> None:
    with pytest.raises(BadSignature, match="not of this body"):
        verify("other", BODY, sign("secret", BODY, NOW), NOW)
    moved = sign("secret", BODY, NOW).replace(str(NOW), str(NOW + 1))
    with pytest.raises(BadSignature, match="not of this body"):
        verify("secret", BODY, moved, NOW)


@pytest.mark.parametrize("age", [-TOLERANCE_SECONDS - 1, TOLERANCE_SECONDS + 1])
def test_an_old_message_and_one_of_the_future_are_not(age: int) -> None:
    with pytest.raises(BadSignature, match="300 seconds"):
        verify("secret", BODY, sign("secret", BODY, NOW), NOW + age)


@pytest.mark.parametrize("signature", ["sha256=0", "t=,v1=", f"t=1,v1={'0' * 63}", f"t=-1,v1={'0' * 64}", f"v1={'0' * 64}", "t=1,v1=é"])
def test_a_malformed_header_is_told_its_form(signature: str) -> None:
    with pytest.raises(BadSignature, match="has to be t="):
        verify("secret", BODY, signature, NOW)


@pytest.mark.parametrize("signature", [None, ""])
def test_a_missing_header_is_told_its_name(signature: str | None) -> None:
    with pytest.raises(BadSignature, match="is missing"):
        verify("secret", BODY, signature, NOW)


def test_the_bytes_are_those_that_were_sent() -> None:
    body = b'{"a": "\xff\xfe"}'
    assert signed_body(request(body, sign("secret", body, int(time.time()))), lambda: "secret") == body


def test_the_header_may_be_in_any_case() -> None:
    assert signed_body(request(BODY, sign("secret", BODY, int(time.time())), name=HEADER.lower()), lambda: "secret") == BODY


@pytest.mark.parametrize("signature", [None, "", "sha256=0", "t=1"])
def test_an_unsigned_message_is_not_worth_reading_the_secret(signature: str | None) -> None:
    def unread() -> str:
        pytest.fail("the secret was read")

    with pytest.raises(Problem) as caught:
        signed_body(request(BODY, signature), unread)
    assert caught.value.reason == caught.value.document["detail"]


def test_what_is_not_signed_is_answered_401() -> None:
    problem = refused(request(BODY, None))
    assert (problem.status, problem.document["title"]) == (401, "Signature invalid")


class TestUrl:
    """A function URL takes any method and path, from anybody."""

    def test_a_signed_message_is_accepted(self) -> None:
        signature = {HEADER.lower(): sign("secret", BODY, int(time.time()))}
        assert signed_body(by_url(BODY, **signature), lambda: "secret") == BODY

    def test_an_unsigned_one_and_one_of_another_time_are_not(self) -> None:
        assert refused(by_url(BODY)).status == 401
        old = {HEADER.lower(): sign("secret", BODY, int(time.time()) - TOLERANCE_SECONDS - 1)}
        assert refused(by_url(BODY, **old)).status == 401

    def test_two_signatures_in_one_header_are_none(self) -> None:
        signature = sign("secret", BODY, int(time.time()))
        assert refused(by_url(BODY, **{HEADER.lower(): f"{signature},{signature}"})).status == 401

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post"])
    def test_anything_but_a_post_is_refused_before_anything_else(self, method: str) -> None:
        signature = {HEADER.lower(): sign("secret", BODY, int(time.time()))}
        problem = refused(by_url(BODY, method, **signature))
        assert (problem.status, problem.headers) == (405, {"allow": "POST"})

    def test_a_post_of_nothing_is_not_signed(self) -> None:
        assert refused(by_url(None)).status == 401


def test_what_is_too_large_is_answered_413_before_anything_is_computed() -> None:
    assert refused(request(b"x" * (MAX_BODY_BYTES + 1), None)).status == 413


def test_what_is_no_base64_is_answered_400() -> None:
    assert refused(request(BODY, None) | {"body": "%"}).status == 400


def test_a_secret_is_read_once_and_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = FakeSecrets()
    clock = [1000.0]
    monkeypatch.setattr("orderflow.webhooks.time.monotonic", lambda: clock[0])
    secret = Secret("name", client, seconds=300)
    assert (secret(), secret()) == ("secret", "secret")
    assert client.calls == {"GetSecretValue": 1}

    client.text, clock[0] = "rotated", 1301.0
    assert secret() == "rotated"
