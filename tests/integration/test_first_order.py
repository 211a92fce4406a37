"""From a deployment to a first order: users, products, and the smoke test, on the emulator."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import jwt
import pytest

from devtools.cli import UserError
from devtools.commands import parsed
from devtools.ops import catalog, doctor, erase, quotas
from devtools.products import Product
from devtools.target import AWS, ROOT
from devtools.trial import smoke, users
from tests.integration.deployed_stack import DeployedStack, eventually


@pytest.fixture
def pool(stack: DeployedStack) -> Iterator[users.UserPool]:
    """A user pool with the settings of the template, in which the local stack has none."""
    cognito = stack.target.client("cognito-idp")
    policy = {"MinimumLength": 12, **{f"Require{kind}": True for kind in ("Lowercase", "Uppercase", "Numbers", "Symbols")}}
    made = cognito.create_user_pool(PoolName="first-order", UsernameAttributes=["email"], Policies={"PasswordPolicy": policy})
    pool_id: str = made["UserPool"]["Id"]
    flows = ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_ADMIN_USER_PASSWORD_AUTH"]
    app = cognito.create_user_pool_client(UserPoolId=pool_id, ClientName="shop", ExplicitAuthFlows=flows)["UserPoolClient"]
    cognito.create_group(UserPoolId=pool_id, GroupName="clerks")
    yield users.UserPool(cognito, pool_id, app["ClientId"])
    cognito.delete_user_pool(UserPoolId=pool_id)


@pytest.mark.needs("cognito")
def test_user_is_created_once_and_its_token_names_the_group(pool: users.UserPool) -> None:
    assert pool.add("ann@example.com", invite=False)
    assert not pool.add("ann@example.com", invite=True)
    pool.put_into_group("ann@example.com", "clerks")

    claims = jwt.decode(pool.token("ann@example.com"), options={"verify_signature": False})

    assert (claims["email"], claims["email_verified"], claims["token_use"]) == ("ann@example.com", True, "id")
    assert claims["cognito:groups"] == ["clerks"]
    assert claims["aud"] == pool.app
    pool.remove("ann@example.com")
    pool.remove("ann@example.com")


@pytest.mark.needs("cognito")
@pytest.mark.parametrize("by", ["address", "subject"])
def test_user_is_erased_by_address_or_subject(stack: DeployedStack, pool: users.UserPool, by: str) -> None:
    assert pool.add("ann@example.com", invite=False)
    subject = jwt.decode(pool.token("ann@example.com"), options={"verify_signature": False})["sub"]
    target = replace(stack.target)
    target.__dict__["resources"] = stack.target.resources | {"UserPoolId": pool.pool}

    found = erase.erase(target, "ann@example.com" if by == "address" else subject, confirmed=True)

    assert (found.customer, found.user) == (subject, True)
    assert erase.erase(target, subject, confirmed=True).user is False
    with pytest.raises(UserError, match="has no user ann@example"):
        erase.erase(target, "ann@example.com", confirmed=True)


@pytest.mark.needs("cognito")
def test_stranger_who_signed_up_with_an_address_gets_no_group(pool: users.UserPool) -> None:
    attributes = [{"Name": "email", "Value": "rex@example.com"}]
    pool.cognito.sign_up(ClientId=pool.app, Username="rex@example.com", Password=users.random_password(), UserAttributes=attributes)
    assert not pool.add("rex@example.com", invite=True)
    with pytest.raises(UserError, match=r"rex@example.com exists since [0-9-]{10} with the status UNCONFIRMED"):
        pool.put_into_group("rex@example.com", "clerks")
    pool.remove("rex@example.com")
    assert pool.add("rex@example.com", invite=True)
    pool.put_into_group("rex@example.com", "clerks")


def test_catalog_sets_stock_only_where_there_is_none(stack: DeployedStack) -> None:
    sku = f"C-{uuid4().hex[:8].upper()}"
    assert catalog.write(stack.target, [Product(sku, "Mug", 1250, stock=3)]) == 1
    assert catalog.write(stack.target, [Product(sku, "Mug", 990, stock=7)]) == 0

    sold = stack.shop.call("GET", f"/products/{sku}", None).json()
    row = stack.dynamodb.get_item(TableName=stack.table("Stock"), Key={"sku": {"S": sku}})["Item"]
    assert sold["unit_price"] == {"amount": 990, "currency": "EUR"}
    assert row["available"] == {"N": "3"}


def test_doctor_finds_the_local_stack_complete(stack: DeployedStack) -> None:
    found = list(doctor.examine(stack.target, "default"))
    assert {one.what for one in found} >= {
        "region",
        "concurrency",
        "sender",
        "SES",
        "stack",
        "resources",
        "API",
        "event sources",
        "products",
        "alarms",
    }
    assert [one for one in found if one.level == "stop"] == []
    assert next(one for one in found if one.what == "resources").level == "ok"


def test_doctor_counts_quotas_before_a_deployment(stack: DeployedStack) -> None:
    target = replace(stack.target, stack="none-yet")
    found = {one.what: one.level for one in doctor.examine(target, "default")}
    assert (found["stack"], found["IAM Role"]) == ("ok", "ok")
    assert found.keys() >= {quota.name for quota in quotas.QUOTAS}
    assert "stop" not in found.values()


def test_smoke_test_passes_and_removes_its_product(stack: DeployedStack, capsys: pytest.CaptureFixture[str]) -> None:
    smoke.main(parsed("smoke"))
    printed = capsys.readouterr().out
    for step in ("products", "token", "order placed", "order delivered", "order refunded", "ledger", "emails", "clean up"):
        assert re.search(rf"✓ {step} ", printed), printed
    assert left_behind(stack, printed) == []


def left_behind(stack: DeployedStack, printed: str) -> list[str]:
    """Return the tables that still have the product of a smoke test."""
    [sku] = set(re.findall(r"SMOKE-\w+", printed))
    return [
        table
        for table in ("Catalogue", "Stock")
        if "Item" in stack.dynamodb.get_item(TableName=stack.table(table), Key={"sku": {"S": sku}}, ConsistentRead=True)
    ]


def test_smoke_test_ends_with_an_order_that_is_rejected(stack: DeployedStack, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"no shipment of ord_\w+ was requested: the order is rejected: payment_declined$"):
        smoke.main(parsed("smoke", "--payment", "tok_declined"))
    assert left_behind(stack, capsys.readouterr().out) == []


def test_interrupted_smoke_test_leaves_no_order_to_ship(
    stack: DeployedStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs: list[smoke.Smoke] = []

    def interrupted(run: smoke.Smoke) -> str:
        runs.append(run)
        raise KeyboardInterrupt

    monkeypatch.setattr(smoke.Smoke, "deliver", interrupted)
    with pytest.raises(KeyboardInterrupt):
        smoke.main(parsed("smoke"))
    assert "OrderCancelled" in [event.type for event in stack.log(runs[0].order.order_id)]
    assert left_behind(stack, capsys.readouterr().out) == []


def documented() -> list[str]:
    """Return the commands of docs/deploy.md that work on a deployed stack, each once."""
    text = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    return list(dict.fromkeys(re.findall(r"^ {4}(make \S.*STACK=order-pipeline-dev)$", text, re.MULTILINE)))


@pytest.fixture(scope="module")
def shippable(stack: DeployedStack) -> str:
    """A confirmed order whose shipment is requested."""
    customer = stack.customer()
    order_id = stack.buy(customer, stack.product())
    eventually(
        lambda: [event.type for event in stack.log(order_id)],
        lambda types: "ShipmentRequested" in types,
        within=stack.patience,
        what="the shipment request",
    )
    return order_id


@pytest.mark.parametrize("command", documented())
def test_documented_command_works_on_the_stack(stack: DeployedStack, shippable: str, tmp_path: Path, command: str) -> None:
    """The local stack has another name, and an endpoint."""
    text = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    [products] = re.findall(r"^```csv\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (file := tmp_path / "products.csv").write_text(products)
    words = (
        command.replace("=products.csv", f"={file}").replace("order-pipeline-dev", stack.target.stack).replace("ord_…", shippable).split()
    )
    done = subprocess.run(
        [*words, *([f"ENDPOINT={stack.target.endpoint}", f"BACKEND={stack.target.backend}"] if stack.target.local else ())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs("cognito")
def test_integration_tests_run_on_a_marked_stack_as_on_aws(stack: DeployedStack) -> None:
    """Those of a file, as `make test BACKEND=aws` runs all; only the endpoint differs."""
    settings = stack.target.aws_environment() | {"BACKEND": AWS, "STACK": stack.target.stack, "ENDPOINT": stack.target.endpoint}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/integration/test_list_orders.py"],
        cwd=ROOT,
        env=settings if stack.target.local else None,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ passed in ", done.stdout, re.MULTILINE), done.stdout
