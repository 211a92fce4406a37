"""The bill for a million orders at list prices, by billed item and by part of an order."""

from collections.abc import Mapping
from dataclasses import dataclass

from devtools import prices
from devtools.billing import parts
from devtools.billing.usage import Counted

OTHERS = "others"
GROUPS: dict[str, tuple[str, ...]] = {
    "DynamoDB": ("DynamoDB write units", "DynamoDB read units"),
    "events": ("events", "stream units", "bytes archived", "bytes partitioned"),
    "API": ("API requests", "bytes out"),
    "SQS": ("SQS requests",),
    "Lambda": ("invocations", "Lambda GB-seconds"),
    "logs": ("log bytes",),
    OTHERS: (),
}


@dataclass(frozen=True)
class Item:
    """A line of the bill: the billed item, its quantity for an order, and dollars for a million orders."""

    what: str
    quantity: float
    dollars: float


def bill(usage: Mapping[str, float], orders: int = 1) -> list[Item]:
    """Return the bill for a million orders with the average usage of these `orders`."""
    rates = prices.rates()
    items = [Item(what, usage[what] / orders, usage[what] / orders * rate * 1_000_000) for what, rate in rates.items() if usage.get(what)]
    return sorted(items, key=lambda item: -item.dollars)


def by_part(counted: Counted) -> dict[str, dict[str, float]]:
    """Return dollars for a million orders by part, most expensive first, each by group of billed items."""
    sums: dict[str, dict[str, float]] = {}
    for part, used in counted.usage.items():
        if part not in parts.APART and any(used.values()):
            sums[part] = dict.fromkeys(GROUPS, 0.0)
            for item in bill(used):
                sums[part][_group(item.what)] += item.dollars
    return dict(sorted(sums.items(), key=lambda one: -sum(one[1].values())))


def _group(what: str) -> str:
    return next((group for group, members in GROUPS.items() if what in members), OTHERS)
