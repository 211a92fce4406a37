"""The table Stock as tests look at it: what there is of products on all of their shelves, and moving it between these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from inventory.domain.stock_rules import SHELVES, Level
from tests.fakes.aws.dynamodb import FakeDynamoDB, Hook, Item, Parameters, client_error

PARTS = ("available", "reserved", "shipped")


def levels(database: FakeDynamoDB) -> dict[str, Level]:
    """Return what there is of every product."""
    sums: dict[str, Counter[str]] = {}
    for item in database.items("Stock"):
        product = sums.setdefault(item["sku"]["S"].partition("#")[0], Counter())
        product.update({part: _number(item, part) for part in PARTS})
    return {sku: Level(*(found[part] for part in PARTS)) for sku, found in sums.items()}


def scatter(database: FakeDynamoDB, sku: str, where: Callable[[], int]) -> None:
    """Have a product lie on shelves, each piece on the one that `where` says."""
    level = levels(database)[sku]
    shelves = [Counter[str]() for _ in range(SHELVES)]
    for part in PARTS:
        for _ in range(getattr(level, part)):
            shelves[where()][part] += 1
    for number, shelf in enumerate(shelves):
        row: Item = {part: {"N": str(shelf[part])} for part in PARTS}
        first: Item = {} if number else {"shelves": {"N": str(SHELVES)}}
        database.seed("Stock", {"sku": {"S": f"{sku}#{number}" if number else sku}, **row, **first})


def meeting(times: int) -> Hook:
    """Let so many transactions that change stock meet another one at it."""
    left = [None] * times

    def hook(name: str, given: Parameters) -> None:
        if name == "TransactWriteItems" and left:
            left.pop()
            tables = [write["TableName"] for item in given["TransactItems"] for write in item.values()]
            reasons = [{"Code": "TransactionConflict" if table == "Stock" else "None"} for table in tables]
            raise client_error(name, "TransactionCanceledException", "cancelled", CancellationReasons=reasons)

    return hook


def _number(item: Item, part: str) -> int:
    return int(item.get(part, {}).get("N", 0))
