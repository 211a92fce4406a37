"""What the clients do when AWS does not answer as it should."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from tests.fakes.aws import clients


class Failing(HTTPServer):
    """Answers every request with 500, which says nothing about whether it took effect."""

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
        """Say nothing."""


@pytest.fixture
def aws_fails(monkeypatch: pytest.MonkeyPatch) -> Iterator[Failing]:
    server = Failing()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def fresh(service: str) -> Any:
    """Return a client that is not the cached one, which may have been made for another endpoint."""
    return cast("Any", clients.REAL).__wrapped__(service)


def test_client_never_retries_sending_an_email(aws_fails: Failing) -> None:
    ses = fresh("ses")
    with pytest.raises(ClientError):
        ses.send_email(
            Source="a@example.com", Destination={"ToAddresses": ["b@example.com"]}, Message={"Subject": {"Data": "x"}, "Body": {}}
        )
    ses.close()
    assert aws_fails.requests == 1


def test_read_is_retried(aws_fails: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0)
    dynamodb = fresh("dynamodb")
    with pytest.raises(ClientError):
        dynamodb.get_item(TableName="t", Key={"k": {"S": "v"}})
    dynamodb.close()
    assert aws_fails.requests == 3
