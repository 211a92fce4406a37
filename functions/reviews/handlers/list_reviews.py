"""`GET /reviews`: lists the open reviews, for reviewers."""

from __future__ import annotations

from orderflow.aws import cursor, settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api
from reviews import api_models
from reviews.review_store import ReviewStore

REVIEWS = ReviewStore(settings.required("REVIEWS_TABLE"), client("dynamodb"))


@api
def handler(event: ApiEvent) -> Response:
    """Return 200 with a page of open reviews, oldest first."""
    api_models.require_reviewer(event)
    reviews, last = REVIEWS.list_open(*api_models.parse_page(event))
    return answer(200, api_models.OpenReviews(tuple(reviews), cursor.encode(last, "reviews") if last else None))
