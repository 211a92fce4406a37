"""What two stacks with the same order log have to have in common, table by table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from analytics import items
from analytics.domain import counting_rules
from orderflow.aws.order_log import OrderLog
from orderflow.domain.order import Order
from orders.domain.unpaid_limits import is_unpaid
from tests.fakes.aws.environment import TABLES, Aws

# Attributes that tell when a row was written, and not what of the order: a rebuilt row has its own.
WRITTEN = {"LedgerEntries": {"posted_at", "sheet"}, "Reservations": {"reserved_at"}}
# What the log does not contain. These tables are restored from a point in time, or not at all (docs/restore.md).
NOT_REBUILT = frozenset(
    {
        "Catalogue",
        "PaymentTokens",
        "PaymentRoutes",
        "StripePayments",
        "SandboxPayments",
        "SandboxShipments",
        "Tracking",
        "Reviews",
        "MailIdempotency",
        "Remediations",
    }
)
# Tables that are compared by their contents, because their layout depends on the time or the order of writes.
BY_CONTENT = frozenset({"OrderLog", "Stock", "Allowances", "AnalyticsSums", "LedgerBalances"})
BY_ROW = tuple(table for table in TABLES if table.name not in NOT_REBUILT | BY_CONTENT)

type Rows = Iterator[tuple[str, Any]]
type Audit = Callable[[], Mapping[str, Any]]


def differences(original: Aws, rebuilt: Aws, audits: tuple[Audit, Audit], *, most: int = 5) -> dict[str, list[str]]:
    """Return up to `most` differences of each table, and of the invoice documents, by name; nothing where there are none."""
    found = {table.name: list(_rows(original, rebuilt, table, most)) for table in BY_ROW}
    found |= {
        "OrderLog": _differing(_events(original), _events(rebuilt), most),
        "Stock": _differing(_stock(original), _stock(rebuilt), most),
        "Allowances": list(_allowances(original, rebuilt)),
        "AnalyticsSums": _differing(_analytics(original), _analytics(rebuilt), most),
        "LedgerBalances": _differing(dict(audits[0]()), dict(audits[1]()), most),
        "InvoiceDocuments": _differing(_documents(original), _documents(rebuilt), most),
    }
    return {name: some for name, some in found.items() if some}


def row_counts(aws: Aws) -> dict[str, int]:
    """Return the number of rows of every compared table."""
    return {table.name: sum(1 for _ in aws.dynamodb.each(table.name)) for table in TABLES if table.name not in NOT_REBUILT}


def _rows(original: Aws, rebuilt: Aws, table: Any, most: int) -> Iterator[str]:
    """Yield differences of a table's rows: each is looked up in the other stack, so that a large table is never in memory."""
    ignored = WRITTEN.get(table.name, set[str]())
    for here, there, which in ((original, rebuilt, "missing"), (rebuilt, original, "new")):
        found = 0
        for row in here.dynamodb.each(table.name):
            other = there.dynamodb.client.get_item(TableName=table.name, Key={name: row[name] for name in table.key}).get("Item")
            if other is None:
                yield f"{which}: {row}"
            elif which == "missing" and _kept(row, ignored) != _kept(other, ignored):
                yield f"{_kept(other, ignored)}, was {_kept(row, ignored)}"
            else:
                continue
            found += 1
            if found == most:
                return


def _kept(row: Mapping[str, Any], ignored: set[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ignored}


def _differing(before: Mapping[Any, Any], after: Mapping[Any, Any], most: int) -> list[str]:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [f"{name}: {after.get(name)}, was {before.get(name)}" for name in names[:most]]


def _events(aws: Aws) -> dict[str, int]:
    """Return a hash of every event by id."""
    rows = aws.dynamodb.each("OrderLog")
    return {f"{row['order_id']['S']}:{row['version']['N']}": hash(row["event"]["S"]) for row in rows}


def _stock(aws: Aws) -> dict[str, dict[str, int]]:
    """Return the pieces of each product over all of its shards."""
    sums: dict[str, Counter[str]] = {}
    for row in aws.dynamodb.each("Stock"):
        pieces = {name: int(row[name]["N"]) for name in ("available", "reserved", "shipped") if name in row}
        sums.setdefault(row["sku"]["S"].partition("#")[0], Counter()).update(pieces)
    return {sku: {name: number for name, number in pieces.items() if number} for sku, pieces in sums.items()}


def _allowances(original: Aws, rebuilt: Aws) -> Iterator[str]:
    """Yield differences of the counts of unpaid orders from the log. The original rows may count paid orders as well."""
    before = {row["customer_id"]["S"]: row for row in original.dynamodb.each("Allowances")}
    log, unpaid = OrderLog("OrderLog", rebuilt.dynamodb.client), dict[str, list[Order]]()
    for row in rebuilt.dynamodb.each("OrderLog"):
        # Orders that may be unpaid have the marker of an active or held order in the original.
        if row["version"]["N"] == "1" and is_unpaid(order := log.load(row["order_id"]["S"])):
            unpaid.setdefault(order.customer.id, []).append(order)
    after = {row["customer_id"]["S"]: row for row in rebuilt.dynamodb.each("Allowances")}
    if after.keys() != unpaid.keys():
        yield f"customers {sorted(after.keys() ^ unpaid.keys())[:5]}"
    for customer, row in after.items():
        wanted = Counter[str]()
        for line in (line for order in unpaid.get(customer, []) for line in order.lines):
            wanted[f"units:{line.sku}"] += line.quantity
        counted = {name: int(value["N"]) for name, value in row.items() if name.startswith("units:")}
        ids = set(row["orders"]["SS"])
        if counted != wanted or ids != {order.order_id for order in unpaid.get(customer, [])}:
            yield f"{customer}: {row}, wanted {wanted}"
        if customer not in before or not ids <= set(before[customer]["orders"]["SS"]):
            yield f"{customer}: {sorted(ids)}, was {before.get(customer)}"


def _analytics(aws: Aws) -> dict[str, Any]:
    """Return counts by event, totals by period, units by product, and leaderboards: not how they are stored."""
    found: dict[str, Any] = {}
    for row in aws.dynamodb.each("AnalyticsSums"):
        period, place = row["period"]["S"], row["place"]["S"]
        if period == items.JOURNAL:
            continue
        if period == items.NEW:
            found[f"pending {place}"] = True
        elif period.startswith("board"):
            found[f"board {place}"] = items.leaderboard(row)
        elif period.startswith("products/"):
            found |= {f"{period} {sku}": units for sku, units in items.product_range(row).units.items()}
        elif len(period) == counting_rules.MINUTE:
            found |= {f"count {one.event_id}": hash(json.dumps([one.minute, one.counters])) for one in items.count_batch(row).counts}
        else:
            found[f"total {period} {place}"] = items.total(row).counters
    return found


def _documents(aws: Aws) -> dict[str, int]:
    """Return a hash of every document that a row names: documents of a number that another order took first are not."""
    named = {row["document"]["S"] for row in aws.dynamodb.each("Invoices")}
    return {key: hash(body) for (_, key), body in aws.s3.objects.items() if key in named}
