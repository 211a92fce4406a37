"""`GET /analytics/sales`: orders, revenue, outcomes, refunds and stock-outs by minute or day, for staff."""

from __future__ import annotations

from datetime import UTC, datetime

from analytics import api_models
from analytics.store import Analytics
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api

ANALYTICS = Analytics(settings.required("ANALYTICS_TABLE"), client("dynamodb"))


@api
def handler(event: ApiEvent) -> Response:
    """Answer an API Gateway event with what the periods come to."""
    api_models.staff(event)
    wanted = api_models.stretch(event, datetime.now(UTC))
    found = [one for whole in wanted.wholes for one in ANALYTICS.parts(whole, wanted.first, wanted.last)]
    return answer(200, api_models.SalesAnswer(wanted.per, tuple(map(api_models.sales, found))))
