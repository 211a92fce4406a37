"""`GET /analytics/leaderboard`: what sells best, for staff."""

from __future__ import annotations

from analytics import requests, rules
from analytics.store import Analytics
from orderflow import settings
from orderflow.clients import client
from orderflow.http import ApiEvent, Response, answer, api

ANALYTICS = Analytics(settings.required("ANALYTICS_TABLE"), client("dynamodb"))


@api
def handler(event: ApiEvent) -> Response:
    """Answer an API Gateway event with the products that it asks for, best first."""
    requests.staff(event)
    period, category, limit = requests.board(event)
    best = ANALYTICS.leaderboard(period, category)[:limit]
    return answer(200, requests.LeaderboardAnswer(best, None if period == rules.ALL else period, category or None))
