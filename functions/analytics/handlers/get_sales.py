"""`GET /analytics/sales`: orders, revenue, outcomes, refunds and stock-outs by minute or day, for staff."""

from __future__ import annotations

from datetime import UTC, datetime

from analytics import api_models
from analytics.store import AnalyticsStore
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api

ANALYTICS = AnalyticsStore(settings.required("ANALYTICS_TABLE"), client("dynamodb"))


@api
def handler(event: ApiEvent) -> Response:
    """Return the totals of the requested periods."""
    api_models.require_staff(event)
    wanted = api_models.period_range(event, datetime.now(UTC))
    found = [one for parent in wanted.parent_periods for one in ANALYTICS.totals(parent, wanted.first, wanted.last)]
    return answer(200, api_models.SalesAnswer(wanted.per, tuple(map(api_models.sales_of, found))))
