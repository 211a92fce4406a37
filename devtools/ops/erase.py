"""Erase a customer's user and the rows that no law keeps; without CONFIRM=1 count them. docs/privacy.md has the whole procedure.

Events and invoices of orders stay for their retention. A repetition finishes an interrupted run, and deletes rows that were written since.
"""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.text import Text

from devtools import target as targets
from devtools import ui
from devtools.cli import UserError
from devtools.target import Target
from orderflow.aws import dynamodb
from shipping.shipments import shipment_id

# The key of each table. The order view is last: a repetition reads the customer's orders from it.
VIEW = "OrderView"
KEYS = {
    "Tracking": ("shipment_id", "parcel_id"),
    "Fraud": ("customer_id", "placed"),
    "LoyaltyPoints": ("customer_id", "entry"),
    "Allowances": ("customer_id",),
    VIEW: ("customer_id", "place"),
}
# No saga and no parcel works on these orders. Events of others would write rows again.
ENDED = frozenset({"delivered", "lost", "partly_returned", "returned", "rejected", "cancelled"})
# From the end of the year of the order's last event (decision 63).
RETENTION_YEARS = 10


@dataclass(frozen=True)
class Erasure:
    """A customer's orders, as rows of the order view, and the rows of each table, deleted or to be deleted."""

    customer: str
    orders: list[dict[str, Any]]
    rows: dict[str, int] = field(default_factory=dict[str, int])
    user: bool = False


def erase(target: Target, customer: str, *, confirmed: bool) -> Erasure:
    """Delete a customer's rows and then the user, or count them where it is not `confirmed`. Idempotent.

    `customer` is the id of the customer, or the address of a user of the stack's user pool. Raises UserError for an unknown address and
    for a customer with active orders.
    """
    pool = target.resources.get("UserPoolId")
    subject = _subject(target, pool, customer) if pool else None
    if pool and "@" in customer and subject is None:
        raise UserError(f"the user pool of {target.stack} has no user {customer}: give the customer's id, the subject of the tokens")
    owner = subject or customer
    orders = list(_rows(target, VIEW, owner))
    if active := [order["order_id"] for order in orders if order["state"] not in ENDED]:
        raise UserError(f"customer {owner} has active orders: {', '.join(active)}; cancel them, or wait until they have ended")
    erasure = Erasure(owner, orders, user=subject is not None)
    for table in KEYS:
        if table in target.resources:
            found = list(_of_customer(target, table, erasure))
            if confirmed:
                _delete(target, table, found)
            erasure.rows[table] = len(found)
    if subject and confirmed:
        cognito = target.client("cognito-idp")
        # A retry after a lost answer finds no user.
        with suppress(cognito.exceptions.UserNotFoundException):
            cognito.admin_delete_user(UserPoolId=pool, Username=subject)
    return erasure


def _subject(target: Target, pool: str, name: str) -> str | None:
    """Return the subject of a user by its address or subject, None without such a user."""
    cognito = target.client("cognito-idp")
    try:
        found = cognito.admin_get_user(UserPoolId=pool, Username=name)
    except cognito.exceptions.UserNotFoundException:
        return None
    return next(one["Value"] for one in found["UserAttributes"] if one["Name"] == "sub")


def _of_customer(target: Target, table: str, erasure: Erasure) -> Iterator[dict[str, Any]]:
    if KEYS[table][0] == "customer_id":
        yield from _rows(target, table, erasure.customer)
    else:
        for order in erasure.orders:
            yield from _rows(target, table, shipment_id(order["order_id"]))


def _rows(target: Target, table: str, value: str) -> Iterator[dict[str, Any]]:
    return dynamodb.read_items(
        target.client("dynamodb").query,
        TableName=target.resources[table],
        KeyConditionExpression="#key = :value",
        ExpressionAttributeNames={"#key": KEYS[table][0]},
        ExpressionAttributeValues=dynamodb.values(value=value),
        ConsistentRead=True,
    )


def _delete(target: Target, table: str, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        key = dynamodb.key(**{name: row[name] for name in KEYS[table]})
        target.client("dynamodb").delete_item(TableName=target.resources[table], Key=key)


def report(found: Erasure, *, confirmed: bool) -> list[Text]:
    """Return the result as lines for people."""
    done = "deleted" if confirmed else "to delete"
    lines = [Text(f"  {count:>5,} rows of {table} {done}") for table, count in found.rows.items()]
    lines.append(Text(f"  the user {done}" if found.user else "  no user in a user pool of the stack"))
    for order in found.orders:
        until = datetime.fromisoformat(order["updated_at"]).year + RETENTION_YEARS
        lines.append(Text(f"  {order['order_id']}: its events and invoices stay until the end of {until}", "dim"))
    return lines


def main(arguments: Namespace) -> None:
    """Erase, or count what would be erased."""
    found = erase(targets.chosen(arguments.stack), arguments.customer, confirmed=arguments.confirm)
    ui.headline(f"customer {found.customer}")
    for line in report(found, confirmed=arguments.confirm):
        ui.console.print(line)
    if not arguments.confirm:
        ui.console.print(Text("  nothing was deleted: CONFIRM=1 deletes", "yellow"))
