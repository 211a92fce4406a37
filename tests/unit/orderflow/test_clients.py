"""Retries of the AWS clients after failed requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

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


def uncached(service: str) -> Any:
    """Return an uncached client: the cached one may point to another endpoint."""
    return cast("Any", clients.REAL).__wrapped__(service)


def test_client_never_retries_sending_an_email(aws_fails: Failing) -> None:
    ses = uncached("ses")
    with pytest.raises(ClientError):
        ses.send_email(
            Source="a@example.com", Destination={"ToAddresses": ["b@example.com"]}, Message={"Subject": {"Data": "x"}, "Body": {}}
        )
    ses.close()
    assert aws_fails.requests == 1


def test_read_is_attempted_three_times(aws_fails: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0)
    dynamodb = uncached("dynamodb")
    with pytest.raises(ClientError):
        dynamodb.get_item(TableName="t", Key={"k": {"S": "v"}})
    dynamodb.close()
    assert aws_fails.requests == 3
