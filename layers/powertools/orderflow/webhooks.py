"""What others tell us over HTTP: signed, so that nobody else can, and dated, so that nobody can repeat it much later.

A sender puts `Webhook-Signature: t=<unix seconds>,v1=<hex>` beside a body. The hex is HMAC-SHA256, under the
secret that both sides hold, over the time's digits, a dot and the body's bytes as they were sent.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from typing import TYPE_CHECKING

from orderflow.http import ApiEvent, Problem, body_of, header, only_post

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_secretsmanager import SecretsManagerClient

HEADER = "Webhook-Signature"
TOLERANCE_SECONDS = 300
MAX_BODY_BYTES = 65_536
# How long a secret is kept in memory: after that, a rotated one is known everywhere.
SECRET_SECONDS = 300

_SIGNATURE = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})")


class BadSignature(ValueError):
    """A message is not signed as it has to be. The text says what is wrong with it, and nothing of the secret."""


class Secret:
    """A secret of Secrets Manager, read when it is first asked for and again after a while."""

    def __init__(self, name: str, client: SecretsManagerClient, *, seconds: float = SECRET_SECONDS) -> None:
        """Hold the secret of this name or ARN for `seconds`."""
        self._name = name
        self._client = client
        self._seconds = seconds
        self._value = ""
        self._read_at = float("-inf")

    def __call__(self) -> str:
        """Return the secret's text."""
        now = time.monotonic()
        if now - self._read_at > self._seconds:
            self._value = self._client.get_secret_value(SecretId=self._name)["SecretString"]
            self._read_at = now
        return self._value


def sign(secret: str, body: bytes, at: int) -> str:
    """Return the value of the signature's header for a body that is sent at `at` (Unix seconds)."""
    return f"t={at},v1={_digest(secret, body, str(at))}"


def verify(secret: str, body: bytes, signature: str | None, now: float) -> None:
    """Accept a body with the value of its signature's header, as it is at `now` (Unix seconds).

    Raises:
        BadSignature: the header is missing or malformed, its time is too far from now, or it is not of this body.
    """
    at, digest = _parts(signature)
    if not hmac.compare_digest(digest, _digest(secret, body, at)):
        message = "the signature is not of this body and time under our secret"
        raise BadSignature(message)
    if abs(now - int(at)) > TOLERANCE_SECONDS:
        message = f"the signature's time is more than {TOLERANCE_SECONDS} seconds from ours; sign each attempt anew"
        raise BadSignature(message)


def signed_body(event: ApiEvent, secret: Callable[[], str]) -> bytes:
    """Return the body of a request as it was sent, after making sure that the holder of the secret sent it just now.

    Raises:
        Problem: 405, 413 and 400 as `sent_body`, 401 without a good signature.
    """
    body = sent_body(event)
    signature = header(event, HEADER)
    try:
        # Before the secret is fetched, which an unsigned message is not worth.
        _parts(signature)
        verify(secret(), body, signature, time.time())
    except BadSignature as bad:
        raise unsigned(str(bad), str(bad)) from None
    return body


def unsigned(detail: str, reason: str) -> Problem:
    """Return the refusal of a message that its sender did not sign: what the sender is told, and the reason for the log."""
    problem = Problem(401, "signature-invalid", "Signature invalid", detail)
    problem.reason = reason
    return problem


def sent_body(event: ApiEvent) -> bytes:
    """Return the body of a request as it was sent, whoever sent it.

    Raises:
        Problem: 405 for anything but a POST, 413 over 64 KB, 400 for a body that was not handed on to us as it should.
    """
    only_post(event)
    body = body_of(event)
    if len(body) > MAX_BODY_BYTES:
        raise Problem(413, "body-too-large", "Body too large", f"a message may have {MAX_BODY_BYTES} bytes at most")
    return body


def _parts(signature: str | None) -> tuple[str, str]:
    """Return time and digest of the header's value. Raises BadSignature where it is missing or malformed."""
    if not signature:
        message = f"the header {HEADER} is missing"
        raise BadSignature(message)
    found = _SIGNATURE.fullmatch(signature.strip())
    if found is None:
        message = f"the header {HEADER} has to be t=<unix seconds>,v1=<64 hexadecimal digits>"
        raise BadSignature(message)
    return found[1], found[2]


def _digest(secret: str, body: bytes, at: str) -> str:
    return hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
