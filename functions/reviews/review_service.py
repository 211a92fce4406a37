"""The review workflow: opens and closes reviews of held orders, and resumes the executions that wait for them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec
from botocore.exceptions import ClientError

from orderflow.aws.observability import logger
from orderflow.domain.commands import RejectReview
from reviews.review_store import Review

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

    from orderflow.aws.order_log import OrderLog
    from reviews.review_store import ReviewStore

type OpenOutcome = Literal["opened", "taken", "decided"]
type WaitOutcome = Literal["waiting", "closed"]
type ExpireOutcome = Literal["timed_out", "decided"]

# The execution no longer waits with this token.
_NOT_WAITING = {"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"}


class Executions:
    """Executions of the review workflow in Step Functions."""

    def __init__(self, client: SFNClient) -> None:
        """Use this Step Functions client."""
        self._client = client

    def is_running(self, execution: str) -> bool:
        """Return whether the execution with this ARN is running."""
        try:
            return self._client.describe_execution(executionArn=execution)["status"] == "RUNNING"
        except ClientError as error:
            if _code(error) != "ExecutionDoesNotExist":
                raise
            return False

    def resume(self, token: str) -> None:
        """Resume the execution that waits with this task token, if it still does."""
        try:
            self._client.send_task_success(taskToken=token, output=msgspec.json.encode({"outcome": "closed"}).decode())
        except ClientError as error:
            if _code(error) not in _NOT_WAITING:
                raise
            logger.info("execution_not_waiting", reason=_code(error))


class ReviewService:
    """Opens and closes reviews of held orders, and resumes the executions that wait for them."""

    def __init__(self, log: OrderLog, reviews: ReviewStore, executions: Executions) -> None:
        """Use the order log, the reviews and their executions. Every method raises OrderNotFound for an unknown order."""
        self._log = log
        self._reviews = reviews
        self._executions = executions

    def open(self, order_id: str, execution: str) -> OpenOutcome:
        """Open the review of a held order for this execution, and return whether the execution has to wait.

        The order is `taken` if another running execution waits for it, because events are delivered more than
        once. If that execution has ended, this one takes over.
        """
        order = self._log.load(order_id)
        if order.state != "held" or order.screening is None:
            return "decided"
        review = Review(order_id, datetime.now(UTC), order.total, order.screening.score, order.screening.reasons)
        owner = self._reviews.claim(review, execution)
        if owner == execution:
            return "opened"
        if self._executions.is_running(owner):
            return "taken"
        return "opened" if self._reviews.take_over(order_id, owner, execution) else "taken"

    def store_task_token(self, order_id: str, execution: str, token: str) -> WaitOutcome:
        """Store the execution's task token, or resume it at once if there is no decision to wait for.

        The token is written before the log is read, so a decision that this read misses finds the token.
        """
        if not self._reviews.store_task_token(order_id, execution, token):
            self._executions.resume(token)
            return "closed"
        return self.close(order_id)

    def close(self, order_id: str) -> WaitOutcome:
        """Close the review of an order that is no longer held, and resume the waiting execution."""
        if self._log.load(order_id).state == "held":
            return "waiting"
        token = self._reviews.close(order_id, datetime.now(UTC))
        if token:
            self._executions.resume(token)
        return "closed"


def expire(log: OrderLog, order_id: str) -> ExpireOutcome:
    """Reject an order whose review timed out, unless it is decided.

    Raises:
        OrderNotFound: there is no such order.
        Conflict: every attempt lost against a concurrent append.
    """
    order = log.record(log.load(order_id), RejectReview("", timed_out=True), source="reviews").order
    return "timed_out" if order.failure and order.failure.reason == "review_timed_out" else "decided"


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
