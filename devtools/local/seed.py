"""The catalogue, stock and customers of a local target. Seeding again does not change existing stock."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import repeat

from devtools.ops import catalog
from devtools.products import PLENTY, PRODUCTS, Product
from devtools.target import Target
from orderflow.aws import dynamodb

SENDER = "orders@example.com"
REGULARS = ("ann", "bob", "cat", "eve", "rex")
GROUPS: dict[str, tuple[str, ...]] = {"rex": ("reviewers",), "sue": ("staff",)}
HISTORY_DAYS = 30
KEPT_DAYS = 180


SPECIALS = tuple(product for product in PRODUCTS if product.stock < PLENTY)


def seed(target: Target) -> None:
    """Put the products, the regular customers' order history and the email sender. Existing stock does not change."""
    catalog.write(target, PRODUCTS)
    add_history(target, REGULARS)
    target.client("ses").verify_email_identity(EmailAddress=SENDER)


def restock(target: Target, products: Iterable[Product] = SPECIALS) -> None:
    """Reset the available stock of these products to the initial one; reservations do not change."""
    for product in products:
        target.client("dynamodb").update_item(
            TableName=target.resources["Stock"],
            Key=dynamodb.key(sku=product.sku),
            UpdateExpression="SET available = :first",
            ExpressionAttributeValues=dynamodb.values(first=product.stock),
        )


def add_history(target: Target, customers: Iterable[str]) -> None:
    """Add an order of a month ago for each customer, so that the fraud rules do not hold their orders as new customers'."""
    placed = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=HISTORY_DAYS)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_past_order, repeat(target), customers, repeat(placed)))


def add_past_order(target: Target, customer: str, placed: datetime) -> None:
    """Add an order that a customer placed at a time (UTC) to the fraud history."""
    row = {
        "customer_id": customer,
        "placed": f"{dynamodb.timestamp(placed)}#ord_before_{placed:%d%H%M%S}",
        "expires_at": int((placed + timedelta(days=KEPT_DAYS)).timestamp()),
    }
    target.client("dynamodb").put_item(TableName=target.resources["Fraud"], Item=dynamodb.encode_item(row))
