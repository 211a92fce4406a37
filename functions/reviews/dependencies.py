"""Clients and services that the review workflow's functions share, created once at import."""

from __future__ import annotations

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.order_log import OrderLog
from orderflow.aws.saga_step import StepInput
from reviews.review_service import Executions, ReviewService
from reviews.review_store import ReviewStore

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
REVIEW_SERVICE = ReviewService(
    LOG, ReviewStore(settings.required("REVIEWS_TABLE"), client("dynamodb")), Executions(client("stepfunctions"))
)


class ReviewStepInput(StepInput):
    """Input of a review workflow's step; `execution` is the execution's ARN."""

    execution: str
