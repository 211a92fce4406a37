"""Put the products of a CSV file into a stack's catalogue; their stock only where a product has none.

Every row is validated first by the rules of the functions that sell it. With a single wrong row nothing is written.
"""

import csv
import io
import re
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from msgspec import ValidationError, convert

from devtools import target as targets
from devtools import ui
from devtools.cli import UserError
from devtools.products import Product
from devtools.target import Target
from orderflow.aws import dynamodb
from orderflow.domain import documents
from orderflow.domain.money import charge_step
from orders.domain import pricing

REQUIRED = ("sku", "name", "unit_price", "currency", "stock")
OPTIONAL = ("category", "active", "lowest_temperature", "highest_temperature")
# Spreadsheets separate by semicolons where the comma is the decimal sign.
DELIMITERS = (",", ";", "\t")
# What the functions take where a column is text.
TAKES = {
    "sku": "1 to 64 letters, digits, dots, underscores and hyphens, a letter or digit first",
    "name": f"1 to {pricing.MAX_NAME_LENGTH} characters",
    "category": "up to 64 lower-case letters, digits and hyphens, a letter or digit first",
}
BOOLEANS = {"": True, "true": True, "false": False}
MAX_STOCK = 1_000_000_000


class RowError(ValueError):
    """A row cannot be sold as it is; the text says which value and why."""


@dataclass
class Catalog:
    """The products of a file, and a line for each wrong row, which begins with the row's number in the file."""

    products: list[Product] = field(default_factory=list[Product])
    errors: list[str] = field(default_factory=list[str])


def read(path: Path) -> Catalog:
    """Read a file (UTF-8, with a header line). Raises UserError for a file that is missing, unreadable or has other columns."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise UserError(f"FILE {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"FILE {path} is not UTF-8 text") from None
    return parse(io.StringIO(text, newline=""))


def parse(lines: Iterable[str]) -> Catalog:
    """Parse the lines of a CSV file, whose header shows the separator of its values.

    Raises UserError for a header without a required column or with an unknown one.
    """
    rest = iter(lines)
    header = next(rest, "")
    delimiter = max(DELIMITERS, key=header.count)
    reader = csv.DictReader(chain([header], rest), restkey="_more", restval=None, strict=True, delimiter=delimiter)
    columns = list(reader.fieldnames or ())
    missing, unknown = [name for name in REQUIRED if name not in columns], sorted(set(columns) - {*REQUIRED, *OPTIONAL})
    if missing or unknown:
        wrong = f"misses {', '.join(missing)}" if missing else f"has the unknown column {', '.join(unknown)}"
        raise UserError(f"the header {wrong}; the columns are {', '.join(REQUIRED)}, optional are {', '.join(OPTIONAL)}")
    found, seen = Catalog(), dict[str, int]()
    for number, row in _rows(reader, found):
        try:
            product = product_of(row)
        except RowError as error:
            found.errors.append(f"line {number}: {error}")
            continue
        if product.sku in seen:
            found.errors.append(f"line {number}: sku {product.sku} is on line {seen[product.sku]} as well")
        seen[product.sku] = number
        found.products.append(product)
    return found


def _rows(reader: "csv.DictReader[str]", found: Catalog) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        for row in reader:
            if "_more" in row or None in row.values():
                values = len(reader.fieldnames or ())
                found.errors.append(f'line {reader.line_num}: it has not {values} values; quote a separator as in "a, b"')
            else:
                yield reader.line_num, row
    except csv.Error as error:
        found.errors.append(f"line {reader.line_num}: {error}")


def product_of(row: dict[str, str]) -> Product:
    """Return the product of a row. Raises RowError for a value that the pipeline could not sell."""
    price, stock = _number(row, "unit_price", pricing.MAX_PRICE), _number(row, "stock", MAX_STOCK)
    active, currency = row.get("active", "").strip().lower(), row["currency"].strip()
    if active not in BOOLEANS:
        raise RowError(f"active must be true or false, not {active!r}")
    if not re.fullmatch("[A-Z]{3}", currency):
        raise RowError(f"currency must be an ISO 4217 code such as EUR, not {currency!r}")
    if price % charge_step(currency):
        raise RowError(f"unit_price must be a multiple of {charge_step(currency)} in {currency}, not {price}")
    document = {
        "sku": row["sku"].strip(),
        "name": _name(row["name"]),
        "unit_price": {"amount": price, "currency": currency},
        "active": BOOLEANS[active],
        "category": row.get("category", "").strip() or None,
        "temperature_range": _temperature_range(row),
    }
    try:
        sold = convert(document, pricing.Product)
    except ValidationError as error:
        raise RowError(_explained(str(error), document)) from None
    endures = (sold.temperature_range.lowest, sold.temperature_range.highest) if sold.temperature_range else None
    return Product(sold.sku, sold.name, price, stock, currency, sold.active, sold.category or "", endures)


def _explained(error: str, document: Mapping[str, Any]) -> str:
    """Return a violated rule of the functions in the words of the file: its column, what it takes, and the value."""
    column = error.rpartition("$.")[2].strip("`")
    return f"{column} must be {TAKES[column]}, not {document[column]!r}" if column in TAKES else error


def _temperature_range(row: dict[str, str]) -> dict[str, int] | None:
    """Return the range of a row's temperatures, or None without any."""
    found = {name: row.get(f"{name}_temperature", "").strip() for name in ("lowest", "highest")}
    if not any(found.values()):
        return None
    for name, text in found.items():
        if not re.fullmatch(r"-?[0-9]{1,4}", text):
            raise RowError(f"{name}_temperature must be a whole number of tenths of a degree Celsius, as 80 for 8 °C, not {text!r}")
    return {name: int(text) for name, text in found.items()}


def _name(text: str) -> str:
    """Return a name on one line: emails and invoices have a line for each product."""
    try:
        return documents.cleaned(" ".join(text.split()))
    except ValueError as error:
        raise RowError(f"name: {error}") from None


def _number(row: dict[str, str], column: str, highest: int) -> int:
    text = row[column].strip()
    if not (text.isascii() and text.isdigit() and int(text) <= highest):
        unit = "minor units, as 1250 for EUR 12.50" if column == "unit_price" else "units"
        raise RowError(f"{column} must be a whole number from 0 to {highest} ({unit}), not {text!r}")
    return int(text)


def write(target: Target, products: Iterable[Product]) -> int:
    """Put products into the catalogue, and the stock of those that have none; return how many had none."""
    client, tables = target.client("dynamodb"), target.resources
    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(_put, repeat(client), repeat(tables), products))


def _put(client: Any, tables: Mapping[str, str], product: Product) -> bool:
    client.put_item(TableName=tables["Catalogue"], Item=product.catalogue_row())
    stock = {"TableName": tables["Stock"], "Item": product.stock_row(), "ConditionExpression": "attribute_not_exists(sku)"}
    try:
        dynamodb.write_item(client, client.put_item, **stock)
    except client.exceptions.ConditionalCheckFailedException:
        return False
    return True


def _count(errors: list[str]) -> str:
    match len(errors):
        case 0:
            return "no rows"
        case 1:
            return "1 row is wrong"
        case several:
            return f"{several} rows are wrong"


def main(arguments: Namespace) -> int:
    """Validate the file and write it; 1 with a line for each wrong row."""
    found = read(Path(arguments.file))
    for error in found.errors:
        ui.console.print(f"  {error}", style="red")
    if found.errors or not found.products:
        raise UserError(f"nothing was written: {_count(found.errors)}")
    stocked = write(targets.chosen(arguments.stack), found.products)
    ui.done("products", f"{len(found.products)} written; {stocked} got their stock, {len(found.products) - stocked} keep theirs")
    return 0
