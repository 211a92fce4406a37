"""`GET /analytics/sales`: orders, revenue, outcomes, refunds and stock-outs by minute or day, for staff."""

from __future__ import annotations

from datetime import UTC, datetime

from analytics import requests
from analytics.store import Analytics
from orderflow import settings
from orderflow.clients import client
from orderflow.http import ApiEvent, Response, answer, api

ANALYTICS = Analytics(settings.required("ANALYTICS_TABLE"), client("dynamodb"))


@api
def handler(event: ApiEvent) -> Response:
    """Answer an API Gateway event with what the periods come to."""
    requests.staff(event)
    wanted = requests.stretch(event, datetime.now(UTC))
    found = [one for whole in wanted.wholes for one in ANALYTICS.parts(whole, wanted.first, wanted.last)]
    return answer(200, requests.SalesAnswer(wanted.per, tuple(map(requests.sales, found))))
