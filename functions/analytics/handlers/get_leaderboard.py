"""`GET /analytics/leaderboard`: the best sellers, for staff."""

from __future__ import annotations

from analytics import api_models
from analytics.domain import counting_rules
from analytics.store import AnalyticsStore
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api

ANALYTICS = AnalyticsStore(settings.required("ANALYTICS_TABLE"), client("dynamodb"))


@api
def handler(event: ApiEvent) -> Response:
    """Return the requested products, best first."""
    api_models.require_staff(event)
    period, category, limit = api_models.leaderboard_query(event)
    best = ANALYTICS.leaderboard(period, category)[:limit]
    return answer(200, api_models.LeaderboardAnswer(best, None if period == counting_rules.ALL else period, category or None))
