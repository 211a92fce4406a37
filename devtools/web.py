"""HTTP to the local target: a time limit on every call, no proxy, no redirect followed."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 15.0


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers with lower-case names, raw body."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def json(self) -> Any:
        """The body decoded; an empty dict when it is no JSON, so that callers can report instead of fail."""
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
    """One request to an http URL. Raises OSError or HTTPException when no answer comes within `timeout` seconds."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        path = parts.path or "/"
        connection.request(method, f"{path}?{parts.query}" if parts.query else path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.read(), {name.lower(): value for name, value in response.getheaders()})
    finally:
        connection.close()
