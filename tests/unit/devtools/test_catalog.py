"""`make catalog`: every row is validated before any is written, by the rules of the functions that sell it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from devtools.cli import UserError
from devtools.commands import parsed
from devtools.ops import catalog
from devtools.products import Product
from orderflow.aws import dynamodb
from orders.domain import pricing
from tests.conftest import Aws
from tests.fakes.aws.dynamodb import client_error

HEADER = "sku,name,unit_price,currency,stock,category,active"
MUG = "MUG-1,Blue mug,1250,EUR,10,tableware,true"


def errors(*rows: str) -> list[str]:
    return catalog.parse([HEADER, *rows]).errors


def test_row_becomes_a_product_in_minor_units() -> None:
    assert catalog.parse([HEADER, MUG]).products == [Product("MUG-1", "Blue mug", 1250, 10, "EUR", active=True, category="tableware")]


def test_category_and_active_are_optional() -> None:
    [product] = catalog.parse(["sku,name,unit_price,currency,stock", 'A,"Mug, blue",1250,EUR,0']).products
    assert (product.name, product.active, product.category) == ("Mug, blue", True, "")
    assert "category" not in product.catalogue_row()


RANGED = f"{HEADER},lowest_temperature,highest_temperature"


def test_temperatures_that_a_product_endures_are_optional() -> None:
    brie, mug = catalog.parse([RANGED, "BRIE,Brie,690,EUR,10,pantry,,-20,80", f"{MUG},,"]).products
    assert (brie.temperatures, mug.temperatures) == ((-20, 80), None)
    assert brie.catalogue_row()["temperature_range"] == {"M": {"lowest": {"N": "-20"}, "highest": {"N": "80"}}}
    assert "temperature_range" not in mug.catalogue_row()


@pytest.mark.parametrize(
    ("temperatures", "message"),
    [
        ("20,", "highest_temperature must be a whole number of tenths of a degree Celsius, as 80 for 8 °C, not ''"),
        ("2.5,80", "lowest_temperature"),
        ("80,20", "the lowest temperature, 80, is above the highest, 20"),
        ("20,5000", "<= 1000"),
    ],
)
def test_wrong_temperatures_are_one_line(temperatures: str, message: str) -> None:
    [line] = catalog.parse([RANGED, f"BRIE,Brie,690,EUR,10,pantry,,{temperatures}"]).errors
    assert message in line


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",Mug,1250,EUR,1,,", "sku must be 1 to 64 letters, digits, dots, underscores and hyphens, a letter or digit first, not ''"),
        ("MUG 1,Mug,1250,EUR,1,,", "sku must be 1 to 64 letters"),
        (f"{'M' * 65},Mug,1250,EUR,1,,", "sku must be 1 to 64 letters"),
        ("A,,1250,EUR,1,,", f"name must be 1 to {pricing.MAX_NAME_LENGTH} characters, not ''"),
        (
            "A,Mug,12.50,EUR,1,,",
            "unit_price must be a whole number from 0 to 100000000000 (minor units, as 1250 for EUR 12.50), not '12.50'",
        ),
        ("A,Mug,-1,EUR,1,,", "unit_price"),
        ("A,Mug,1250,euro,1,,", "currency must be an ISO 4217 code such as EUR, not 'euro'"),
        ("A,Mug,1255,KWD,1,,", "unit_price must be a multiple of 10 in KWD, not 1255"),
        ("A,Mug,1250,EUR,many,,", "stock must be a whole number"),
        (
            "A,Mug,1250,EUR,1,Kitchen!,",
            "category must be up to 64 lower-case letters, digits and hyphens",
        ),
        ("A,Mug,1250,EUR,1,,yes", "active must be true or false, not 'yes'"),
        ("A,Mug,1250,EUR,1", "it has not 7 values"),
        ("A,Mug, blue,1250,EUR,1,,", "it has not 7 values"),
    ],
)
def test_each_wrong_row_is_one_line_with_its_number(row: str, message: str) -> None:
    [line] = errors(MUG, row)
    assert line.startswith("line 3: ")
    assert message in line
    assert "\n" not in line


def test_every_wrong_row_is_listed() -> None:
    assert [line.partition(":")[0] for line in errors("A,,1,EUR,1,,", MUG, MUG)] == ["line 2", "line 4"]


@pytest.mark.parametrize(
    ("header", "message"),
    [("sku,name,unit_price,currency", "misses stock"), (f"{HEADER},colour", "has the unknown column colour"), ("", "misses sku, name")],
)
def test_other_columns_are_refused_with_the_known_ones(header: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        catalog.parse([header])


def test_nothing_is_written_when_a_row_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "products.csv").write_text(f"{HEADER}\n{MUG}\nA,,1,EUR,1,,\n")
    monkeypatch.setattr(catalog, "write", lambda *_: pytest.fail("rows were written"))
    with pytest.raises(UserError, match="nothing was written: 1 row is wrong"):
        catalog.main(parsed("catalog", "--file", str(file)))


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_file_of_a_european_spreadsheet_is_read(tmp_path: Path, delimiter: str) -> None:
    rows = [HEADER, MUG, 'TEE,"Grüner Tee, 200 g",990,EUR,5,pantry,'.replace('"Grüner Tee, 200 g"', "Grüner Tee")]
    file = tmp_path / "products.csv"
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).replace(",", delimiter).encode())
    assert [product.name for product in catalog.read(file).products] == ["Blue mug", "Grüner Tee"]


@pytest.mark.parametrize("pause", ["\n", "\r\n", "\u2028", "\x85", "\x0b"])
def test_line_separator_within_a_name_is_a_space(tmp_path: Path, pause: str) -> None:
    file = tmp_path / "products.csv"
    file.write_bytes(f"{HEADER}\n{MUG.replace('Blue mug', f'"Blue{pause}mug"')}\n{MUG.replace('MUG-1', 'MUG-2')}\n".encode())
    found = catalog.read(file)
    assert (found.errors, [product.name for product in found.products]) == ([], ["Blue mug", "Blue mug"])


def test_name_that_no_order_could_publish_is_refused() -> None:
    [line] = errors(MUG.replace("Blue mug", "B" * (pricing.MAX_NAME_LENGTH + 1)))
    assert f"name must be 1 to {pricing.MAX_NAME_LENGTH} characters, not 'BBB" in line


@pytest.mark.parametrize("row", [MUG.replace("MUG-1", "M" * 64), f"A,{'B' * pricing.MAX_NAME_LENGTH},1,EUR,1,{'c' * 64},"])
def test_longest_values_are_accepted(row: str) -> None:
    assert errors(row) == []


def test_products_are_written_while_orders_hold_their_stock(monkeypatch: pytest.MonkeyPatch, aws: Aws) -> None:
    monkeypatch.setattr(dynamodb.time, "sleep", lambda _: None)
    held = iter([True, True])

    def hold(operation: str, parameters: Any) -> None:
        if parameters.get("TableName") == "Stock" and next(held, False):
            raise client_error(operation, "TransactionConflictException", "Transaction is ongoing for the item")

    aws.dynamodb.before = hold
    target: Any = SimpleNamespace(client=lambda _: aws.dynamodb.client, resources={"Catalogue": "Catalogue", "Stock": "Stock"})
    assert catalog.write(target, [Product("MUG-1", "Blue mug", 1250, 10)]) == 1


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        catalog.read(tmp_path / "none.csv")
