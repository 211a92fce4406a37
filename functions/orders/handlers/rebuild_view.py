"""Invoked by an operator: drops the list of orders and makes it again from the log, while orders go on.

A call does as much as its time allows and answers how to go on; the answer's `next` is the request
of the next call. First every row is dropped, then the log is read from its beginning: an order that is
in the log by then is found there, and one that comes later is projected onto a table that nobody
empties any more. Rows that projections wrote meanwhile stay where they are newer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import observed
from orderflow.aws.order_log import OrderLog
from orders import view_rebuild
from orders.summary_store import OrderView

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
VIEW = OrderView(settings.required("ORDER_VIEW_TABLE"), client("dynamodb"))
# Enough for the batch in hand.
_RESERVE_MILLISECONDS = 20_000


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer `more` with where to go on, or `rebuilt`, and how many rows were dropped and written in this call."""
    progress = view_rebuild.Rebuilding(LOG, VIEW).work(
        view_rebuild.request(event), goes_on=lambda: context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS
    )
    return msgspec.to_builtins(progress)
