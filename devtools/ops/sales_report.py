"""`make sold`: what sells best today, and the revenue of the last minutes, as staff see them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from devtools import cli, ui
from devtools import target as targets
from devtools.cli import UserError
from devtools.local.api_client import Shop, wait_until
from devtools.target import Target
from orderflow.domain.money import Money, format_money

# One of the staff: `seed.GROUPS`.
WHO = "sue"
BEST = 5
MINUTES = 10
BAR = 40
EIGHTHS = " ▏▎▍▌▋▊▉"
# A machine may be slow: from the stream to what is counted, and from there to the sums, it takes seconds.
COUNTED_SECONDS = 300.0


def ask(shop: Shop, path: str) -> dict[str, Any]:
    """What staff are answered below `/analytics`. Raises UserError for anything but 200."""
    answer = shop.call("GET", f"/analytics/{path}", WHO)
    if answer.status != 200:
        raise UserError(f"GET /analytics/{path} answered {answer.status}: {answer.body.decode(errors='replace')}")
    return answer.json()


def summed_up(target: Target, orders: int = 0, since: datetime | None = None) -> list[dict[str, Any]]:
    """What the minutes since then, or the last ones, come to, as soon as so many orders are counted in them or it takes too long."""
    found: list[dict[str, Any]] = []
    shop, begin = Shop(target), f"&from={since:%Y-%m-%dT%H:%M}" if since else ""

    def counted() -> bool:
        target.client("lambda").invoke(FunctionName=target.resources["AnalyticsAggregate"], Payload=b"{}")
        found[:] = ask(shop, f"sales?per=minute{begin}")["sales"]
        return orders_of(found) >= orders

    with ui.stage("what is sold") as stage:
        wait_until(counted, COUNTED_SECONDS, pause=1.0)
        stage.detail = f"{orders_of(found):,} orders counted"
    return found


def orders_of(sales: Sequence[dict[str, Any]]) -> int:
    """How many orders were placed in these periods."""
    return sum(one["orders"] for one in sales)


def leaderboard(products: Sequence[dict[str, Any]]) -> RenderableType:
    """The best sellers with a bar each."""
    return _bars([(one["sku"], one["units"], f"{one['units']:,}") for one in products])


def revenue(sales: Sequence[dict[str, Any]]) -> RenderableType:
    """The revenue of each of the last minutes with a bar, one chart for each currency."""
    latest = sales[-MINUTES:]
    currencies = sorted({money["currency"] for one in latest for money in one["revenue"]})
    return Group(*(_bars(_rows(latest, currency)) for currency in currencies))


def _rows(sales: Sequence[dict[str, Any]], currency: str) -> list[tuple[str, int, str]]:
    amounts = {one["period"]: sum(money["amount"] for money in one["revenue"] if money["currency"] == currency) for one in sales}
    return [(period.partition("T")[2], amount, format_money(Money(amount, currency))) for period, amount in amounts.items()]


def _bars(rows: Sequence[tuple[str, int, str]]) -> Table:
    shown = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for justify in ("left", "right", "left"):
        shown.add_column(justify=justify, no_wrap=True)
    most = max((amount for _, amount, _ in rows), default=0)
    for name, amount, text in rows:
        shown.add_row(Text(f"  {name}"), Text(text), Text(bar(amount, most), "cyan"))
    return shown


def bar(amount: int, most: int) -> str:
    """A bar as long as an amount is large, in eighths of a character; the largest is `BAR` long."""
    eighths = BAR * 8 * max(amount, 0) // most if most > 0 else 0
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def show(target: Target, sales: Sequence[dict[str, Any]]) -> None:
    """Print what sells best, and the revenue of these minutes."""
    ui.headline("Best sellers")
    ui.console.print(leaderboard(ask(Shop(target), f"leaderboard?limit={BEST}")["products"]))
    ui.headline("Revenue by the minute (UTC)")
    ui.console.print(revenue(sales))


def main() -> int:
    """Print what is sold."""
    target = targets.from_environment()
    show(target, summed_up(target))
    return 0


if __name__ == "__main__":
    cli.run(main)
