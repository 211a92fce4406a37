"""Retries of the AWS clients after failed requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from orderflow.aws.clients import IDLE_SECONDS
from tests.fakes.aws import clients


class Failing(HTTPServer):
    """Answers every request with 500, so that its effect is unknown to the client."""

    def __init__(self) -> None:
        self.requests = 0
        super().__init__(("127.0.0.1", 0), Refusal)


class Refusal(BaseHTTPRequestHandler):
    server: Failing  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests += 1
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Suppress the base class's request log."""


class Purging(ThreadingHTTPServer):
    """Answers the first request of each connection, as if Lambda purged the connection while it was idle."""

    daemon_threads = True

    def __init__(self) -> None:
        self.connections = 0
        super().__init__(("127.0.0.1", 0), FirstRequest)


class FirstRequest(BaseHTTPRequestHandler):
    server: Purging  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    answered = False

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.close_connection = self.answered
        if self.answered:
            return
        self.answered = True
        self.server.connections += 1
        body = b"<SendEmailResponse><SendEmailResult><MessageId>1</MessageId></SendEmailResult></SendEmailResponse>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Suppress the base class's request log."""


@contextmanager
def serving[S: HTTPServer](server: S, monkeypatch: pytest.MonkeyPatch) -> Iterator[S]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def aws_fails(monkeypatch: pytest.MonkeyPatch) -> Iterator[Failing]:
    with serving(Failing(), monkeypatch) as server:
        yield server


@pytest.fixture
def lambda_purges(monkeypatch: pytest.MonkeyPatch) -> Iterator[Purging]:
    with serving(Purging(), monkeypatch) as server:
        yield server


def uncached(service: str) -> Any:
    """Return an uncached client: the cached one may point to another endpoint."""
    return cast("Any", clients.REAL).__wrapped__(service)


def send_email(ses: Any) -> None:
    ses.send_email(Source="a@example.com", Destination={"ToAddresses": ["b@example.com"]}, Message={"Subject": {"Data": "x"}, "Body": {}})


def test_client_never_retries_sending_an_email(aws_fails: Failing) -> None:
    ses = uncached("ses")
    with pytest.raises(ClientError):
        send_email(ses)
    ses.close()
    assert aws_fails.requests == 1


def test_client_without_retries_reuses_no_idle_connection(lambda_purges: Purging, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr("orderflow.aws.clients.time.time", lambda: now)
    ses = uncached("ses")
    send_email(ses)
    now += IDLE_SECONDS + 1
    send_email(ses)
    ses.close()
    assert lambda_purges.connections == 2


def test_read_is_attempted_three_times(aws_fails: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0)
    dynamodb = uncached("dynamodb")
    with pytest.raises(ClientError):
        dynamodb.get_item(TableName="t", Key={"k": {"S": "v"}})
    dynamodb.close()
    assert aws_fails.requests == 3
