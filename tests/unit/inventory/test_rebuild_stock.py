"""Rebuild of reservations, returned stock and stock levels."""

from __future__ import annotations

from typing import Any

import pytest

from inventory.dependencies import LOG
from inventory.handlers import rebuild_stock
from orderflow.aws.rebuilding import InvalidRequest
from tests.conftest import Aws
from tests.support import samples
from tests.support.prepared import prepare

SCREENED = "ord_000000screenscreenedbefore"


def stock(sku: str, available: int, reserved: int = 0, shipped: int = 0, **more: Any) -> dict[str, Any]:
    pieces = {"available": available, "reserved": reserved, "shipped": shipped}
    return {"sku": {"S": sku}, **{name: {"N": str(number)} for name, number in pieces.items()}, **more}


def units(aws: Aws) -> dict[str, tuple[int, int, int]]:
    rows = aws.dynamodb.items("Stock")
    return {row["sku"]["S"]: (int(row["available"]["N"]), int(row["reserved"]["N"]), int(row["shipped"]["N"])) for row in rows}


@pytest.mark.parametrize("name", samples.names("inventory/rebuild_stock"))
def test_samples_have_their_answers(name: str, aws: Aws, context: Any) -> None:
    aws.dynamodb.seed("Stock", stock("MUG-BLUE", 5))
    prepare(LOG, SCREENED)
    samples.assert_answer(rebuild_stock.handler, name, context)


def test_levels_are_taken_from_available_units(aws: Aws, context: Any) -> None:
    aws.dynamodb.seed("Stock", stock("MUG-BLUE", 10))
    assert rebuild_stock.handler({"levels": {"MUG-BLUE": [3, 2]}}, context)["changed"] == 1
    assert units(aws) == {"MUG-BLUE": (5, 3, 2)}
    assert rebuild_stock.handler({"levels": {"MUG-BLUE": [3, 2]}}, context)["changed"] == 0
    assert rebuild_stock.handler({"levels": {"MUG-BLUE": [1, 2]}}, context)["changed"] == 1
    assert units(aws) == {"MUG-BLUE": (7, 1, 2)}


def test_levels_of_a_sharded_product_are_summed_over_its_shards(aws: Aws, context: Any) -> None:
    aws.dynamodb.seed("Stock", stock("MUG-BLUE", 2, shelves={"N": "16"}), stock("MUG-BLUE#1", 4, 1), stock("MUG-BLUE#2", 3, 0, 2))
    rebuild_stock.handler({"levels": {"MUG-BLUE": [8, 1]}}, context)
    after = units(aws)
    assert [sum(row[part] for row in after.values()) for part in range(3)] == [3, 8, 1]
    assert all(count >= 0 for row in after.values() for count in row)


def test_product_with_too_few_units_is_unchanged(aws: Aws, context: Any) -> None:
    aws.dynamodb.seed("Stock", stock("MUG-BLUE", 1))
    assert rebuild_stock.handler({"levels": {"MUG-BLUE": [1, 1]}}, context)["short"] == ("MUG-BLUE",)
    assert units(aws) == {"MUG-BLUE": (1, 0, 0)}


def test_product_without_a_row_gets_no_available_units(aws: Aws, context: Any) -> None:
    assert rebuild_stock.handler({"levels": {"MUG-BLUE": [1, 1]}}, context)["unknown"] == ("MUG-BLUE",)
    assert units(aws) == {"MUG-BLUE": (0, 1, 1)}


@pytest.mark.parametrize("levels", [{"MUG-BLUE": [-1, 0]}, {"MUG-BLUE": [1]}, {"MUG-BLUE": 1}, []])
def test_malformed_levels_are_rejected(aws: Aws, context: Any, levels: Any) -> None:
    with pytest.raises(InvalidRequest):
        rebuild_stock.handler({"levels": levels}, context)
