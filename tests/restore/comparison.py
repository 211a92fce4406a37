"""Compares two stacks that have the same order log, table by table."""

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

# Attributes that follow from the time of the write, which a rebuilt row does not share.
TIME_ATTRIBUTES = {"LedgerEntries": {"posted_at", "sheet"}, "Reservations": {"reserved_at"}}
# Tables whose contents are not in the log. They are restored from a point in time, or not at all (docs/restore.md).
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
# Tables whose layout depends on the time or the order of writes, so that only their contents are compared.
BY_CONTENT = frozenset({"OrderLog", "Stock", "Allowances", "AnalyticsSums", "LedgerBalances"})
BY_ROW = tuple(table for table in TABLES if table.name not in NOT_REBUILT | BY_CONTENT)

type Rows = Iterator[tuple[str, Any]]
type Audit = Callable[[], Mapping[str, Any]]


def differences(original: Aws, rebuilt: Aws, audits: tuple[Audit, Audit], *, most: int = 5) -> dict[str, list[str]]:
    """Return up to `most` differences of each table and of the invoice documents, by name; equal tables are omitted."""
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
    """Yield differences of a table's rows. Each row is looked up in the other stack, so that no large table is in memory."""
    ignored = TIME_ATTRIBUTES.get(table.name, set[str]())
    for here, there, which in ((original, rebuilt, "missing"), (rebuilt, original, "new")):
        found = 0
        for row in here.dynamodb.each(table.name):
            other = there.dynamodb.client.get_item(TableName=table.name, Key={name: row[name] for name in table.key}).get("Item")
            if other is None:
                yield f"{which}: {row}"
            elif which == "missing" and _without(row, ignored) != _without(other, ignored):
                yield f"{_without(other, ignored)}, was {_without(row, ignored)}"
            else:
                continue
            found += 1
            if found == most:
                return


def _without(row: Mapping[str, Any], ignored: set[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ignored}


def _differing(before: Mapping[Any, Any], after: Mapping[Any, Any], most: int) -> list[str]:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [f"{name}: {after.get(name)}, was {before.get(name)}" for name in names[:most]]


def _events(aws: Aws) -> dict[str, int]:
    """Return a hash of every event by id."""
    rows = aws.dynamodb.each("OrderLog")
    return {f"{row['order_id']['S']}:{row['version']['N']}": hash(row["event"]["S"]) for row in rows}


def _stock(aws: Aws) -> dict[str, dict[str, int]]:
    """Return the units of each product, summed over its shards."""
    sums: dict[str, Counter[str]] = {}
    for row in aws.dynamodb.each("Stock"):
        units = {name: int(row[name]["N"]) for name in ("available", "reserved", "shipped") if name in row}
        sums.setdefault(row["sku"]["S"].partition("#")[0], Counter()).update(units)
    return {sku: {name: number for name, number in units.items() if number} for sku, units in sums.items()}


def _allowances(original: Aws, rebuilt: Aws) -> Iterator[str]:
    """Yield differences between the counts of unpaid orders and the log. The original rows may also count paid orders."""
    before = {row["customer_id"]["S"]: row for row in original.dynamodb.each("Allowances")}
    log, unpaid = OrderLog("OrderLog", rebuilt.dynamodb.client), dict[str, list[Order]]()
    for row in rebuilt.dynamodb.each("OrderLog"):
        # Only active or held orders can be unpaid.
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
    """Return counts by event, totals by period, units by product, and leaderboards, regardless of their storage."""
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
    """Return a hash of every document that an invoice refers to; conflicts over a number leave others in the bucket."""
    referred = {row["document"]["S"] for row in aws.dynamodb.each("Invoices")}
    return {key: hash(body) for (_, key), body in aws.s3.objects.items() if key in referred}
