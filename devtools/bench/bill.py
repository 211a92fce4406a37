"""The bill for a million orders at list prices, by billed item and by part of an order."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from devtools.bench import parts
from devtools.bench.cost import Counted
from devtools.target import ROOT

PRICES = ROOT / "devtools" / "prices.toml"

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


def bill(usage: Mapping[str, float], orders: int) -> list[Item]:
    """Return the bill for a million orders with the average usage of these `orders`."""
    prices = tomllib.loads(PRICES.read_text("utf-8"))
    million, gb = 1e6, 1024.0**3
    rates = {
        "API requests": prices["api"]["rest_requests_million"] / million,
        "bytes out": prices["transfer"]["out_gb"] / gb,
        "invocations": prices["lambda"]["requests_million"] / million,
        "Lambda GB-seconds": prices["lambda"]["gb_second"],
        "DynamoDB write units": prices["dynamodb"]["write_units_million"] / million,
        "DynamoDB read units": prices["dynamodb"]["read_units_million"] / million,
        "events": prices["events"]["custom_events_million"] / million,
        "stream units": prices["kinesis"]["put_units_million"] / million,
        "bytes archived": prices["firehose"]["ingested_gb"] / gb,
        "bytes partitioned": prices["firehose"]["partitioned_gb"] / gb,
        "Express requests": prices["states"]["express_requests_million"] / million,
        "Express GB-seconds": prices["states"]["express_gb_second"],
        "log bytes": prices["logs"]["ingested_gb"] / gb,
        "X-Ray traces": prices["xray"]["traces_million"] / million,
        "SNS requests": prices["sns"]["requests_million"] / million,
        "SQS requests": prices["sqs"]["requests_million"] / million,
        "S3 PUT requests": prices["s3"]["put_requests_million"] / million,
        "S3 GET requests": prices["s3"]["get_requests_million"] / million,
        "Secrets Manager calls": prices["secretsmanager"]["calls_million"] / million,
        "AppConfig requests": prices["appconfig"]["requests_million"] / million,
        "emails": prices["ses"]["mails_million"] / million,
    }
    items = [Item(what, usage[what] / orders, usage[what] / orders * rate * million) for what, rate in rates.items() if usage.get(what)]
    return sorted(items, key=lambda item: -item.dollars)


def by_part(counted: Counted) -> dict[str, dict[str, float]]:
    """Return dollars for a million orders by part, most expensive first, each by group of billed items."""
    sums: dict[str, dict[str, float]] = {}
    for part, used in counted.usage.items():
        if part not in parts.APART and any(used.values()):
            sums[part] = dict.fromkeys(GROUPS, 0.0)
            for item in bill(used, counted.orders):
                sums[part][_group(item.what)] += item.dollars
    return dict(sorted(sums.items(), key=lambda one: -sum(one[1].values())))


def _group(what: str) -> str:
    return next((group for group, members in GROUPS.items() if what in members), OTHERS)
