"""What waits for a decision: which execution, on which list, and how it ends."""

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
from reviews.handlers import close_review, expire_review, list_reviews, store_task_token
from reviews.handlers import open_review as opening
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


def named(number: int) -> str:
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


class TestOpening:
    def test_a_held_order_is_listed_with_what_a_reviewer_needs(self, run: Run, aws: Any) -> None:
        hold()

        assert run(opening) == "opened"

        [row] = aws.dynamodb.items("Reviews")
        assert (row["amount"], row["currency"], row["execution"]) == ({"N": "289900"}, {"S": "EUR"}, {"S": "one"})
        assert "ann" not in json.dumps(row)

    def test_the_same_execution_may_ask_again(self, run: Run, aws: Any) -> None:
        hold()
        aws.stepfunctions.running.add("one")

        assert [run(opening), run(opening)] == ["opened", "opened"]
        assert aws.stepfunctions.calls["DescribeExecution"] == 0

    def test_a_second_execution_is_told_that_the_first_waits(self, run: Run, aws: Any) -> None:
        hold()
        aws.stepfunctions.running.add("one")
        run(opening)

        assert run(opening, "two") == "taken"
        assert run(store_task_token, "two", "token-2") == "closed"
        assert aws.stepfunctions.answered == {"token-2": {"outcome": "closed"}}
        assert listed(aws) == ["ord_1"]

    def test_it_takes_the_place_of_one_that_has_ended(self, run: Run, aws: Any) -> None:
        hold()
        run(opening)

        assert run(opening, "two") == "opened"
        assert run(store_task_token, "two", "token-2") == "waiting"

    @pytest.mark.parametrize("how", ENDS)
    def test_an_order_that_is_not_held_any_more_is_not_listed(self, run: Run, aws: Any, how: str) -> None:
        hold()
        record(ENDS[how])

        assert run(opening) == "decided"
        assert listed(aws) == []


class TestClosing:
    @pytest.mark.parametrize("how", ENDS)
    def test_the_event_ends_the_wait_and_takes_the_order_off_the_list(self, run: Run, aws: Any, context: Any, how: str) -> None:
        hold()
        run(opening)
        assert run(store_task_token) == "waiting"
        record(ENDS[how])

        assert close_review.handler(delivered(), context) == {"batchItemFailures": []}

        assert aws.stepfunctions.answered == {"token-1": {"outcome": "closed"}}
        assert listed(aws) == []

    @pytest.mark.parametrize("how", ENDS)
    def test_a_decision_before_the_token_was_known_ends_the_wait_at_once(self, run: Run, aws: Any, context: Any, how: str) -> None:
        hold()
        run(opening)
        record(ENDS[how])
        close_review.handler(delivered(), context)

        assert run(store_task_token) == "closed"
        assert aws.stepfunctions.answered == {"token-1": {"outcome": "closed"}}

    def test_a_decision_whose_event_is_late_ends_the_wait_at_once(self, run: Run, aws: Any) -> None:
        hold()
        run(opening)
        record(ApproveReview("rex"))

        assert run(store_task_token) == "closed"
        assert (listed(aws), list(aws.stepfunctions.answered)) == ([], ["token-1"])

    def test_a_second_delivery_does_no_harm(self, run: Run, aws: Any, context: Any) -> None:
        hold()
        run(opening)
        run(store_task_token)
        record(ApproveReview("rex"))

        answers = [close_review.handler(delivered(), context) for _ in range(2)]

        assert answers == [{"batchItemFailures": []}] * 2

    def test_who_died_before_the_answer_was_sent_sends_it_the_next_time(self, run: Run, aws: Any, context: Any) -> None:
        hold()
        run(opening)
        run(store_task_token)
        record(ApproveReview("rex"))
        aws.stepfunctions.before = crash_at("SendTaskSuccess")
        with pytest.raises(Crash):
            close_review.handler(delivered(), context)
        aws.stepfunctions.before = None

        close_review.handler(delivered(), context)

        assert list(aws.stepfunctions.answered) == ["token-1"]

    def test_an_event_of_an_order_that_nobody_reviewed_is_let_pass(self, aws: Any, context: Any) -> None:
        place(LOG)
        record(RequestCancellation("customer"))

        assert close_review.handler(delivered(), context) == {"batchItemFailures": []}
        assert aws.dynamodb.items("Reviews") == []

    def test_an_event_of_an_order_that_is_held_changes_nothing(self, run: Run, aws: Any, context: Any) -> None:
        hold()
        run(opening)
        run(store_task_token)

        close_review.handler(delivered(), context)

        assert listed(aws) == ["ord_1"]

    def test_a_message_that_is_no_event_comes_back_alone(self, aws: Any, context: Any) -> None:
        message = samples.sample("reviews/close_review/poison-among-good")
        place(LOG, json.loads(message["Records"][1]["body"])["detail"]["order_id"])

        assert close_review.handler(message, context) == samples.expected("reviews/close_review/poison-among-good")

    def test_a_closed_row_is_forgotten_long_after_every_message(self, run: Run, aws: Any, context: Any) -> None:
        hold()
        run(opening)
        record(ApproveReview("rex"))
        close_review.handler(delivered(), context)

        [row] = aws.dynamodb.items("Reviews")
        kept = datetime.fromtimestamp(int(row["expires_at"]["N"]), UTC) - datetime.now(UTC)
        assert RETENTION - timedelta(minutes=1) < kept <= RETENTION

    def test_every_event_that_lets_go_of_a_held_order_closes_its_review(self) -> None:
        held = orders.after(*orders.STATES["held"])
        leaving: set[str] = set()
        for command in orders.COMMANDS.values():
            facts = decide(held, command)
            for fact in () if isinstance(facts, Refusal) else facts:
                if evolve(held, orders.event(held, fact)).state != "held":
                    leaving.add(type(fact).__name__)
        assert leaving == {"OrderReviewApproved", "OrderReviewRejected", "CancellationRequested"}


class TestTheEndOfTheTime:
    def test_nobody_decided(self, run: Run) -> None:
        hold()

        assert [run(expire_review), run(expire_review)] == ["timed_out", "timed_out"]
        assert LOG.load("ord_1").version == 4

    @pytest.mark.parametrize("how", ENDS)
    def test_somebody_was_first(self, run: Run, how: str) -> None:
        hold()
        record(ENDS[how])

        assert run(expire_review) == "decided"
        assert LOG.load("ord_1").version == 4


class TestTheList:
    def ask(self, context: Any, **query: str) -> tuple[int, dict[str, Any]]:
        request: Any = {**samples.sample("reviews/list_reviews/first-page"), "queryStringParameters": query or None}
        answer = list_reviews.handler(request, context)
        return answer["statusCode"], json.loads(answer["body"])

    def fill(self, count: int) -> list[str]:
        start = datetime(2026, 1, 15, tzinfo=UTC)
        for number in reversed(range(count)):
            review = Review(named(number), start + timedelta(minutes=number), Money(289_900, "EUR"), 60, ("amount_large",))
            list_reviews.REVIEWS.claim(review, "one")
        return [named(number) for number in range(count)]

    def test_nothing_waits(self, aws: Any, context: Any) -> None:
        assert self.ask(context) == (200, {"reviews": []})

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
    def test_pages_hold_every_review_once_oldest_first(self, aws: Any, context: Any, limit: int) -> None:
        wanted, found, query = self.fill(7), list[str](), {"limit": str(limit)}
        while True:
            _, page = self.ask(context, **query)
            assert len(page["reviews"]) <= limit
            found += [review["order_id"] for review in page["reviews"]]
            if "next" not in page:
                break
            query["cursor"] = page["next"]
        assert found == wanted

    def test_a_page_goes_on_where_the_one_before_ended_though_that_order_was_decided(self, aws: Any, context: Any) -> None:
        self.fill(4)
        _, first = self.ask(context, limit="2")
        list_reviews.REVIEWS.close(named(1), datetime.now(UTC))

        _, second = self.ask(context, limit="2", cursor=first["next"])

        assert [review["order_id"] for review in second["reviews"]] == [named(2), named(3)]

    def test_a_review_says_what_the_fraud_rules_said(self, aws: Any, context: Any) -> None:
        self.fill(1)

        assert self.ask(context)[1]["reviews"] == [
            {
                "order_id": named(0),
                "opened_at": "2026-01-15T00:00:00Z",
                "total": {"amount": 289_900, "currency": "EUR"},
                "score": 60,
                "reasons": ["amount_large"],
            }
        ]

    @pytest.mark.parametrize("limit", ["0", "51", "9" * 5000, "-1", "x", "", "1.5", "\N{SUPERSCRIPT TWO}"])
    def test_a_limit_is_1_to_50(self, aws: Any, context: Any, limit: str) -> None:
        status, problem = self.ask(context, limit=limit)

        assert (status, problem["type"].rpartition(":")[2]) == (400, "parameter-invalid")

    @pytest.mark.parametrize("cursor", ["", "x", "e30", "bnVsbA", "WzFd", "\N{SNOWMAN}", "a" * 5])
    def test_a_cursor_is_one_that_was_given_out(self, aws: Any, context: Any, cursor: str) -> None:
        status, problem = self.ask(context, cursor=cursor)

        assert (status, problem["type"].rpartition(":")[2]) == (400, "cursor-invalid")


def test_of_executions_that_want_one_place_one_gets_it() -> None:
    database = FakeDynamoDB(*TABLES)
    reviews = ReviewStore("Reviews", database.client)
    review = Review("ord_1", datetime.now(UTC), Money(1, "EUR"), 60, ())

    assert reviews.claim(review, "one") == "one"
    assert [reviews.take_over("ord_1", "one", name) for name in ("two", "three")] == [True, False]
    assert reviews.claim(review, "three") == "two"
