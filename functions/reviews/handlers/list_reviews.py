"""`GET /reviews`: lists the open reviews, for reviewers."""

from __future__ import annotations

from orderflow.aws import paging, settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api
from reviews import api_models
from reviews.review_store import ReviewStore

REVIEWS = ReviewStore(settings.required("REVIEWS_TABLE"), client("dynamodb"))


@api
def handler(event: ApiEvent) -> Response:
    """Return 200 with a page of open reviews, oldest first."""
    api_models.require_reviewer(event)
    reviews, last = REVIEWS.list_open(*paging.parse_page(event, "reviews"))
    return answer(200, api_models.OpenReviews(tuple(reviews), paging.next_cursor(last, "reviews")))
