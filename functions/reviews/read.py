"""`GET /reviews`: the orders that wait for a decision, for reviewers."""

from __future__ import annotations

from orderflow import cursor, settings
from orderflow.clients import client
from orderflow.http import ApiEvent, Response, answer, api
from reviews import requests
from reviews.store import Reviews

REVIEWS = Reviews(settings.required("REVIEWS_TABLE"), client("dynamodb"))


@api
def handler(event: ApiEvent) -> Response:
    """Answer an API Gateway event with a page of open reviews, oldest first."""
    requests.reviewer(event)
    found, last = REVIEWS.page(*requests.page(event))
    return answer(200, requests.OpenReviews(tuple(found), cursor.encode(last, "reviews") if last else None))
