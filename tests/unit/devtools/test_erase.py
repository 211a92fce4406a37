"""`make erase`: rows and user of one customer go, orders and their documents stay, and an interrupted run is finished by another one."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pytest

from devtools import target as targets
from devtools import ui
from devtools.cli import UserError
from devtools.commands import COMMANDS, parsed
from devtools.ops import erase
from devtools.ops.erase import ENDED, KEYS
from devtools.options import arguments
from devtools.target import ROOT
from orderflow.aws import dynamodb
from shipping.shipments import shipment_id
from tests.fakes.aws.dynamodb import Crash
from tests.fakes.aws.environment import TABLES, Aws
from tests.restore.original import ORIGINAL_PATHS, Original
from tests.restore.stack import StackInMemory, empty_aws

POOL = {"UserPoolId": "pool", "UserPoolClientId": "app"}
DELIVERED = next(number for number, path in enumerate(ORIGINAL_PATHS) if path.ends == "delivered")
CUSTOMER = f"customer-{DELIVERED}"
EMAIL = "ann@example.com"
pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def processed() -> Aws:
    """Return the services after an order of a customer of its own on every path, each with a tracked parcel."""
    with pytest.MonkeyPatch.context() as patch:
        pipeline = Original(patch, empty_aws())
        pipeline.run(len(ORIGINAL_PATHS))
    for order in orders_of(pipeline.aws):
        tracked = {"shipment_id": shipment_id(order["order_id"]), "parcel_id": "parcel_1", "track": "{}"}
        pipeline.aws.dynamodb.seed("Tracking", dynamodb.encode_item(tracked))
    return pipeline.aws


def copied(aws: Aws) -> Aws:
    copy = empty_aws()
    for table in TABLES:
        copy.dynamodb.seed(table.name, *aws.dynamodb.items(table.name))
    return copy


@pytest.fixture
def aws(processed: Aws) -> Aws:
    """Return a copy of the services that a test may change."""
    return copied(processed)


class UserPool:
    """A user pool with one user, in place of Cognito."""

    class exceptions:  # noqa: N801 - botocore's name
        class UserNotFoundException(Exception): ...

    def __init__(self) -> None:
        self.users = {EMAIL: CUSTOMER}

    def _address(self, name: str) -> str:
        for address, subject in self.users.items():
            if name in (address, subject):
                return address
        raise self.exceptions.UserNotFoundException

    def admin_get_user(self, *, UserPoolId: str, Username: str) -> dict[str, Any]:  # noqa: N803 - botocore's names
        assert UserPoolId == "pool"
        address = self._address(Username)
        return {"UserAttributes": [{"Name": "email", "Value": address}, {"Name": "sub", "Value": self.users[address]}]}

    def admin_delete_user(self, *, UserPoolId: str, Username: str) -> None:  # noqa: N803
        assert UserPoolId == "pool"
        del self.users[self._address(Username)]


@dataclass
class WithUsers(StackInMemory):
    """A stack with a user pool."""

    cognito: UserPool = field(default_factory=UserPool)

    @cached_property
    def resources(self) -> dict[str, str]:
        return StackInMemory(self.aws).resources | POOL

    def client(self, service: str) -> Any:
        return self.cognito if service == "cognito-idp" else super().client(service)


def orders_of(aws: Aws) -> list[dict[str, Any]]:
    return [dynamodb.decode_item(item) for item in aws.dynamodb.items("OrderView")]


def rows(aws: Aws) -> dict[str, list[Any]]:
    return {table.name: aws.dynamodb.items(table.name) for table in TABLES}


def mine(aws: Aws, customer: str, order_id: str) -> dict[str, int]:
    """Return how many rows name the customer or the order, by table."""
    found = {name: sum(customer in row.values() or order_id in str(row) for row in _texts(aws, name)) for name in KEYS}
    return {name: count for name, count in found.items() if count}


def _texts(aws: Aws, table: str) -> list[dict[str, Any]]:
    return [dynamodb.decode_item(item) for item in aws.dynamodb.items(table)]


def test_keys_are_those_of_the_tables() -> None:
    assert {table.name: tuple(table.key) for table in TABLES if table.name in KEYS} == KEYS


def test_rows_of_one_customer_go_and_everything_else_stays(aws: Aws) -> None:
    erased, kept = 0, 0
    for order in orders_of(aws):
        customer, order_id = order["customer_id"], order["order_id"]
        before = rows(aws)
        if order["state"] in ENDED:
            found = erase.erase(StackInMemory(aws).target, customer, confirmed=True)
            assert mine(aws, customer, order_id) == {}
            assert found.rows["OrderView"] == 1
            assert found.rows["Tracking"] == 1
            after = rows(aws)
            deleted = {name: len(before[name]) - len(after[name]) for name in before}
            assert deleted == {name: found.rows.get(name, 0) for name in before}
            assert all(row in before[name] for name in after for row in after[name])
            erased += 1
        else:
            with pytest.raises(UserError, match=f"customer {customer} has active orders: {order_id}; cancel"):
                erase.erase(StackInMemory(aws).target, customer, confirmed=True)
            assert rows(aws) == before
            kept += 1
    assert erased > 8
    assert kept > 3


def test_without_confirmation_rows_are_counted_only(aws: Aws) -> None:
    stack, before = WithUsers(aws), rows(aws)
    counted = erase.erase(stack.target, CUSTOMER, confirmed=False)
    assert (rows(aws), stack.cognito.users) == (before, {EMAIL: CUSTOMER})
    assert erase.erase(stack.target, CUSTOMER, confirmed=True) == counted


@pytest.mark.parametrize("name", [EMAIL, CUSTOMER])
def test_user_is_deleted_last_by_address_or_id(aws: Aws, name: str) -> None:
    stack = WithUsers(aws)
    found = erase.erase(stack.target, name, confirmed=True)
    assert (found.customer, found.user, stack.cognito.users) == (CUSTOMER, True, {})
    again = erase.erase(stack.target, CUSTOMER, confirmed=True)
    assert (again.user, sum(again.rows.values())) == (False, 0)


def test_deletion_of_the_user_whose_answer_was_lost_is_no_error(aws: Aws) -> None:
    stack = WithUsers(aws)
    found = stack.cognito.admin_get_user(UserPoolId="pool", Username=EMAIL)
    stack.cognito.admin_get_user = lambda **_: found
    stack.cognito.users.clear()
    assert erase.erase(stack.target, EMAIL, confirmed=True).customer == CUSTOMER


def test_unknown_address_is_refused(aws: Aws) -> None:
    stack, before = WithUsers(aws), rows(aws)
    with pytest.raises(UserError, match=r"has no user bob@example\.com: give the customer's id"):
        erase.erase(stack.target, "bob@example.com", confirmed=True)
    assert rows(aws) == before


@pytest.mark.parametrize("moment", ["before", "after"])
def test_crash_at_any_deletion_is_finished_by_another_run(processed: Aws, aws: Aws, moment: str) -> None:
    deletions = sum(erase.erase(StackInMemory(aws).target, CUSTOMER, confirmed=True).rows.values())
    finished = rows(aws)
    assert deletions >= 3
    for at in range(1, deletions + 1):
        stack = WithUsers(copied(processed))
        countdown = iter(range(at - 1, -1, -1))

        def crash(operation: str, _parameters: Any, left: Iterator[int] = countdown) -> None:
            if operation == "DeleteItem" and next(left, None) == 0:
                raise Crash

        setattr(stack.aws.dynamodb, moment, crash)
        with pytest.raises(Crash):
            erase.erase(stack.target, EMAIL, confirmed=True)
        assert stack.cognito.users
        erase.erase(stack.target, EMAIL, confirmed=True)
        assert (rows(stack.aws), stack.cognito.users) == (finished, {})


def test_stack_without_a_context_has_fewer_tables(aws: Aws) -> None:
    stack = StackInMemory(aws)
    del stack.resources["Fraud"]
    found = erase.erase(stack.target, CUSTOMER, confirmed=True)
    assert set(found.rows) == KEYS.keys() - {"Fraud"}
    assert aws.dynamodb.items("Fraud")


def test_commands_of_the_page_count_and_then_delete(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = WithUsers(aws)
    monkeypatch.setattr(targets, "chosen", lambda name: stack if name == "<stack>" else None)
    count, delete = re.findall(r"^ +make erase (.*)$", (ROOT / "docs" / "privacy.md").read_text("utf-8"), re.MULTILINE)
    before = rows(aws)
    erase.main(_by_make(count))
    assert (rows(aws), stack.cognito.users) == (before, {EMAIL: CUSTOMER})
    erase.main(_by_make(delete))
    assert sum(erase.erase(stack.target, CUSTOMER, confirmed=False).rows.values()) == 0
    assert stack.cognito.users == {}


def _by_make(words: str) -> Namespace:
    given = dict(word.split("=", 1) for word in words.split())
    return arguments(COMMANDS["erase"], [], {"MAKE_VARIABLES": " ".join(given), **given})


@pytest.mark.parametrize("confirm", [(), ("--confirm",)])
def test_report_says_what_is_kept_until_when(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], confirm: tuple[str, ...]
) -> None:
    monkeypatch.setattr(targets, "chosen", lambda _: WithUsers(aws))
    [order] = [one for one in orders_of(aws) if one["customer_id"] == CUSTOMER]
    with ui.console.capture() as printed:
        erase.main(parsed("erase", "--customer", EMAIL, *confirm))
    text = printed.get()
    assert f"customer {CUSTOMER}" in text
    assert f"{order['order_id']}: its events and invoices stay until the end of {int(order['updated_at'][:4]) + 10}" in text
    assert ("nothing was deleted: CONFIRM=1 deletes" in text) is not bool(confirm)
    assert ("the user deleted" in text) is bool(confirm)
