"""The page's server, on loopback: `/` is the page, `/data` what it shows."""

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
    """Serves what `read` returns. The target is asked once in `refresh_seconds`, however many pages are open."""

    daemon_threads = True

    def __init__(self, port: int, read: Callable[[], Reading], refresh_seconds: float = REFRESH_SECONDS) -> None:
        """Listen on a port of loopback; 0 takes any that is free. Raises OSError where it is not free."""
        super().__init__((HOST, port), _Handler)
        self.page = page.html(refresh_seconds=refresh_seconds).encode()
        self._read = read
        self._fresh_seconds = refresh_seconds / 2
        self._lock = threading.Lock()
        self._latest: tuple[HTTPStatus, bytes] | None = None
        self._read_at = 0.0

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    def data(self) -> tuple[HTTPStatus, bytes]:
        """The latest reading as JSON, or 503 and a problem (RFC 9457) that says why there is none."""
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
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride] - whose requests these are

    def do_GET(self) -> None:
        """Answer with the page or its data."""
        # Another site's name may be made to mean this machine, to read what is here from the browser.
        if self.headers.get("Host") not in {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}:
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"ask for 127.0.0.1\n")
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
            # The page was closed meanwhile.
            self.close_connection = True

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: a line every few seconds tells nobody anything."""


def listening(read: Callable[[], Reading]) -> Server:
    """A server on the first free port of those that the dashboard takes. Raises UserError when all are taken."""
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        try:
            return Server(port, read)
        except OSError:
            continue
    raise UserError(f"ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are all taken; stop one of the dashboards that run")
