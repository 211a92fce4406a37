"""A proxy between the functions and AWS that writes every call down and changes nothing."""

import http.client
import json
import re
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TIMEOUT = 30.0
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([a-z0-9-]+)/aws4_request")
_CALLER = re.compile(r"\bapp/([A-Za-z0-9]+)")
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Call:
    """A call that a function made: service, operation, its JSON parameters (empty for other protocols), and the answer's.

    The operation is the HTTP method where the protocol has nothing else. `caller` is what AWS_SDK_UA_APP_ID was in the function.
    """

    service: str
    operation: str
    parameters: dict[str, Any]
    answer: dict[str, Any]
    status: int
    caller: str = ""


class Recorder:
    """The calls so far."""

    def __init__(self) -> None:
        """Start with none."""
        self._calls: list[Call] = []
        self._lock = threading.Lock()

    def add(self, call: Call) -> None:
        """Write a call down."""
        with self._lock:
            self._calls.append(call)

    def take(self) -> list[Call]:
        """Return the calls since the previous call, and clear them."""
        with self._lock:
            calls, self._calls = self._calls, []
            return calls


@contextmanager
def recording(upstream: str, port: int) -> Generator[Recorder]:
    """Forward the requests to this loopback port to `upstream` and record them."""
    recorder = Recorder()
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(recorder, upstream))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()


def _handler(recorder: Recorder, upstream: str) -> type[BaseHTTPRequestHandler]:
    address = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Otherwise a small answer waits 40 ms for the acknowledgement of its headers.
        disable_nagle_algorithm = True

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT)
            try:
                connection.request(self.command, self.path, body=body, headers=dict(self.headers.items()))
                response = connection.getresponse()
                answer = response.read()
            finally:
                connection.close()
            recorder.add(call_of(self.command, dict(self.headers.items()), body, answer, response.status))
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _pass_on  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    return Handler


def call_of(method: str, headers: Mapping[str, str], body: bytes, answer: bytes, status: int) -> Call:
    """Return the call that an HTTP request is, with its answer."""
    lowered = {name.lower(): value for name, value in headers.items()}
    scope = _SCOPE.search(lowered.get("authorization", ""))
    target = lowered.get("x-amz-target", "").rpartition(".")[2]
    form = "" if target else parse_qs(body.decode(errors="replace")).get("Action", [method])[0]
    caller = _CALLER.search(lowered.get("user-agent", ""))
    service = scope.group(1) if scope else "?"
    return Call(service, target or form, _json(body), _json(answer), status, caller.group(1) if caller else "")


def _json(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]
