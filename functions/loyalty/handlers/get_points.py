"""`GET /points`: the points of the caller."""

from __future__ import annotations

from loyalty.api_models import PointsAnswer
from loyalty.point_store import PointStore
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api, caller

POINTS = PointStore(settings.required("LOYALTY_POINTS_TABLE"), client("dynamodb"))


@api
def handler(event: ApiEvent) -> Response:
    """Return the caller's points."""
    return answer(200, PointsAnswer(POINTS.balance(caller(event).customer_id)))
