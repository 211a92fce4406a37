"""The page's server on loopback: `/` is the page, `/data` its data."""

import json
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import override

from devtools import cli
from devtools.cli import UserError
from devtools.dashboard import page
from devtools.dashboard.reading import Reading

HOST = "127.0.0.1"
FIRST_PORT = 4600
PORTS = 20
REFRESH_SECONDS = 3.0


class Server(ThreadingHTTPServer):
    """Serve the result of `read`. The target is read once in `refresh_seconds` for all open pages."""

    daemon_threads = True

    def __init__(self, port: int, read: Callable[[], Reading], refresh_seconds: float = REFRESH_SECONDS) -> None:
        """Listen on a port of loopback, 0 for any free one. Raises OSError for a taken port."""
        super().__init__((HOST, port), _Handler)
        self.page = page.html(refresh_seconds=refresh_seconds).encode()
        self._read = read
        self._fresh_seconds = refresh_seconds / 2
        self._lock = threading.Lock()
        self._latest: tuple[HTTPStatus, bytes] | None = None
        self._read_at = 0.0

    @property
    def url(self) -> str:
        """The URL of the page."""
        return f"http://{HOST}:{self.server_port}/"

    def data(self) -> tuple[HTTPStatus, bytes]:
        """Return the latest reading as JSON, or 503 and a problem (RFC 9457)."""
        with self._lock:
            if not self._latest or time.monotonic() - self._read_at > self._fresh_seconds:
                self._latest = self._look()
                self._read_at = time.monotonic()
            return self._latest

    def _look(self) -> tuple[HTTPStatus, bytes]:
        try:
            return HTTPStatus.OK, page.encoded(self._read()).encode()
        except Exception as error:
            line = cli.explain(error)
            if line is None:
                raise
            status = HTTPStatus.SERVICE_UNAVAILABLE
            return status, json.dumps({"title": "No data", "status": status, "detail": line}).encode()


class _Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride] - the server of this handler

    def do_GET(self) -> None:
        """Answer with the page or its data."""
        # DNS rebinding: another site's name can resolve to this machine.
        if self.headers.get("Host") not in {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}:
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"open this page at http://127.0.0.1\n")
        elif self.path == "/":
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        elif self.path == "/data":
            status, body = self.server.data()
            self._answer(status, "application/json" if status == HTTPStatus.OK else "application/problem+json", body)
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"there are / and /data\n")

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            # The page was closed.
            self.close_connection = True

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def listening(read: Callable[[], Reading]) -> Server:
    """Return a server on the dashboard's first free port. Raises UserError when all are taken."""
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        try:
            return Server(port, read)
        except OSError:
            continue
    raise UserError(f"ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are all taken; stop one of the dashboards that run")
