"""Invoked by an operator: rebuilds the order view, and the counts of unpaid orders, from the order log during new orders.

Each call works until shortly before its timeout and returns the request of the next call as `next`. First all rows are deleted, then
the log is read from its beginning, and each order's row is written unless the projection wrote a newer one meanwhile.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented
from orderflow.aws.order_log import OrderLog
from orders import view_rebuild
from orders.allowances import Allowances
from orders.summary_store import OrderView
from orders.view_rebuild import Stores

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

_client = client("dynamodb")
LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), _client)
VIEW = OrderView(settings.required("ORDER_VIEW_TABLE"), _client)
ALLOWANCES = Allowances(settings.required("ALLOWANCES_TABLE"))
# The longest review that can be set, and a week.
KEPT_FOR = timedelta(days=37)
# Enough for one more batch.
_RESERVE_MILLISECONDS = 20_000


@instrumented
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Return `more` with the request of the next call, or `rebuilt`, and how many rows this call deleted and wrote."""
    cursor = view_rebuild.parse_cursor(event)
    stores = Stores(LOG, VIEW, ALLOWANCES, _client, datetime.now(UTC) + KEPT_FOR)
    progress = view_rebuild.rebuild(stores, cursor, has_time=lambda: context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS)
    return msgspec.to_builtins(progress)
