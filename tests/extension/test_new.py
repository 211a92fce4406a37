"""`make new` in a scratch clone: the generated code passes the contract tests, and a consumer gets events on its own stack."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.extension.checks import require_green, succeeded
from tests.integration.deployed_stack import eventually
from tests.support.clone import Clone

NAME = "orders/watch_orders"
SECONDS = 60.0
# Limits of the template, costs, permissions, routes, alarms and samples.
CONTRACTS = ("template", "idle_cost", "least_privilege", "routing", "alarms", "samples")


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def clone(tmp_path: Path, port: int) -> Iterator[Clone]:
    clone = Clone(tmp_path)
    yield clone
    clone.make("stop", f"PORT={port}")


def test_generated_consumer_receives_events(clone: Clone, port: int) -> None:
    made = clone.make("new", "consumer", f"NAME={NAME}", "EVENTS=OrderConfirmed")
    assert made.returncode == 0, made.stderr
    up = clone.make("up", f"PORT={port}")
    assert up.returncode == 0, up.stdout + up.stderr

    placed = clone.make("order", "FILE=events/orders/place_order/accepted.json", f"PORT={port}")

    [order_id] = set(re.findall(r"ord_\w{26,}", placed.stdout))
    eventually(
        lambda: clone.make("logs", "FUNCTION=watch-orders", f"ORDER={order_id}", f"PORT={port}").stdout,
        lambda lines: "event_processed" in lines,
        within=SECONDS,
        what=f"the consumer logs that it processed OrderConfirmed of {order_id}",
    )


def test_generated_code_passes_the_contract_tests(clone: Clone) -> None:
    for words in (("consumer", f"NAME={NAME}", "EVENTS=OrderConfirmed"), ("endpoint", "NAME=orders/get_tier", "ROUTE=GET /tier")):
        made = clone.make("new", *words)
        assert made.returncode == 0, made.stderr

    tested = clone.run(".venv/bin/python", "-m", "pytest", "-q", *(f"tests/contract/test_{name}.py" for name in CONTRACTS))

    assert tested.returncode == 0, tested.stdout


# It takes minutes: `make test-remove` runs it.
@pytest.mark.alone
def test_generated_code_passes_all_checks_and_tests(tmp_path: Path) -> None:
    clone = Clone(tmp_path)
    for words in (
        ("consumer", "NAME=orders/send_gifts", "EVENTS=OrderConfirmed,OrderCancelled"),
        ("endpoint", "NAME=orders/get_tier", "ROUTE=GET /tier"),
        ("context", "NAME=gifts", "EVENTS=OrderConfirmed"),
        ("endpoint", "NAME=gifts/claim_gift", "ROUTE=POST /gifts/{gift_id}"),
    ):
        succeeded(clone.make("new", *words))
    # The second consumer of every order makes it more than 5 % dearer.
    succeeded(clone.make("cost", "REASON=gifts for every order"))

    require_green(clone)
