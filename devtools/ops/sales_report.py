"""Print today's best sellers and the revenue of the last minutes.

The functions behind `GET /analytics/…` are invoked as API Gateway would for a member of staff: an operator needs no bearer token.
"""

import json
import time
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from devtools import target as targets
from devtools import ui
from devtools.cli import UserError
from devtools.target import Target
from orderflow.domain.money import Money, format_money

BEST = 5
MINUTES = 10
BAR = 40
EIGHTHS = " ▏▎▍▌▋▊▉"
OPERATOR = {"customer_id": "operator", "email": "operator@example.com", "groups": "staff"}
# Longer than a request takes; the authorizer sets the token's expiry here.
VALID_SECONDS = 300
# Longer than the function may run: it continues when its caller stops waiting.
AGGREGATE_SECONDS = 200


def sales(target: Target, **query: str) -> list[dict[str, Any]]:
    """Return the periods of `GET /analytics/sales` with these query parameters, for instance `per="minute"`. Raises UserError."""
    return _get(target, "AnalyticsSales", "/analytics/sales", query)["sales"]


def best_sellers(target: Target, limit: int) -> list[dict[str, Any]]:
    """Return the products of `GET /analytics/leaderboard`, best first. Raises UserError."""
    return _get(target, "AnalyticsLeaderboard", "/analytics/leaderboard", {"limit": str(limit)})["products"]


def _get(target: Target, function: str, path: str, query: dict[str, str]) -> dict[str, Any]:
    caller = OPERATOR | {"expires_at": str(int(time.time()) + VALID_SECONDS)}
    event = {
        "resource": path,
        "path": path,
        "httpMethod": "GET",
        "headers": {},
        "queryStringParameters": query,
        "requestContext": {"requestId": str(uuid4()), "authorizer": caller},
    }
    answer = target.invoke(function, event)
    if answer["statusCode"] != 200:
        raise UserError(f"GET {path} answered {answer['statusCode']}: {answer['body']}")
    return json.loads(answer["body"])


def aggregated(target: Target, since: datetime | None = None) -> list[dict[str, Any]]:
    """Aggregate all counted events and return the sales by minute since a time, or of the last hour."""
    target.invoke("AnalyticsAggregate", {}, seconds=AGGREGATE_SECONDS)
    return sales(target, per="minute", **({"from": f"{since:%Y-%m-%dT%H:%M}"} if since else {}))


def orders_of(periods: Sequence[dict[str, Any]]) -> int:
    """Return how many orders were placed in these periods."""
    return sum(one["orders"] for one in periods)


def leaderboard(products: Sequence[dict[str, Any]]) -> RenderableType:
    """Return the best sellers as a bar chart."""
    return _bars([(one["sku"], one["units"], f"{one['units']:,}") for one in products])


def revenue(periods: Sequence[dict[str, Any]]) -> RenderableType:
    """Return the revenue of the last minutes as one bar chart for each currency."""
    latest = periods[-MINUTES:]
    currencies = sorted({money["currency"] for one in latest for money in one["revenue"]})
    return Group(*(_bars(_rows(latest, currency)) for currency in currencies))


def _rows(periods: Sequence[dict[str, Any]], currency: str) -> list[tuple[str, int, str]]:
    amounts = {one["period"]: sum(money["amount"] for money in one["revenue"] if money["currency"] == currency) for one in periods}
    return [(period.partition("T")[2], amount, format_money(Money(amount, currency))) for period, amount in amounts.items()]


def _bars(rows: Sequence[tuple[str, int, str]]) -> Table:
    grid = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for justify in ("left", "right", "left"):
        grid.add_column(justify=justify, no_wrap=True)
    most = max((amount for _, amount, _ in rows), default=0)
    for name, amount, text in rows:
        grid.add_row(Text(f"  {name}"), Text(text), Text(bar(amount, most), "cyan"))
    return grid


def bar(amount: int, most: int) -> str:
    """Return a bar for an amount, to an eighth of a character; the bar of the largest amount has `BAR` characters."""
    eighths = BAR * 8 * max(amount, 0) // most if most > 0 else 0
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def show(target: Target, periods: Sequence[dict[str, Any]]) -> None:
    """Print the best sellers, and the revenue of these minutes."""
    ui.headline("Best sellers")
    ui.console.print(leaderboard(best_sellers(target, BEST)))
    ui.headline("Revenue by the minute (UTC)")
    ui.console.print(revenue(periods))


def main(arguments: Namespace) -> None:
    """Print the report."""
    target = targets.chosen(arguments.stack)
    with ui.stage("sales") as stage:
        periods = aggregated(target)
        stage.detail = f"{orders_of(periods):,} orders counted"
    show(target, periods)
