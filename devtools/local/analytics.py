"""The figures of the orders of `make run`, once analytics counted them."""

from datetime import datetime
from typing import Any

from devtools import ui
from devtools.local.api_client import wait_until
from devtools.local.demo_output import Row
from devtools.ops import sales_report
from devtools.target import Target

# Counting takes seconds on the stream, and seconds more until the counts are aggregated.
COUNTED_SECONDS = 300.0


def counted(target: Target, placed: int, since: datetime) -> list[dict[str, Any]]:
    """Return the sales by minute since a time, once they have this many orders or the time is over."""
    found: list[dict[str, Any]] = []

    def complete() -> bool:
        found[:] = sales_report.aggregated(target, since)
        return sales_report.orders_of(found) >= placed

    with ui.stage("sales") as stage:
        wait_until(complete, COUNTED_SECONDS, pause=1.0)
        stage.detail = f"{sales_report.orders_of(found):,} orders counted"
    return found


def sales_row(placed: int, found: int) -> Row:
    """Return whether analytics counted these orders; there can be orders of other users."""
    return Row("orders counted by analytics", f"{placed} orders", f"{min(found, placed)} orders")
