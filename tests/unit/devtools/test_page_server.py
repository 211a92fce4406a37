"""The servers of example pages follow a stack that is deployed again, and survive one that has stopped."""

from typing import Any

import pytest

from devtools import web
from devtools.cli import UserError
from devtools.local import issuer, shop
from devtools.page_server import PageServer
from devtools.target import Target
from devtools.trial import api_page
from tests.support import browser as browsers


def shop_page(target: Target) -> PageServer:
    return shop.server(0, target)


def documentation(target: Target) -> PageServer:
    return api_page.server(0, target, "ann")


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    """A local stack that was read already."""
    found = Target("embedded", "http://127.0.0.1:4566", managed=True)
    found.__dict__["resources"] = {"ApiId": "first", "ApiStage": "local"}
    monkeypatch.setattr(issuer, "token", lambda *_: "token")
    return found


@pytest.mark.parametrize(("create", "name", "path"), [(shop_page, "api", ""), (documentation, "openapi", "/openapi.json")])
def test_page_gets_the_api_of_the_latest_deployment(
    target: Target, monkeypatch: pytest.MonkeyPatch, create: Any, name: str, path: str
) -> None:
    with create(target) as server, browsers.running(server):
        monkeypatch.setattr(Target, "resources", {"ApiId": "second", "ApiStage": "local"})
        answer = web.call("GET", f"{server.url}config.json")
    assert answer.json()[name] == f"http://127.0.0.1:4566/_aws/execute-api/second/local{path}"


def test_stopped_stack_is_an_answer_without_a_traceback(
    target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(_: Target) -> None:
        raise UserError("nothing answers at http://127.0.0.1:4566")

    with shop_page(target) as server, browsers.running(server):
        monkeypatch.setattr(Target, "resources", property(stopped))
        assert web.call("GET", f"{server.url}config.json").status == 503
    assert capsys.readouterr().err == ""
