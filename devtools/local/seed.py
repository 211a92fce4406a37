"""The catalogue, stock and customers of a local target. Seeding again does not change existing stock."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import repeat

from devtools.target import Target

PLENTY = 100_000
SENDER = "orders@example.com"
REGULARS = ("ann", "bob", "cat", "eve", "rex")
GROUPS = {"rex": ("reviewers",), "sue": ("staff",)}
HISTORY_DAYS = 30
KEPT_DAYS = 180


@dataclass(frozen=True)
class Product:
    """A product of the catalogue: price in minor units, initial stock."""

    sku: str
    name: str
    unit_price: int
    stock: int = PLENTY
    currency: str = "EUR"
    active: bool = True
    category: str = "kitchen"


PRODUCTS = (
    Product("MUG-BLUE", "Blue mug", 1250, category="tableware"),
    Product("MUG-WHITE", "White mug", 1190, category="tableware"),
    Product("CUP-ESPRESSO", "Espresso cup, set of two", 1890, category="tableware"),
    Product("TEAPOT-CAST", "Cast iron teapot", 5490),
    Product("KETTLE-STEEL", "Steel kettle", 3990),
    Product("GRINDER-HAND", "Hand coffee grinder", 6490),
    Product("SCALE-KITCHEN", "Kitchen scale", 2990),
    Product("FILTER-100", "Paper filters, 100", 490),
    Product("BEANS-HOUSE", "House blend, 1 kg", 2150, category="pantry"),
    Product("BEANS-DECAF", "Decaf, 500 g", 1290, category="pantry"),
    Product("TEA-GREEN", "Green tea, 200 g", 990, category="pantry"),
    Product("JAR-GLASS", "Glass jar, 1 l", 790),
    Product("TOWEL-LINEN", "Linen kitchen towel", 1450, category="textiles"),
    Product("BOARD-OAK", "Oak cutting board", 3450),
    Product("KNIFE-CHEF", "Chef's knife", 7900),
    Product("PAN-IRON", "Iron pan, 28 cm", 4990),
    Product("BOWL-SET", "Bowls, set of four", 3290, category="tableware"),
    Product("APRON-GREY", "Grey apron", 2490, category="textiles"),
    Product("CARAFE-GLASS", "Glass carafe", 1990, category="tableware"),
    Product("TRAY-BIRCH", "Birch tray", 2790, category="tableware"),
    Product("SOLD-OUT-LAMP", "Desk lamp", 8900, stock=0, category="home"),
    Product("LAST-ITEM-CLOCK", "Wall clock", 4590, stock=1, category="home"),
    Product("ESPRESSO-PRO", "Espresso machine", 289_900),
    Product("TSHIRT-USD", "T-shirt", 1900, currency="USD", category="textiles"),
    Product("RETIRED-RADIO", "Kitchen radio, no longer sold", 5900, active=False, category="home"),
)
SPECIALS = tuple(product for product in PRODUCTS if product.stock < PLENTY)


def seed(target: Target) -> None:
    """Put the products, the regular customers' order history and the email sender. Existing stock does not change."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(_put, repeat(target), PRODUCTS))
    add_history(target, REGULARS)
    target.client("ses").verify_email_identity(EmailAddress=SENDER)


def _put(target: Target, product: Product) -> None:
    dynamodb, tables = target.client("dynamodb"), target.resources
    row = {
        "sku": {"S": product.sku},
        "name": {"S": product.name},
        "unit_price": {"N": str(product.unit_price)},
        "currency": {"S": product.currency},
        "active": {"BOOL": product.active},
        "category": {"S": product.category},
    }
    dynamodb.put_item(TableName=tables["Catalogue"], Item=row)
    stock = {"sku": {"S": product.sku}, "available": {"N": str(product.stock)}, "reserved": {"N": "0"}}
    try:
        dynamodb.put_item(TableName=tables["Stock"], Item=stock, ConditionExpression="attribute_not_exists(sku)")
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return


def restock(target: Target, products: Iterable[Product] = SPECIALS) -> None:
    """Reset the available stock of these products to the initial one; reservations do not change."""
    for product in products:
        target.client("dynamodb").update_item(
            TableName=target.resources["Stock"],
            Key={"sku": {"S": product.sku}},
            UpdateExpression="SET available = :first",
            ExpressionAttributeValues={":first": {"N": str(product.stock)}},
        )


def add_history(target: Target, customers: Iterable[str]) -> None:
    """Add an order of a month ago for each customer, so that the fraud rules know them."""
    placed = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=HISTORY_DAYS)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_past_order, repeat(target), customers, repeat(placed)))


def add_past_order(target: Target, customer: str, placed: datetime) -> None:
    """Add an order that a customer placed at a time (UTC) to the fraud history."""
    row = {
        "customer_id": {"S": customer},
        "placed": {"S": f"{placed:%Y-%m-%dT%H:%M:%S.%fZ}#ord_before_{placed:%d%H%M%S}"},
        "expires_at": {"N": str(int((placed + timedelta(days=KEPT_DAYS)).timestamp()))},
    }
    target.client("dynamodb").put_item(TableName=target.resources["Fraud"], Item=row)
