"""Verifies webhooks: the signature authenticates the sender, the timestamp prevents replays.

The format is that of Standard Webhooks (https://www.standardwebhooks.com): the headers `webhook-id`, `webhook-timestamp` (Unix
seconds) and `webhook-signature`, one or more `v1,<base64>` separated by spaces. The signature is the HMAC-SHA256 of id, timestamp and
body, separated by dots, under the secret (Base64, with or without the prefix `whsec_`).

The previous format is accepted for one release: no `webhook-id`, and `Webhook-Signature: t=<unix seconds>,v1=<hex>`, where the hex is
HMAC-SHA256, under the secret's characters, over the time's digits, a dot and the body's bytes.

A secret may have several lines, each a valid secret, for rotation.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

from orderflow.aws.http import ApiEvent, Problem, body_bytes, header, require_post
from orderflow.aws.observability import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_secretsmanager import SecretsManagerClient

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_SECONDS = 300
MAX_BODY_BYTES = 65_536
# How long a secret is cached, and so the longest time until a rotated secret is in use.
SECRET_SECONDS = 300
# Further signatures in a header are ignored: each costs a computation for every secret.
MAX_SIGNATURES = 10

_NUMBER = re.compile(r"[0-9]{1,12}")
_STANDARD = re.compile(r"v1,[A-Za-z0-9+/]{43}=")
_OLD = re.compile(r"[0-9a-f]{64}")
_NOT_SIGNED = "no signature matches this body and time"


class BadSignature(ValueError):
    """The message has no valid signature. The text says why and contains nothing of the secret."""


class Secret:
    """A secret of Secrets Manager, read at its first use and again after its time in the cache."""

    def __init__(self, name: str, client: SecretsManagerClient, *, seconds: float = SECRET_SECONDS) -> None:
        """Cache the secret with this name or ARN for `seconds`."""
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


def secrets_of(text: str) -> list[str]:
    """Return the secrets that are valid at the same time: the lines of a secret's text."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def signed_headers(secret: str, message_id: str, body: bytes, at: int) -> dict[str, str]:
    """Return the Standard Webhooks headers of a message sent at `at` (Unix seconds).

    `body` is UTF-8. `message_id` is the same in every attempt to send the message.
    """
    signature = Webhook(secret).sign(message_id, datetime.fromtimestamp(at, UTC), body.decode())
    return {ID: message_id, TIMESTAMP: str(at), SIGNATURE: signature}


def verified_body(event: ApiEvent, secret: Callable[[], str]) -> bytes:
    """Return the raw body of a request whose signature is valid and at most five minutes old.

    `secret` returns the text of the secrets; it is only called if the headers have the form of a signed message.

    Raises:
        Problem: 405, 413 and 400 as `raw_body`, 401 without a valid signature.
    """
    body = raw_body(event)
    try:
        (_verify if header(event, ID) else _verify_old)(event, body, secret)
    except BadSignature as bad:
        raise unsigned(str(bad), str(bad)) from None
    return body


def unsigned(detail: str, reason: str) -> Problem:
    """Return the refusal of an unsigned message: `detail` for the sender, `reason` for the log."""
    problem = Problem(401, "signature-invalid", "Signature invalid", detail)
    problem.reason = reason
    return problem


def raw_body(event: ApiEvent, most: int = MAX_BODY_BYTES) -> bytes:
    """Return the raw body of a request, before its signature is checked.

    Raises:
        Problem: 405 for another method than POST, 413 over `most` bytes, 400 for invalid base64 from the function URL.
    """
    require_post(event)
    body = body_bytes(event)
    if len(body) > most:
        raise Problem(413, "body-too-large", "Body too large", f"a message may have {most} bytes at most")
    return body


def _verify(event: ApiEvent, body: bytes, secret: Callable[[], str]) -> None:
    at = header(event, TIMESTAMP) or ""
    signatures = _well_formed((header(event, SIGNATURE) or "").split(), _STANDARD)
    if not _NUMBER.fullmatch(at) or not signatures:
        message = f"{TIMESTAMP} must be Unix seconds, and {SIGNATURE} v1,<base64> once or more, with spaces between"
        raise BadSignature(message)
    _require_recent(int(at))
    headers = {ID: header(event, ID) or "", TIMESTAMP: at, SIGNATURE: " ".join(signatures)}
    for one in secrets_of(secret()):
        try:
            webhook = Webhook(one)
        except (ValueError, EmptyWebhookSecretError):
            # It may be a secret of the previous format, which need not be Base64.
            logger.warning("webhook_secret_unusable", expected="Base64, with or without the prefix whsec_")
            continue
        try:
            webhook.verify(body, headers, json_parse=False)
        except (WebhookVerificationError, UnicodeDecodeError):
            continue
        return
    raise BadSignature(_NOT_SIGNED)


def _verify_old(event: ApiEvent, body: bytes, secret: Callable[[], str]) -> None:
    given = header(event, SIGNATURE)
    if not given:
        message = f"the headers {ID}, {TIMESTAMP} and {SIGNATURE} are missing"
        raise BadSignature(message)
    parts = [part.strip().partition("=") for part in given.split(",")]
    times = [value for name, _, value in parts if name == "t" and _NUMBER.fullmatch(value)]
    digests = _well_formed((value for name, _, value in parts if name == "v1"), _OLD)
    if len(times) != 1 or not digests:
        message = f"{SIGNATURE} without {ID} must be t=<unix seconds>,v1=<64 hexadecimal digits>"
        raise BadSignature(message)
    _require_recent(int(times[0]))
    signed = times[0].encode() + b"." + body
    wanted = [hmac.new(one.encode(), signed, hashlib.sha256).hexdigest() for one in secrets_of(secret())]
    if not any(hmac.compare_digest(one, digest) for one in wanted for digest in digests):
        raise BadSignature(_NOT_SIGNED)


def _well_formed(signatures: Iterable[str], form: re.Pattern[str]) -> list[str]:
    return [one for one in signatures if form.fullmatch(one)][:MAX_SIGNATURES]


def _require_recent(at: int) -> None:
    if abs(time.time() - at) > TOLERANCE_SECONDS:
        message = f"the signature's time is more than {TOLERANCE_SECONDS} seconds from ours; sign each attempt anew"
        raise BadSignature(message)
