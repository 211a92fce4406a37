"""The executions that wait for decisions: what the table says of them, brought in line with the order log."""

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

# The execution has gone on, or ended, without the answer.
_NOT_WAITING = {"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"}


class Executions:
    """The executions of the workflow, as far as they are looked at and answered from here."""

    def __init__(self, client: SFNClient) -> None:
        """Speak to Step Functions through `client`."""
        self._client = client

    def is_running(self, execution: str) -> bool:
        """Tell whether an execution (ARN) has not ended."""
        try:
            return self._client.describe_execution(executionArn=execution)["status"] == "RUNNING"
        except ClientError as error:
            if _code(error) != "ExecutionDoesNotExist":
                raise
            return False

    def resume(self, token: str) -> None:
        """Let the execution go on that waits under this token, if one still does."""
        try:
            self._client.send_task_success(taskToken=token, output=msgspec.json.encode({"outcome": "closed"}).decode())
        except ClientError as error:
            if _code(error) not in _NOT_WAITING:
                raise
            logger.info("nobody waits any more", why=_code(error))


class ReviewService:
    """Where held orders wait: their logs, the table, and the executions that wait."""

    def __init__(self, log: OrderLog, reviews: ReviewStore, executions: Executions) -> None:
        """Work with these. Every method raises OrderNotFound for an order that there is not."""
        self._log = log
        self._reviews = reviews
        self._executions = executions

    def open(self, order_id: str, execution: str) -> OpenOutcome:
        """Put a held order on the list for this execution, and tell whether it is the one that has to wait.

        An order is `taken` where another execution waits for it: events come more than once. Where that
        one has failed, this one takes its place.
        """
        order = self._log.load(order_id)
        if order.state != "held" or order.screening is None:
            return "decided"
        review = Review(order_id, datetime.now(UTC), order.total, order.screening.score, order.screening.reasons)
        holder = self._reviews.claim(review, execution)
        if holder == execution:
            return "opened"
        if self._executions.is_running(holder):
            return "taken"
        return "opened" if self._reviews.take_over(order_id, holder, execution) else "taken"

    def store_task_token(self, order_id: str, execution: str, token: str) -> WaitOutcome:
        """Keep the token under which this execution waits, or let it go on at once where there is nothing to wait for.

        The token is written before the log is read: a decision that is not seen here finds the token.
        """
        if not self._reviews.store_task_token(order_id, execution, token):
            self._executions.resume(token)
            return "closed"
        return self.close(order_id)

    def close(self, order_id: str) -> WaitOutcome:
        """Take an order that is not held any more off the list, and let the execution that waits for it go on."""
        if self._log.load(order_id).state == "held":
            return "waiting"
        token = self._reviews.close(order_id, datetime.now(UTC))
        if token:
            self._executions.resume(token)
        return "closed"


def expire(log: OrderLog, order_id: str) -> ExpireOutcome:
    """Refuse an order on which nobody decided in time, unless somebody has.

    Raises:
        OrderNotFound: there is no such order.
        Conflict: others kept appending to it.
    """
    order = log.record(log.load(order_id), RejectReview("", timed_out=True), source="reviews")
    return "timed_out" if order.failure and order.failure.reason == "review_timed_out" else "decided"


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
