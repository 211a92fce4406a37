"""HTTP requests to a target, with a timeout, without proxy and redirects."""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 15.0
PAUSE_SECONDS = 0.5
# A busy target may refuse a connection for a moment; one that refuses for longer has stopped.
REFUSED_SECONDS = 5.0


@dataclass(frozen=True)
class Answer:
    """An answer: status, headers with lower-case names, raw body."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def json(self) -> Any:
        """Decode the body; an empty dict when it is not JSON, so that callers can report the answer."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}


def call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = TIMEOUT,
) -> Answer:
    """Send a request to an http or https URL. Raises OSError or HTTPException without an answer within `timeout` seconds."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    try:
        path = parts.path or "/"
        connection.request(method, f"{path}?{parts.query}" if parts.query else path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.read(), {name.lower(): value for name, value in response.getheaders()})
    finally:
        connection.close()


def with_retries(ask: Callable[[], Answer], seconds: float) -> Answer:
    """Repeat a request for `seconds` while it has no answer or a 5xx, once with 0; return or raise the result of the last attempt.

    A refused connection is repeated for REFUSED_SECONDS at most: the target has stopped.
    """
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        try:
            answer = ask()
        except ConnectionRefusedError:
            if waited >= min(seconds, REFUSED_SECONDS):
                raise
        except (OSError, http.client.HTTPException):
            if waited >= seconds:
                raise
        else:
            if answer.status < 500 or waited >= seconds:
                return answer
        time.sleep(PAUSE_SECONDS)
