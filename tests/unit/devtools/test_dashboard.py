"""The dashboard's readings and its server."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from devtools import web
from devtools.cli import UserError
from devtools.commands import parsed
from devtools.dashboard import command, reading, server
from devtools.dashboard.reading import Reading, Source, State
from devtools.dashboard.server import Server
from devtools.ops import redrive
from devtools.target import StackResource, Target
from tests.support.browser import serving

NOW = datetime(2026, 1, 15, 10, 0, 30, tzinfo=UTC)
READING = Reading("2026-01-15T10:00:30Z", "http://127.0.0.1:4566", (State("placed", 1),), (), (), (), ())


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_orders_are_counted_by_state_in_lifecycle_order() -> None:
    found = reading.states(["rejected", "confirmed", "teleported", "placed", "confirmed"])

    assert [(one.state, one.orders) for one in found] == [("placed", 1), ("confirmed", 2), ("rejected", 1), ("teleported", 1)]


def test_outcomes_of_all_periods_are_summed_with_shares() -> None:
    first = {"outcomes": [{"outcome": "confirmed", "orders": 1}, {"outcome": "out_of_stock", "orders": 1}]}
    second = {"outcomes": [{"outcome": "confirmed", "orders": 1}]}

    assert [(one.outcome, one.orders, one.basis_points) for one in reading.outcomes([first, second])] == [
        ("confirmed", 2, 6666),
        ("out_of_stock", 1, 3333),
    ]
    assert reading.outcomes([]) == ()


def test_revenue_has_every_minute_in_its_currencys_format() -> None:
    periods = [
        {"period": "2026-01-15T09:58", "revenue": [{"amount": 1250, "currency": "EUR"}, {"amount": 1500, "currency": "JPY"}]},
        {"period": "2026-01-15T10:00", "revenue": [{"amount": 5, "currency": "EUR"}, {"amount": 1500, "currency": "KWD"}]},
    ]

    euros, yen, dinars = reading.revenue(periods, NOW)

    assert [len(one.minutes) for one in (euros, yen, dinars)] == [60, 60, 60]
    assert (euros.minutes[0].minute, euros.minutes[-1].minute) == ("2026-01-15T09:01", "2026-01-15T10:00")
    assert [one.written for one in euros.minutes[-3:]] == ["EUR 12.50", "EUR 0.00", "EUR 0.05"]
    assert [(one.unit, one.total) for one in (euros, yen, dinars)] == [(100, "EUR 12.55"), (1, "JPY 1,500"), (1000, "KWD 1.500")]


@pytest.mark.parametrize(
    ("name", "displayed", "dead_letters", "redrive"),
    [
        ("order-pipeline-mail", "mail", False, ""),
        ("order-pipeline-mail-dead-letters", "mail-dead-letters", True, "mail"),
        ("order-pipeline-scheduled-jobs-dead-letters", "scheduled-jobs-dead-letters", True, ""),
        ("order-pipeline-operations", "operations", True, "operations"),
    ],
)
def test_dead_letter_queues_are_recognized(name: str, displayed: str, dead_letters: bool, redrive: str) -> None:
    depths = {
        "ApproximateNumberOfMessages": "3",
        "ApproximateNumberOfMessagesDelayed": "2",
        "ApproximateNumberOfMessagesNotVisible": "1",
    }
    routes = {"order-pipeline-mail-dead-letters": "mail", "order-pipeline-operations": "operations"}

    assert reading.queue(name, depths, routes) == reading.Queue(displayed, 5, 1, dead_letters, redrive)


def test_only_the_stacks_own_queues_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack `shop-eu` beside `shop` has queues with the prefix `shop-` as well."""
    resources = {"MailDeadLetters": StackResource("AWS::SQS::Queue", "https://sqs.us-east-1.amazonaws.com/1/shop-mail-dead-letters")}
    monkeypatch.setattr(Target, "stack_resources", resources)

    assert list(redrive.urls(Target("aws", "", managed=False, stack="shop"))) == ["shop-mail-dead-letters"]


def test_data_is_the_reading_as_json() -> None:
    with serving(lambda: READING) as listener:
        answer = web.call("GET", f"{listener.url}data")

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["states"] == [{"state": "placed", "orders": 1}]


def test_unreachable_target_is_a_problem_and_retried() -> None:
    port = _closed_port()
    source = Source(lambda: Target("embedded", f"http://127.0.0.1:{port}", managed=False))
    with serving(source.read) as listener:
        answers = [web.call("GET", f"{listener.url}data") for _ in range(2)]

    assert [answer.status for answer in answers] == [503, 503]
    assert answers[0].headers["content-type"] == "application/problem+json"
    assert answers[0].json()["detail"] == f"nothing answers at http://127.0.0.1:{port}; run `make run` first"


def test_target_is_read_once_for_all_pages() -> None:
    reads: list[int] = []

    def read() -> Reading:
        reads.append(1)
        return READING

    with serving(read, refresh_seconds=600) as listener:
        bodies = {web.call("GET", f"{listener.url}data").body for _ in range(5)}

    assert (len(reads), len(bodies)) == (1, 1)


def test_foreign_host_header_is_rejected() -> None:
    with serving(lambda: READING) as listener:
        answers = [
            web.call("GET", f"{listener.url}{path}", headers={"Host": host})
            for path in ("", "data")
            for host in ("evil.example", f"evil.example:{listener.server_port}")
        ]

    assert {answer.status for answer in answers} == {403}


def test_server_listens_on_loopback_and_has_two_paths() -> None:
    with serving(lambda: READING) as listener:
        assert listener.server_address[0] == "127.0.0.1"
        assert web.call("GET", f"{listener.url}etc/passwd").status == 404


def test_taken_port_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda: READING) as listener:
        monkeypatch.setattr(server, "FIRST_PORT", listener.server_port)
        with server.listening(lambda: READING) as second:
            assert listener.server_port < second.server_port < listener.server_port + server.PORTS


def test_no_free_port_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda: READING) as listener:
        monkeypatch.setattr(server, "FIRST_PORT", listener.server_port)
        monkeypatch.setattr(server, "PORTS", 1)
        with pytest.raises(UserError, match="are all taken"):
            server.listening(lambda: READING)


def test_endpoint_of_another_machine_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDPOINT", "https://sqs.us-east-1.amazonaws.com")

    with pytest.raises(UserError, match="not this machine"):
        command.main(parsed("dashboard"))


@pytest.mark.parametrize(("screen", "opened"), [({"DISPLAY": ":0"}, 1), ({"WAYLAND_DISPLAY": "wayland-0"}, 1), ({}, 0)])
def test_page_opens_on_a_display_and_ctrl_c_ends_the_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], screen: dict[str, str], opened: int
) -> None:
    pages: list[str] = []
    monkeypatch.setattr(command.webbrowser, "open", pages.append)
    monkeypatch.setattr(command.sys, "platform", "linux")
    monkeypatch.setattr(Server, "serve_forever", lambda _: _raise(KeyboardInterrupt()))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in screen.items():
        monkeypatch.setenv(name, value)

    command.serve(_Fixed())

    assert len(pages) == opened
    assert capsys.readouterr().out.split("\n")[1:] == ["", "  ended", ""]


def _raise(error: BaseException) -> None:
    raise error


class _Fixed(Source):
    def __init__(self) -> None:
        super().__init__(lambda: pytest.fail("a target was read: the fixed reading must suffice"))

    def read(self) -> Reading:
        return READING


def test_saved_page_contains_its_data(tmp_path: Path) -> None:
    command.write(_Fixed(), tmp_path / "page.html")

    text = (tmp_path / "page.html").read_text("utf-8")
    start = text.index(opening_tag := '<script type="application/json" id="reading">') + len(opening_tag)
    data: dict[str, Any] = json.loads(text[start : text.index("</script>", start)])
    assert data["states"] == [{"state": "placed", "orders": 1}]


def test_unwritable_file_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must end in \.html or \.png"):
        command.write(_Fixed(), tmp_path / "page.pdf")
    with pytest.raises(UserError, match="No such file or directory"):
        command.write(_Fixed(), tmp_path / "missing" / "page.html")
