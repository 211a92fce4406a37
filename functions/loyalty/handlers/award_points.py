"""Gives a customer the points of a confirmed order, and takes back what is cancelled or paid back of it.

An event only wakes it. It looks at the order as it is now and brings the customer's points in line, so
deliveries may come twice, late and in any order, and a replay from the archive does no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loyalty.domain import point_rules
from loyalty.point_store import Award, PointStore
from orderflow.aws import settings
from orderflow.aws.batch import PartialFailures, each_change
from orderflow.aws.clients import client
from orderflow.aws.observability import logger, observed
from orderflow.aws.order_log import OrderLog

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
POINTS = PointStore(settings.required("LOYALTY_POINTS_TABLE"), client("dynamodb"))
POINTS_PER_UNIT = settings.optional_int("POINTS_PER_UNIT", 1)


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Bring the points of each order in the batch up to date; answer with the messages that failed."""
    return each_change(event, award)


def award(order_id: str, version: int | None = None) -> None:
    """Let the order's points be what it is worth now, or was at `version` at the least.

    Raises:
        OrderNotFound: there is no such order.
    """
    order = LOG.load(order_id, version)
    earned = Award(point_rules.points_due(order, POINTS_PER_UNIT), point_rules.version(order))
    new = POINTS.award(order.customer.id, order_id, earned)
    logger.info("points are in line" if new else "points were in line", points=earned.points)
