"""`make new` writes all parts of a consumer, endpoint or context, and refuses names that do not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from devtools import template
from devtools.cli import UserError
from devtools.commands import parsed
from devtools.new import command
from devtools.target import ROOT
from orderflow.domain.events import EVENT_TYPES, STREAM_ONLY_EVENTS

COPIED = ("template.yaml", "pyproject.toml", "functions/Makefile")
FOLDERS = ("events/orders", "events/shipping", "schemas", "functions/orders", "functions/payments/handlers", "workflows")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the files that the generator reads and changes."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in COPIED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr("devtools.ui.done", lambda *_: None)
    return tmp_path


def resources(clone: Path) -> dict[str, Any]:
    return template.translated(path=clone / "template.yaml")["Resources"]


def reachable_queues(found: dict[str, Any], role: str) -> str:
    return json.dumps(found[role]["Properties"]["Policies"])


def test_consumer_is_fed_by_its_rule_and_can_be_redriven(clone: Path) -> None:
    command.consumer("orders", "send_gifts", ["OrderConfirmed"])
    found = resources(clone)
    assert found["OrdersSendGiftsRule"]["Properties"]["EventPattern"] == {
        "detail-type": ["OrderConfirmed"],
        "replay-name": [{"exists": False}],
    }
    assert found["OrdersSendGifts"]["Properties"]["Handler"] == "orders.handlers.send_gifts.handler"
    for queue in ("OrdersSendGiftsQueue", "OrdersSendGiftsDeadLetters"):
        assert queue in reachable_queues(found, "OperationsRedriveRole")
    assert max(map(len, (clone / "template.yaml").read_text("utf-8").splitlines())) <= 140


def test_consumer_sample_is_a_delivery_of_the_event(clone: Path) -> None:
    command.consumer("orders", "send_gifts", ["OrderConfirmed"])
    [record] = json.loads((clone / "events/orders/send_gifts/order-confirmed.json").read_text("utf-8"))["Records"]
    delivered = json.loads(record["body"])
    assert delivered["detail-type"] == delivered["detail"]["type"] == "OrderConfirmed"
    assert record["eventSourceARN"].endswith(":orders-send-gifts")
    assert (clone / "events/orders/send_gifts/order-confirmed.answer.json").exists()


def test_consumer_of_guarded_context_may_read_no_other_queue(clone: Path) -> None:
    command.consumer("payments", "watch_orders", ["OrderConfirmed"])
    policies = reachable_queues(resources(clone), "PaymentsWatchOrdersRole")
    assert '"NotResource": {"Fn::GetAtt": ["PaymentsWatchOrdersQueue", "Arn"]}' in policies


@pytest.mark.parametrize("context", ["orders", "payments"])
def test_longest_names_fit_the_lines(clone: Path, context: str) -> None:
    """The checks refuse lines of more than 140 characters, and Lambda descriptions of more than 256."""
    module = "a_b" + "c" * (64 - len(f"order-pipeline-staging-{context}-a-b"))
    method, path = command.route("DELETE /" + "d" * 69)
    types = [name for name in EVENT_TYPES if name not in STREAM_ONLY_EVENTS]
    command.use_case(f"{context}/{module}", "consumer")
    written = command.consumer(context, module, types) + command.endpoint(context, f"{module[:-1]}e", method, path)
    for file in written:
        if file.suffix in {".py", ".yaml"}:
            assert [line for line in file.read_text("utf-8").splitlines() if len(line) > 140] == []
    descriptions = [one["Properties"].get("Description", "") for one in resources(clone).values() if "Properties" in one]
    assert max(len(text) for text in descriptions if isinstance(text, str)) <= 256


def test_written_handler_and_test_compile(clone: Path) -> None:
    written = command.consumer("orders", "send_gifts", ["OrderConfirmed"]) + command.endpoint("orders", "get_tier", "GET", "/tier")
    for path in written:
        if path.suffix == ".py":
            compile(path.read_text("utf-8"), str(path), "exec")
            assert "$" not in path.read_text("utf-8")


def test_endpoint_has_its_route_and_a_sample_of_it(clone: Path) -> None:
    command.endpoint("orders", "get_gift", "GET", "/gifts/{gift_id}")
    assert "OrdersGetGift" in resources(clone)
    sample = json.loads((clone / "events/orders/get_gift/called.json").read_text("utf-8"))
    assert (sample["resource"], sample["path"]) == ("/gifts/{gift_id}", "/gifts/sample")
    assert sample["pathParameters"] == {"gift_id": "sample"}


def test_context_is_listed_wherever_contexts_are(clone: Path) -> None:
    command.new_context("gifts")
    command.consumer("gifts", "process_events", ["OrderConfirmed"])
    found = resources(clone)
    assert found["GiftsProcessEvents"]["Properties"]["LoggingConfig"]["LogGroup"] == {"Ref": "GiftsLogs"}
    assert "build-Gifts%:\n\t$(call context,gifts)\n" in (clone / "functions/Makefile").read_text("utf-8")
    project = (clone / "pyproject.toml").read_text("utf-8")
    assert project.count('"gifts"') == project.count('"orders"')


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: command.require_name("", ""),
            "the kind is missing: make new consumer NAME=.*; make new endpoint NAME=.*; make new context NAME=",
        ),
        (lambda: command.require_name("endpoint", ""), "NAME of the endpoint is missing: make new endpoint NAME=orders/get_tier ROUTE="),
        (lambda: command.use_case("send_gifts", "consumer"), "NAME must be context/use_case"),
        (lambda: command.use_case("orders/SendGifts", "consumer"), "lower-case words"),
        (lambda: command.use_case("orders/project", "consumer"), "exists"),
        (lambda: command.known_context("gifts"), "there is no context gifts"),
        (lambda: command.event_types("OrderConfirmd"), "EVENTS must name events of the bus"),
        (lambda: command.event_types("StockReserved"), "EVENTS must name events of the bus"),
        (lambda: command.event_types(""), "EVENTS must name events of the bus"),
        (lambda: command.route("/tier"), "ROUTE must be a method and a path"),
        (lambda: command.route("GET /" + "d" * 70), "ROUTE is too long: a path has 70 characters at most, not 71"),
        (lambda: command.free_route("GET", "/orders"), "GET /orders is a route of OrdersList: choose another ROUTE"),
        (
            lambda: command.free_route("GET", "/orders/{id}/gifts"),
            r"\{id\} must be \{order_id\} in /orders/\{id\}/gifts, as in /orders/\{order_id\}",
        ),
        (lambda: command.use_case("orders/import", "consumer"), "NAME must not be 'import', a keyword of Python"),
        (lambda: command.use_case("orders/place", "consumer"), "OrdersPlace is in template.yaml already: choose another NAME"),
        (lambda: command.use_case("payments/notice", "consumer"), "PaymentsNotice is in template.yaml already"),
        (
            lambda: command.use_case(f"orders/{'a' * 35}", "consumer"),
            "order-pipeline-staging-orders-a+ has 65 characters, 64 are",
        ),
        (lambda: command.free_context("g" * 27), "NAME is too long"),
        (lambda: command.free_context("orders"), "functions/orders exists"),
        (lambda: command.free_context("class"), "NAME must not be 'class', a keyword of Python"),
        (lambda: command.free_context("email"), "NAME must not be 'email', a package of Python or of the dependencies"),
        (lambda: command.free_context("devtools"), "NAME must not be 'devtools', a package"),
        (lambda: command.free_context("api"), "ApiLogs is in template.yaml already"),
    ],
)
def test_mistake_is_refused_before_anything_is_written(clone: Path, call: Any, message: str) -> None:
    before = (clone / "template.yaml").read_text("utf-8")
    with pytest.raises(UserError, match=message):
        call()
    assert (clone / "template.yaml").read_text("utf-8") == before


def test_free_names_are_accepted(clone: Path) -> None:
    assert command.use_case(f"orders/{'a' * 34}", "consumer") == ("orders", "a" * 34)
    command.free_context("zebras")
    command.free_route("POST", "/orders/{order_id}/zebras")
    command.free_route("DELETE", "/orders")
    assert command.use_case("orders/count_zebras", "consumer") == ("orders", "count_zebras")


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError("make contracts failed")])
def test_unfinished_generation_leaves_nothing(clone: Path, monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    def tree() -> dict[str, bytes | None]:
        return {str(path): path.read_bytes() if path.is_file() else None for path in clone.rglob("*")}

    def fail() -> None:
        assert (clone / "functions/zebras/handlers/process_events.py").exists()
        (clone / "events/orders/place_order/accepted.json").unlink()
        (clone / "functions/zebras/__pycache__").mkdir()
        (clone / "functions/zebras/__pycache__/x.pyc").write_bytes(b"")
        raise error

    before = tree()
    monkeypatch.setattr(command, "_generate", fail)
    with pytest.raises(type(error) if isinstance(error, UserError) else error):
        command.main(parsed("new", "--kind", "context", "--name", "zebras"))
    assert tree() == before


def test_failing_generator_is_named(clone: Path) -> None:
    with pytest.raises(UserError, match="nothing was written: make contracts failed; make it pass first"):
        command.main(parsed("new", "--kind", "consumer", "--name", "orders/count_zebras", "--events", "OrderConfirmed"))
    assert not (clone / "functions/orders/handlers/count_zebras.py").exists()
