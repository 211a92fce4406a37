"""The Stock table in tests: product levels summed over shards, and a reference model of the stock rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from inventory.domain import stock_rules
from inventory.domain.stock_rules import SHARDS, Holding, InsufficientStock, Level, Move
from orderflow.domain.events import Shortage, StockLine
from orderflow.domain.order import Order
from tests.fakes.aws.dynamodb import FakeDynamoDB, Hook, Item, Parameters, client_error

type Stock = Mapping[str, Level]

PARTS = ("available", "reserved", "shipped")


def levels(database: FakeDynamoDB) -> dict[str, Level]:
    """Return the level of every product."""
    sums: dict[str, Counter[str]] = {}
    for item in database.items("Stock"):
        product = sums.setdefault(item["sku"]["S"].partition("#")[0], Counter())
        product.update({part: _number(item, part) for part in PARTS})
    return {sku: Level(*(found[part] for part in PARTS)) for sku, found in sums.items()}


def scatter(database: FakeDynamoDB, sku: str, where: Callable[[], int]) -> None:
    """Shard a product; `where` chooses the shard of each unit."""
    level = levels(database)[sku]
    shards = [Counter[str]() for _ in range(SHARDS)]
    for part in PARTS:
        for _ in range(getattr(level, part)):
            shards[where()][part] += 1
    for number, shard in enumerate(shards):
        row: Item = {part: {"N": str(shard[part])} for part in PARTS}
        first: Item = {} if number else {"shelves": {"N": str(SHARDS)}}
        database.seed("Stock", {"sku": {"S": f"{sku}#{number}" if number else sku}, **row, **first})


def conflicting(times: int) -> Hook:
    """Return a hook that cancels the first `times` transactions with a conflict on their stock rows."""
    left = [None] * times

    def hook(name: str, given: Parameters) -> None:
        if name == "TransactWriteItems" and left:
            left.pop()
            tables = [write["TableName"] for item in given["TransactItems"] for write in item.values()]
            reasons = [{"Code": "TransactionConflict" if table == "Stock" else "None"} for table in tables]
            raise client_error(name, "TransactionCanceledException", "cancelled", CancellationReasons=reasons)

    return hook


def moved(stock: Stock, changes: Iterable[Move]) -> Stock:
    """Return the stock after these moves.

    Raises:
        InsufficientStock: a level would be negative.
    """
    after = dict(stock)
    for move in changes:
        level = after.get(move.sku, Level())
        after[move.sku] = Level(level.available + move.available, level.reserved + move.reserved, level.shipped + move.shipped)
    if any(min(level.available, level.reserved, level.shipped) < 0 for level in after.values()):
        raise InsufficientStock
    return after


def reserved(stock: Stock, lines: Sequence[StockLine]) -> Stock | tuple[Shortage, ...]:
    """Return the stock with all lines reserved, or the shortages."""
    short = stock_rules.shortages(lines, {line.sku: stock.get(line.sku, Level()).available for line in lines})
    return short or moved(stock, stock_rules.moves(Holding(), Holding(tuple(lines))))


def holding_of(order: Order) -> Holding:
    """Return the stock that an order holds according to its events."""
    return stock_rules.holding(order, stock_rules.reserved_lines(order), stock_rules.restocked_lines(order))


def _number(item: Item, part: str) -> int:
    return int(item.get(part, {}).get("N", 0))
