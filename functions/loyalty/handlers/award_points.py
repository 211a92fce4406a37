"""Sets the points of an order after an event that can change them.

The points depend on the present order and not on the event, so deliveries may be duplicated, late, out of order or replayed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loyalty.domain import point_rules
from loyalty.point_store import Award, PointStore
from orderflow.aws import settings
from orderflow.aws.batch import PartialFailures, process_order_versions
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented, logger
from orderflow.aws.order_log import OrderLog

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
POINTS = PointStore(settings.required("LOYALTY_POINTS_TABLE"), client("dynamodb"))
POINTS_PER_UNIT = settings.optional_int("POINTS_PER_UNIT", 1)


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Set the points of each order of the batch; return the messages that must be redelivered."""
    return process_order_versions(event, award)


def award(order_id: str, version: int | None = None) -> None:
    """Set the points of an order, read at `version` or later.

    Raises:
        OrderNotFound: the order does not exist.
    """
    order = LOG.load(order_id, version)
    earned = Award(point_rules.points_due(order, POINTS_PER_UNIT), point_rules.version(order))
    new = POINTS.award(order.customer.id, order_id, earned)
    logger.info("points_awarded" if new else "points_already_awarded", points=earned.points)
