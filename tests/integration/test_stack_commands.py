"""Every command with the option STACK works on the local stack, addressed like a stack on AWS."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from devtools.commands import COMMANDS, parsed
from devtools.target import AWS
from tests.integration.deployed_stack import DeployedStack

# The options of each command; {order} is a confirmed order, {products} a file with a product.
OPTIONS = {
    "catalog": "--file {products}",
    "token": "--customer commands",
    "user": "--email success+commands@simulator.amazonses.com --token",
    "verify-sender": "--email orders@example.com",
    "check-sender": "--email orders@example.com",
    "doctor": "",
    "smoke": "",
    "order": "--file {request} --customer commands",
    "carrier": "--order {order} --do dispatch",
    "trace": "--order {order}",
    "logs": "--order {order}",
    "dashboard": "--out {page}",
    "sales": "",
    "trial-balance": "",
    "redrive": "--queue mail",
    "flags": "",
    "replay": "--from 1m --rule OrderViewRule",
    "rebuild-view": "",
    "erase": "--customer customer-without-orders --confirm",
    "audit": "--query events-by-day",
    "audit-proof": "--wait 300",
}
# Commands without a run here, and why.
ELSEWHERE = {
    "docs": "it serves until Ctrl-C: test_api_page.py",
    "rebuild": "it reports the stock that other tests set: test_restore.py",
    "restore": "it needs an empty stack and a restored table: test_restore.py",
    "compare": "it runs the consumers in memory, on the events of the log: tests/unit/compare",
    "rollback-triggers": "the emulator's CloudFormation has no rollback triggers: test_release_tools.py",
    "check-canary": "the emulator has no CodeDeploy: test_release_tools.py",
}
NEEDS = {"flags": ("flags",), "replay": ("replay",), "audit": ("archive",), "audit-proof": ("archive",)}


@pytest.fixture(scope="module")
def values(stack: DeployedStack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the values of the placeholders in OPTIONS."""
    folder, customer = tmp_path_factory.mktemp("commands"), stack.customer()
    sku = stack.product()
    order_id = stack.buy(customer, sku)
    assert stack.outcome(customer, order_id) == "confirmed"
    (products := folder / "products.csv").write_text("sku,name,unit_price,currency,stock\nC-COMMANDS,Mug,1250,EUR,40\n")
    request = Path(__file__).parents[2] / "events" / "orders" / "place_order" / "accepted.json"
    return {"order": order_id, "products": str(products), "request": str(request), "page": str(folder / "page.html")}


@pytest.fixture
def as_on_aws(stack: DeployedStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the stack as one on AWS, at the endpoint of a local target."""
    monkeypatch.setenv("BACKEND", AWS)
    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_DEFAULT_REGION", "us-east-1")):
        if stack.target.local:
            monkeypatch.setenv(name, value)
    if stack.target.local:
        monkeypatch.setenv("ENDPOINT", stack.target.endpoint)


@pytest.mark.usefixtures("as_on_aws")
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.needs(*NEEDS.get(name, ()))) for name in OPTIONS])
def test_command_works_on_a_stack_as_on_aws(stack: DeployedStack, values: dict[str, str], name: str) -> None:
    words = [word.format(**values) for word in OPTIONS[name].split()]

    code = import_module(COMMANDS[name].module).main(parsed(name, *words, "--stack", stack.target.stack))

    assert not code
