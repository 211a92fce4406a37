"""The review workflow: open, wait, close, time out, and the list of open reviews."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

from orderflow.domain.commands import ApproveReview, Refusal, RejectReview, RequestCancellation, decide
from orderflow.domain.money import Money
from orderflow.domain.order import evolve
from reviews import dependencies
from reviews.handlers import close_review, expire_review, list_reviews, open_review, store_task_token
from reviews.review_store import RETENTION, Review, ReviewStore
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB, crash_at
from tests.fakes.aws.environment import TABLES
from tests.support import orders, samples
from tests.support.prepared import advance, place

LOG = dependencies.LOG
ENDS = {"approved": ApproveReview("rex"), "rejected": RejectReview("rex"), "cancelled": RequestCancellation("customer")}
type Run = Callable[..., str]


@pytest.fixture
def run(aws: Any, context: Any) -> Run:
    def invoke(step: ModuleType, execution: str = "one", token: str = "token-1", order_id: str = "ord_1") -> str:
        if step is store_task_token:
            aws.stepfunctions.waiting.add(token)
        event = {"order_id": order_id, "correlation_id": "correlation-1", "execution": execution, "token": token}
        return step.handler(event, context)["outcome"]

    return invoke


def id_of(number: int) -> str:
    return f"ord_{number:026}"


def hold(order_id: str = "ord_1") -> None:
    place(LOG, order_id, lines={"ESPRESSO-PRO": 1})
    advance(LOG, order_id, "inventory.handlers.reserve_stock", "fraud.handlers.screen_order")


def record(command: Any, order_id: str = "ord_1") -> None:
    LOG.record(LOG.load(order_id), command, source="tests")


def listed(aws: Any) -> list[str]:
    return [row["order_id"]["S"] for row in aws.dynamodb.items("Reviews") if "list" in row]


def delivered(order_id: str = "ord_1") -> dict[str, Any]:
    event = LOG.history(order_id)[-1]
    detail = {"order_id": order_id, "correlation_id": event.correlation_id, "event_id": event.event_id}
    message = samples.sample("reviews/close_review/timed-out")
    message["Records"][0]["body"] = json.dumps({"detail": detail})
    return message


class TestOpenReview:
    def test_held_order_is_listed_without_personal_data(self, run: Run, aws: Any) -> None:
        hold()

        assert run(open_review) == "opened"

        [row] = aws.dynamodb.items("Reviews")
        assert (row["amount"], row["currency"], row["execution"]) == ({"N": "289900"}, {"S": "EUR"}, {"S": "one"})
        assert "ann" not in json.dumps(row)

    def test_same_execution_opens_the_review_again(self, run: Run, aws: Any) -> None:
        hold()
        aws.stepfunctions.running.add("one")

        assert [run(open_review), run(open_review)] == ["opened", "opened"]
        assert aws.stepfunctions.calls["DescribeExecution"] == 0

    def test_second_execution_gets_taken_while_the_first_runs(self, run: Run, aws: Any) -> None:
        hold()
        aws.stepfunctions.running.add("one")
        run(open_review)

        assert run(open_review, "two") == "taken"
        assert run(store_task_token, "two", "token-2") == "closed"
        assert aws.stepfunctions.answered == {"token-2": {"outcome": "closed"}}
        assert listed(aws) == ["ord_1"]

    def test_second_execution_takes_over_from_an_ended_one(self, run: Run, aws: Any) -> None:
        hold()
        run(open_review)

        assert run(open_review, "two") == "opened"
        assert run(store_task_token, "two", "token-2") == "waiting"

    @pytest.mark.parametrize("end", ENDS)
    def test_order_that_is_no_longer_held_is_not_listed(self, run: Run, aws: Any, end: str) -> None:
        hold()
        record(ENDS[end])

        assert run(open_review) == "decided"
        assert listed(aws) == []


class TestCloseReview:
    @pytest.mark.parametrize("end", ENDS)
    def test_decision_event_resumes_the_execution(self, run: Run, aws: Any, context: Any, end: str) -> None:
        hold()
        run(open_review)
        assert run(store_task_token) == "waiting"
        record(ENDS[end])

        assert close_review.handler(delivered(), context) == {"batchItemFailures": []}

        assert aws.stepfunctions.answered == {"token-1": {"outcome": "closed"}}
        assert listed(aws) == []

    @pytest.mark.parametrize("end", ENDS)
    def test_decision_before_the_token_resumes_at_once(self, run: Run, aws: Any, context: Any, end: str) -> None:
        hold()
        run(open_review)
        record(ENDS[end])
        close_review.handler(delivered(), context)

        assert run(store_task_token) == "closed"
        assert aws.stepfunctions.answered == {"token-1": {"outcome": "closed"}}

    def test_decision_with_a_late_event_resumes_at_once(self, run: Run, aws: Any) -> None:
        hold()
        run(open_review)
        record(ApproveReview("rex"))

        assert run(store_task_token) == "closed"
        assert (listed(aws), list(aws.stepfunctions.answered)) == ([], ["token-1"])

    def test_repeated_decision_event_changes_nothing(self, run: Run, aws: Any, context: Any) -> None:
        hold()
        run(open_review)
        run(store_task_token)
        record(ApproveReview("rex"))

        answers = [close_review.handler(delivered(), context) for _ in range(2)]

        assert answers == [{"batchItemFailures": []}] * 2

    def test_retry_resumes_the_execution_after_a_crash(self, run: Run, aws: Any, context: Any) -> None:
        hold()
        run(open_review)
        run(store_task_token)
        record(ApproveReview("rex"))
        aws.stepfunctions.before = crash_at("SendTaskSuccess")
        with pytest.raises(Crash):
            close_review.handler(delivered(), context)
        aws.stepfunctions.before = None

        close_review.handler(delivered(), context)

        assert list(aws.stepfunctions.answered) == ["token-1"]

    def test_event_of_an_order_without_review_is_ignored(self, aws: Any, context: Any) -> None:
        place(LOG)
        record(RequestCancellation("customer"))

        assert close_review.handler(delivered(), context) == {"batchItemFailures": []}
        assert aws.dynamodb.items("Reviews") == []

    def test_event_of_a_held_order_changes_nothing(self, run: Run, aws: Any, context: Any) -> None:
        hold()
        run(open_review)
        run(store_task_token)

        close_review.handler(delivered(), context)

        assert listed(aws) == ["ord_1"]

    def test_poison_message_fails_alone(self, aws: Any, context: Any) -> None:
        message = samples.sample("reviews/close_review/poison-among-good")
        place(LOG, json.loads(message["Records"][1]["body"])["detail"]["order_id"])

        assert close_review.handler(message, context) == samples.expected("reviews/close_review/poison-among-good")

    def test_closed_review_expires_after_its_retention(self, run: Run, aws: Any, context: Any) -> None:
        hold()
        run(open_review)
        record(ApproveReview("rex"))
        close_review.handler(delivered(), context)

        [row] = aws.dynamodb.items("Reviews")
        retention = datetime.fromtimestamp(int(row["expires_at"]["N"]), UTC) - datetime.now(UTC)
        assert RETENTION - timedelta(minutes=1) < retention <= RETENTION

    def test_every_event_that_ends_a_hold_closes_the_review(self) -> None:
        held = orders.after(*orders.STATES["held"])
        ending: set[str] = set()
        for command in orders.COMMANDS.values():
            decided = decide(held, command)
            for event_data in () if isinstance(decided, Refusal) else decided:
                if evolve(held, orders.event(held, event_data)).state != "held":
                    ending.add(type(event_data).__name__)
        assert ending == {"OrderReviewApproved", "OrderReviewRejected", "CancellationRequested"}


class TestExpireReview:
    def test_undecided_order_times_out(self, run: Run) -> None:
        hold()

        assert [run(expire_review), run(expire_review)] == ["timed_out", "timed_out"]
        assert LOG.load("ord_1").version == 4

    @pytest.mark.parametrize("end", ENDS)
    def test_decided_order_does_not_time_out(self, run: Run, end: str) -> None:
        hold()
        record(ENDS[end])

        assert run(expire_review) == "decided"
        assert LOG.load("ord_1").version == 4


class TestListReviews:
    def get_page(self, context: Any, **query: str) -> tuple[int, dict[str, Any]]:
        request: Any = {**samples.sample("reviews/list_reviews/first-page"), "queryStringParameters": query or None}
        answer = list_reviews.handler(request, context)
        return answer["statusCode"], json.loads(answer["body"])

    def claim_reviews(self, count: int) -> list[str]:
        start = datetime(2026, 1, 15, tzinfo=UTC)
        for number in reversed(range(count)):
            review = Review(id_of(number), start + timedelta(minutes=number), Money(289_900, "EUR"), 60, ("amount_large",))
            list_reviews.REVIEWS.claim(review, "one")
        return [id_of(number) for number in range(count)]

    def test_empty_list_has_no_reviews(self, aws: Any, context: Any) -> None:
        assert self.get_page(context) == (200, {"reviews": []})

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
    def test_pages_list_every_review_once_oldest_first(self, aws: Any, context: Any, limit: int) -> None:
        wanted, found, query = self.claim_reviews(7), list[str](), {"limit": str(limit)}
        while True:
            _, page = self.get_page(context, **query)
            assert len(page["reviews"]) <= limit
            found += [review["order_id"] for review in page["reviews"]]
            if "next" not in page:
                break
            query["cursor"] = page["next"]
        assert found == wanted

    def test_next_page_continues_after_a_decided_order(self, aws: Any, context: Any) -> None:
        self.claim_reviews(4)
        _, first = self.get_page(context, limit="2")
        list_reviews.REVIEWS.close(id_of(1), datetime.now(UTC))

        _, second = self.get_page(context, limit="2", cursor=first["next"])

        assert [review["order_id"] for review in second["reviews"]] == [id_of(2), id_of(3)]

    def test_review_shows_score_and_reasons(self, aws: Any, context: Any) -> None:
        self.claim_reviews(1)

        assert self.get_page(context)[1]["reviews"] == [
            {
                "order_id": id_of(0),
                "opened_at": "2026-01-15T00:00:00Z",
                "total": {"amount": 289_900, "currency": "EUR"},
                "score": 60,
                "reasons": ["amount_large"],
            }
        ]

    @pytest.mark.parametrize("limit", ["0", "51", "9" * 5000, "-1", "x", "", "1.5", "\N{SUPERSCRIPT TWO}"])
    def test_limit_outside_1_to_50_is_refused(self, aws: Any, context: Any, limit: str) -> None:
        status, problem = self.get_page(context, limit=limit)

        assert (status, problem["type"].rpartition(":")[2]) == (400, "parameter-invalid")

    @pytest.mark.parametrize("cursor", ["", "x", "e30", "bnVsbA", "WzFd", "\N{SNOWMAN}", "a" * 5])
    def test_foreign_cursor_is_refused(self, aws: Any, context: Any, cursor: str) -> None:
        status, problem = self.get_page(context, cursor=cursor)

        assert (status, problem["type"].rpartition(":")[2]) == (400, "cursor-invalid")


def test_only_one_execution_takes_over_a_review() -> None:
    database = FakeDynamoDB(*TABLES)
    reviews = ReviewStore("Reviews", database.client)
    review = Review("ord_1", datetime.now(UTC), Money(1, "EUR"), 60, ())

    assert reviews.claim(review, "one") == "one"
    assert [reviews.take_over("ord_1", "one", name) for name in ("two", "three")] == [True, False]
    assert reviews.claim(review, "three") == "two"
