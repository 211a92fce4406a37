"""How senders of webhooks sign them: as Standard Webhooks says, and in the format before it."""

from __future__ import annotations

import hashlib
import hmac
import time

from orderflow.aws.webhooks import SIGNATURE, signed_headers


def headers(body: bytes, *, secret: str = "secret", age: float = 0, message_id: str = "msg_1") -> dict[str, str]:
    """Return the headers of a body that was signed `age` seconds ago; of one that is no UTF-8 in the old format, which can sign it."""
    at = int(time.time() - age)
    try:
        return signed_headers(secret, message_id, body, at)
    except UnicodeDecodeError:
        return {SIGNATURE: old_signature(secret, body, at)}


def old_signature(secret: str, body: bytes, at: int) -> str:
    """Return the one header's value of the old format."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
