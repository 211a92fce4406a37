"""Webhook signatures: accepted senders and ages, and the answers to refused requests."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devtools.target import ROOT
from orderflow.aws.http import Problem
from orderflow.aws.webhooks import (
    ID,
    MAX_BODY_BYTES,
    MAX_SIGNATURES,
    SIGNATURE,
    TIMESTAMP,
    TOLERANCE_SECONDS,
    Secret,
    signed_headers,
    verified_body,
)
from tests.fakes.aws.secretsmanager import FakeSecretsManager
from tests.support import webhooks

NOW = 1_768_554_000
BODY = b'{"type": "picked"}'
TWO = "c2VjcmV0LW9sZC1vbGQtb2xkLW9sZA==\nwhsec_c2VjcmV0LW5ldy1uZXctbmV3LW5ldw=="
OLD, NEW = TWO.split()


@pytest.fixture(autouse=True)
def frozen_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Freeze the clock, so that no second ends between signing and verifying."""
    now = float(int(time.time()))
    monkeypatch.setattr("time.time", lambda: now)


def request(body: bytes, headers: dict[str, str]) -> Any:
    encoded = base64.b64encode(body).decode()
    return {"headers": headers, "body": encoded, "isBase64Encoded": True, "requestContext": {"requestId": "r"}}


def url_request(body: bytes | None, method: str = "POST", **headers: str) -> Any:
    """Return a request in a function URL's format: plain text, lowercase header names, no `body` without content."""
    sent = {} if body is None else {"body": body.decode()}
    http = {"method": method, "path": "/", "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "carrier/1.0"}
    context = {"requestId": "r", "http": http}
    return {"version": "2.0", "rawPath": "/", "headers": headers, "requestContext": context, "isBase64Encoded": False, **sent}


def accepted(headers: dict[str, str], body: bytes = BODY, secret: str = "secret") -> bool:
    try:
        return verified_body(request(body, headers), lambda: secret) == body
    except Problem:
        return False


def refused(event: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        verified_body(event, lambda: "secret")
    return caught.value


def old(signature: str) -> dict[str, str]:
    return {SIGNATURE: signature}


def test_standard_signature_is_that_of_the_specification() -> None:
    # An example from the specification's reference implementations.
    headers = signed_headers("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', 1614265330)
    assert headers == {
        ID: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        TIMESTAMP: "1614265330",
        SIGNATURE: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_documented_code_prints_the_documented_signature() -> None:
    page = (ROOT / "docs" / "webhooks.md").read_text("utf-8")
    documented = dict(re.findall(r"^    (webhook-\w+): (\S+)$", page, re.MULTILINE))
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == documented[SIGNATURE]
    [secret, message_id, at, body] = re.findall(r"secret = \"(\S+)\"\ncontent = '(\w+)\.(\d+)\.(.*)'", code)[0]
    assert signed_headers(secret, message_id, body.encode(), int(at)) == documented


def test_old_signature_is_the_documented_one() -> None:
    # printf '1768554000.{"type": "picked"}' | openssl dgst -sha256 -hmac secret
    assert webhooks.old_signature("secret", BODY, NOW) == "t=1768554000,v1=fd9930a3dcba9b4038fad86902a9c00d162ecd9f9950ca46e8ed8de109df2d65"


@given(st.text(max_size=100), st.integers(-TOLERANCE_SECONDS + 60, TOLERANCE_SECONDS - 60))
def test_current_signature_with_the_secret_is_accepted(text: str, age: int) -> None:
    body = text.encode("utf-8", "replace")
    assert accepted(webhooks.headers(body, age=age), body)
    assert accepted(old(webhooks.old_signature("secret", body, int(time.time()) - age)), body)


@pytest.mark.parametrize("secret", ["c2VjcmV0LW9sZC1vbGQtb2xkLW9sZA==", "whsec_c2VjcmV0LW5ldy1uZXctbmV3LW5ldw=="])
def test_two_secrets_are_valid_while_one_replaces_the_other(secret: str) -> None:
    assert accepted(webhooks.headers(BODY, secret=secret), secret=TWO)
    assert accepted(old(webhooks.old_signature(secret, BODY, int(time.time()))), secret=TWO)
    assert not accepted(webhooks.headers(BODY, secret="c2VjcmV0LW90aGVyLW90aGVyLW90aGVy"), secret=TWO)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1)])
def test_every_signature_of_a_header_is_tried(order: tuple[int, ...]) -> None:
    headers = webhooks.headers(BODY)
    signatures = [webhooks.headers(BODY, secret="another-secret00")[SIGNATURE], "v1a,AAAA", headers[SIGNATURE], "v1,%%%"]
    assert accepted(headers | {SIGNATURE: " ".join(signatures[number] for number in order)})

    at = int(time.time())
    parts = [f"t={at}", "v0=abc", webhooks.old_signature("secret", BODY, at).partition(",")[2], f"v1={'0' * 64}"]
    assert accepted(old(",".join(parts[number] for number in order)))


def test_no_more_signatures_are_tried_than_the_limit() -> None:
    headers = webhooks.headers(BODY)
    wrong = webhooks.headers(BODY, secret="another-secret00")[SIGNATURE]
    assert accepted(headers | {SIGNATURE: " ".join([wrong] * (MAX_SIGNATURES - 1) + [headers[SIGNATURE]])})
    assert not accepted(headers | {SIGNATURE: " ".join([wrong] * MAX_SIGNATURES + [headers[SIGNATURE]])})


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=50), st.data())
def test_changed_body_is_refused(text: str, data: st.DataObject) -> None:
    body = text.encode()
    at = data.draw(st.integers(0, len(body) - 1))
    changed = body[:at] + bytes([body[at] ^ data.draw(st.integers(1, 255))]) + body[at + 1 :]
    assert not accepted(webhooks.headers(body), changed)
    assert not accepted(old(webhooks.old_signature("secret", body, int(time.time()))), changed)


@pytest.mark.parametrize("name", [ID, TIMESTAMP])
def test_changed_id_or_time_is_refused(name: str) -> None:
    headers = webhooks.headers(BODY)
    assert not accepted(headers | {name: str(int(time.time()) - 1)})


@pytest.mark.parametrize("age", [-TOLERANCE_SECONDS - 1, TOLERANCE_SECONDS + 1])
def test_message_outside_the_time_tolerance_is_refused(age: int) -> None:
    for headers in (webhooks.headers(BODY, age=age), old(webhooks.old_signature("secret", BODY, int(time.time()) - age))):
        assert "300 seconds" in str(refused(request(BODY, headers)))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {SIGNATURE: ""},
        *({SIGNATURE: one} for one in ("sha256=0", "t=,v1=", f"t=1,v1={'0' * 63}", f"t=-1,v1={'0' * 64}", f"v1={'0' * 64}", "t=1,v1=é")),
        {SIGNATURE: f"t=1,t=2,v1={'0' * 64}"},
        {ID: "msg_1"},
        {ID: "msg_1", TIMESTAMP: "1"},
        {ID: "msg_1", TIMESTAMP: "1", SIGNATURE: "v1,AAAA"},
        {ID: "msg_1", TIMESTAMP: "now", SIGNATURE: f"v1,{'A' * 43}="},
        {ID: "msg_1", TIMESTAMP: "²", SIGNATURE: f"v1,{'A' * 43}="},
    ],
)
def test_unsigned_message_reads_no_secret(headers: dict[str, str]) -> None:
    def unread() -> str:
        pytest.fail("the secret was read")

    with pytest.raises(Problem) as caught:
        verified_body(request(BODY, headers), unread)
    assert (caught.value.status, caught.value.document["title"]) == (401, "Signature invalid")
    assert caught.value.reason == caught.value.document["detail"]


@pytest.mark.parametrize("secret", ["abcde", "whsec_", "!!!", "schl\u00fcssel", ""])
def test_secret_that_is_no_base64_is_logged_and_skipped(secret: str, caplog: pytest.LogCaptureFixture) -> None:
    assert not accepted(webhooks.headers(BODY), secret=secret)
    assert not accepted(webhooks.headers(BODY, secret="AAAA"), secret=secret)
    assert accepted(webhooks.headers(BODY, secret=NEW), secret=f"{secret}\n{NEW}")
    assert any(record.getMessage() == "webhook_secret_unusable" for record in caplog.records) == bool(secret)


@pytest.mark.parametrize("secret", ["abcde", "of several words", "schl\u00fcssel"])
def test_secret_that_is_no_base64_is_valid_in_the_old_format(secret: str) -> None:
    headers = old(webhooks.old_signature(secret, BODY, int(time.time())))
    assert accepted(headers, secret=secret)
    assert accepted(headers, secret=f"{NEW}\r\n{secret}\n")


def test_header_names_are_case_insensitive() -> None:
    assert accepted({name.upper(): value for name, value in webhooks.headers(BODY).items()})


def test_old_format_signs_arbitrary_bytes() -> None:
    body = b'{"a": "\xff\xfe"}'
    assert accepted(old(webhooks.old_signature("secret", body, int(time.time()))), body)


class TestFunctionUrl:
    """A function URL passes on any method and path from any sender."""

    def test_signed_message_is_accepted(self) -> None:
        assert verified_body(url_request(BODY, **webhooks.headers(BODY)), lambda: "secret") == BODY

    def test_unsigned_and_outdated_messages_are_refused(self) -> None:
        assert refused(url_request(BODY)).status == 401
        assert refused(url_request(BODY, **webhooks.headers(BODY, age=TOLERANCE_SECONDS + 1))).status == 401

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post"])
    def test_other_methods_than_post_are_refused_first(self, method: str) -> None:
        problem = refused(url_request(BODY, method, **webhooks.headers(BODY)))
        assert (problem.status, problem.headers) == (405, {"allow": "POST"})

    def test_post_without_a_body_is_refused(self) -> None:
        assert refused(url_request(None)).status == 401


def test_too_large_body_is_answered_413_first() -> None:
    assert refused(request(b"x" * (MAX_BODY_BYTES + 1), {})).status == 413


def test_invalid_base64_is_answered_400() -> None:
    assert refused(request(BODY, {}) | {"body": "%"}).status == 400


def test_secret_is_cached_and_read_again_after_its_lifetime(monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = FakeSecretsManager()
    clock = [1000.0]
    monkeypatch.setattr("orderflow.aws.webhooks.time.monotonic", lambda: clock[0])
    secret = Secret("name", client, seconds=300)
    assert (secret(), secret()) == ("secret", "secret")
    assert client.calls == {"GetSecretValue": 1}

    client.text, clock[0] = "rotated", 1301.0
    assert secret() == "rotated"
