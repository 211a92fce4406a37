"""An X-Ray daemon: receives segments by UDP."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

type Segments = Callable[[], list[dict[str, Any]]]


@contextmanager
def xray_daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Segments]:
    """Yield a function that returns all segments received so far; a datagram of this machine arrives before `send` returns."""
    found: list[dict[str, Any]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.setblocking(False)
        monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", f"127.0.0.1:{daemon.getsockname()[1]}")

        def received() -> list[dict[str, Any]]:
            while True:
                try:
                    packet = daemon.recv(65_536)
                except BlockingIOError:
                    return found
                prefix, _, document = packet.partition(b"\n")
                assert json.loads(prefix) == {"format": "json", "version": 1}
                found.append(json.loads(document))

        yield received
