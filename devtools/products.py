"""The products that local targets, tests and samples sell."""

from dataclasses import dataclass
from typing import Any

from orderflow.aws import dynamodb

PLENTY = 100_000


@dataclass(frozen=True)
class Product:
    """A product of the catalogue: price in minor units, initial stock, and the tenths of a degree Celsius that it endures, if limited."""

    sku: str
    name: str
    unit_price: int
    stock: int = PLENTY
    currency: str = "EUR"
    active: bool = True
    category: str = "kitchen"
    temperatures: tuple[int, int] | None = None

    def catalogue_row(self) -> dict[str, Any]:
        """Return the product's item of the table Catalogue."""
        row: dict[str, Any] = {
            "sku": self.sku,
            "name": self.name,
            "unit_price": self.unit_price,
            "currency": self.currency,
            "active": self.active,
        }
        if self.category:
            row["category"] = self.category
        if self.temperatures:
            row["temperature_range"] = dict(zip(("lowest", "highest"), self.temperatures, strict=True))
        return dynamodb.encode_item(row)

    def stock_row(self, available: int | None = None) -> dict[str, Any]:
        """Return the product's item of the table Stock; by default with the units that it starts with."""
        units = self.stock if available is None else available
        return dynamodb.encode_item({"sku": self.sku, "available": units, "reserved": 0})


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
    Product("CHEESE-BRIE", "Brie, 250 g", 690, category="pantry", temperatures=(20, 80)),
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
BY_SKU = {product.sku: product for product in PRODUCTS}
