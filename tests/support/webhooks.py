"""Signs webhooks as their senders do: by Standard Webhooks, and in the older format."""

from __future__ import annotations

import hashlib
import hmac
import time

from orderflow.aws.webhooks import SIGNATURE, signed_headers


def headers(body: bytes, *, secret: str = "secret", age: float = 0, message_id: str = "msg_1") -> dict[str, str]:
    """Return the headers of a body signed `age` seconds ago; a body that is not UTF-8 is signed in the older format."""
    at = int(time.time() - age)
    try:
        return signed_headers(secret, message_id, body, at)
    except UnicodeDecodeError:
        return {SIGNATURE: old_signature(secret, body, at)}


def old_signature(secret: str, body: bytes, at: int) -> str:
    """Return the signature header of the older format."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
