"""One email per event: duplicates, crashes and lost answers included."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
os.environ.setdefault("MAIL_FROM", "orders@example.com")
os.environ.setdefault("IDEMPOTENCY_TABLE", "mail")

import pytest

from notifications.alert_limit import MOST_AN_HOUR, AlertLimit
from notifications.email_sender import SES_SECONDS
from notifications.handlers import send_emails
from notifications.operator_alerts import SNS_SECONDS
from orderflow.aws.idempotency import WRITE_SECONDS, OncePerEvent
from orderflow.aws.observability import logger
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB, Table, client_error, crash_at, throttled
from tests.fakes.aws.ses import FakeSes
from tests.fakes.aws.sns import FakeSns
from tests.support import runtime

EVENTS = Path(__file__).resolve().parents[3] / "events" / "notifications" / "send_emails"
SAMPLES = sorted(path.stem for path in EVENTS.glob("*.json") if not path.stem.endswith(".answer"))
FINISHED = {"batchItemFailures": []}
type Batch = dict[str, Any]


@pytest.fixture
def ses(monkeypatch: pytest.MonkeyPatch) -> FakeSes:
    fake = FakeSes()
    monkeypatch.setattr(send_emails.SENDER, "ses", fake)
    return fake


@pytest.fixture(autouse=True)
def sns(monkeypatch: pytest.MonkeyPatch) -> FakeSns:
    fake = FakeSns()
    monkeypatch.setattr(send_emails.ALERTS, "_sns", fake)
    return fake


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> FakeDynamoDB:
    database = FakeDynamoDB(Table("mail", {"id": "S"}))
    start_process(monkeypatch, database)
    return database


def start_process(monkeypatch: pytest.MonkeyPatch, table: FakeDynamoDB) -> None:
    """Start a new function process, which has no delivery in memory."""
    monkeypatch.setattr(send_emails.SENDER, "once", OncePerEvent[str]("mail", "mail", table.client, effect_seconds=SES_SECONDS))
    monkeypatch.setattr(send_emails.ALERTS, "_once", OncePerEvent[str]("operator_alert", "mail", table.client, effect_seconds=SNS_SECONDS))
    monkeypatch.setattr(send_emails.ALERTS, "_limit", AlertLimit("mail", table.client))


class Clock:
    """The remaining time of an invocation; `sleep` consumes it."""

    def __init__(self) -> None:
        """Start with 15 seconds more than the longest send and record."""
        self.seconds = 36.0

    def sleep(self, seconds: float) -> None:

        self.seconds -= seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("orderflow.aws.idempotency.time.sleep", found.sleep)
    return found


def refuse_updates(times: float = float("inf")) -> Callable[[str, Any], None]:
    """Return a hook that throttles the first `times` calls of UpdateItem."""
    left = times

    def hook(operation: str, _parameters: Any) -> None:
        nonlocal left
        if operation == "UpdateItem" and left > 0:
            left -= 1
            raise throttled(operation)

    return hook


def expire_claims(table: FakeDynamoDB) -> None:
    """Let every in-progress record expire."""
    for item in table.items("mail"):
        table.client.update_item(
            TableName="mail",
            Key={"id": item["id"]},
            UpdateExpression="SET in_progress_expiration = :past",
            ExpressionAttributeValues={":past": {"N": "1"}},
        )


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return the stream of the function's log lines."""
    stream = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", stream)
    return stream


def sample(name: str) -> Batch:
    return json.loads((EVENTS / f"{name}.json").read_text())


def other_delivery(batch: Batch) -> Batch:
    """Return the same events in new messages, as SQS delivers them after a republish or a redrive."""
    records = [record | {"messageId": f"again-{record['messageId']}"} for record in batch["Records"]]
    return {"Records": records}


def changed(batch: Batch, **changes: Any) -> Batch:
    """Replace fields of the event in a batch of one message."""
    (record,) = batch["Records"]
    body = json.loads(record["body"])
    body["detail"] |= changes
    return {"Records": [record | {"body": json.dumps(body)}]}


def deliver(batch: Batch, *, milliseconds_left: int = 30_000, clock: Clock | None = None) -> Any:
    context = runtime.context("mail", milliseconds_left=milliseconds_left)
    if clock:
        context.get_remaining_time_in_millis = lambda: int(clock.seconds * 1000)
    return send_emails.handler(batch, context)


def is_redelivered(answer: Any, batch: Batch) -> bool:
    """Return whether every message of the batch is reported as failed."""
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == [record["messageId"] for record in batch["Records"]]


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_have_their_documented_answers(name: str, ses: FakeSes) -> None:
    assert deliver(sample(name)) == json.loads((EVENTS / f"{name}.answer.json").read_text())


@pytest.mark.parametrize("name", ["confirmed", "rejected", "held"])
def test_email_is_plain_text_from_the_shop_to_the_customer(name: str, ses: FakeSes) -> None:
    deliver(sample(name))
    (request,) = ses.sent
    customer = json.loads(sample(name)["Records"][0]["body"])["detail"]["data"]["customer"]
    assert request["Source"] == "orders@example.com"
    assert request["Destination"] == {"ToAddresses": [customer["email"]]}
    assert list(request["Message"]["Body"]) == ["Text"]
    assert {tag["Name"] for tag in request["Tags"]} == {"type", "order_id", "order_version"}


def test_event_delivered_repeatedly_sends_one_email(ses: FakeSes) -> None:
    twice = sample("delivered-twice")
    for batch in (twice, twice, other_delivery(twice), other_delivery(other_delivery(twice))):
        assert deliver(batch) == FINISHED
    assert len(ses.sent) == 1


def test_each_event_of_an_order_sends_its_own_email(ses: FakeSes) -> None:
    held = sample("held")
    deliver(held)
    deliver(changed(sample("confirmed"), order_id="ord_held", event_id="ord_held:7"))
    assert len(ses.sent) == 2


def test_replayed_event_sends_and_records_nothing(ses: FakeSes, table: FakeDynamoDB) -> None:
    assert deliver(sample("replayed")) == FINISHED
    assert not ses.sent
    assert not table.items("mail")


def test_poison_message_fails_alone(ses: FakeSes) -> None:
    deliver(sample("poison-among-good"))
    assert [subject[:8] for subject in ses.subjects] == ["Your ord", "We are c"]


def test_event_id_with_other_content_is_rejected(ses: FakeSes) -> None:
    deliver(sample("confirmed"))
    forged = changed(sample("confirmed"), type="OrderRejected", data=json.loads(sample("rejected")["Records"][0]["body"])["detail"]["data"])
    assert is_redelivered(deliver(forged), forged)
    assert len(ses.sent) == 1


@pytest.mark.filterwarnings("ignore")  # Powertools only warns
def test_event_without_id_sends_no_email(ses: FakeSes) -> None:
    unnamed = changed(sample("confirmed"), event_id="")
    assert is_redelivered(deliver(unnamed), unnamed)
    assert not ses.sent


def test_concurrent_duplicate_is_redelivered_and_sends_nothing(ses: FakeSes) -> None:
    batch = sample("confirmed")
    answers: list[Any] = []

    def deliver_concurrently(_operation: str, _parameters: Any) -> None:
        ses.before = None
        answers.append(deliver(other_delivery(batch)))

    ses.before = deliver_concurrently
    assert deliver(batch) == FINISHED
    assert is_redelivered(answers[0], other_delivery(batch))
    assert deliver(other_delivery(batch)) == FINISHED
    assert len(ses.sent) == 1


def test_email_refused_by_ses_is_sent_on_redelivery(ses: FakeSes, lines: io.StringIO) -> None:
    def refuse(_operation: str, _parameters: Any) -> None:
        raise client_error("SendEmail", "MessageRejected", "Email address is not verified: ann@example.com")

    ses.before = refuse
    batch = sample("confirmed")
    assert is_redelivered(deliver(batch), batch)
    assert "MessageRejected" in lines.getvalue()
    assert "ann@example.com" not in lines.getvalue()
    ses.before = None
    assert deliver(batch) == FINISHED
    assert len(ses.sent) == 1


def exceed_rate(times: float, message: str = "Maximum sending rate exceeded.") -> Callable[[str, Any], None]:
    """Return a hook by which SES refuses the first `times` emails as too many."""
    left = times

    def hook(operation: str, _parameters: Any) -> None:
        nonlocal left
        if left > 0:
            left -= 1
            raise client_error(operation, "Throttling", message)

    return hook


def test_email_above_the_sending_rate_is_sent_a_moment_later(ses: FakeSes, clock: Clock) -> None:
    ses.before = exceed_rate(3)
    assert deliver(sample("confirmed"), clock=clock) == FINISHED
    assert len(ses.sent) == 1


def test_email_above_the_sending_rate_waits_within_the_timeout(ses: FakeSes, clock: Clock, lines: io.StringIO) -> None:
    ses.before = exceed_rate(float("inf"))
    batch = sample("confirmed")
    assert is_redelivered(deliver(batch, clock=clock), batch)
    assert clock.seconds > SES_SECONDS + WRITE_SECONDS
    assert "Throttling" in lines.getvalue()


def test_email_above_the_daily_quota_is_not_waited_for(ses: FakeSes, clock: Clock) -> None:
    ses.before = exceed_rate(float("inf"), "Daily message quota exceeded.")
    batch = sample("confirmed")
    assert is_redelivered(deliver(batch, clock=clock), batch)
    assert ses.calls["SendEmail"] == 1


@pytest.mark.parametrize(("moment", "sent"), [("before", 1), ("after", 2)])
def test_crash_after_a_wait_for_the_rate_loses_no_email(ses: FakeSes, table: FakeDynamoDB, clock: Clock, moment: str, sent: int) -> None:
    refused = exceed_rate(1)

    def crash(operation: str, _given: Any) -> None:
        if ses.calls[operation] == 2:
            raise Crash

    def before(operation: str, given: Any) -> None:
        refused(operation, given)
        if moment == "before":
            crash(operation, given)

    ses.before, ses.after = before, crash if moment == "after" else None
    with pytest.raises(Crash):
        deliver(sample("confirmed"), clock=clock)
    expire_claims(table)
    assert deliver(other_delivery(sample("confirmed"))) == FINISHED
    assert deliver(other_delivery(sample("confirmed"))) == FINISHED
    assert len(ses.sent) == sent
    assert all(one == ses.sent[0] for one in ses.sent)


def test_crash_before_sending_leaves_the_email_to_the_next_delivery(ses: FakeSes, table: FakeDynamoDB) -> None:
    ses.before = crash_at("SendEmail")
    with pytest.raises(Crash):
        deliver(sample("confirmed"))
    ses.before = None
    expire_claims(table)
    assert deliver(sample("confirmed")) == FINISHED
    assert len(ses.sent) == 1


def test_message_is_redelivered_while_a_crashed_claim_lasts(ses: FakeSes, table: FakeDynamoDB) -> None:
    table.before = crash_at("UpdateItem")
    with pytest.raises(Crash):
        deliver(sample("confirmed"), milliseconds_left=30_000)
    table.before = None
    assert is_redelivered(deliver(sample("confirmed")), sample("confirmed"))
    assert len(ses.sent) == 1


def test_crash_between_email_and_record_sends_the_same_email_twice(ses: FakeSes, table: FakeDynamoDB) -> None:
    table.before = crash_at("UpdateItem")
    with pytest.raises(Crash):
        deliver(sample("confirmed"))
    table.before = None
    expire_claims(table)
    assert deliver(sample("confirmed")) == FINISHED
    first, second = ses.sent
    assert first == second


@pytest.mark.parametrize("times", [1, 2, 5])
def test_completing_the_record_is_retried_in_the_invocation(ses: FakeSes, table: FakeDynamoDB, clock: Clock, times: int) -> None:
    table.before = refuse_updates(times)
    assert deliver(sample("confirmed"), clock=clock) == FINISHED
    (record,) = table.items("mail")
    assert (record["status"]["S"], json.loads(record["data"]["S"])) == ("COMPLETED", "ses-1")


def test_failed_record_is_logged_before_the_timeout(ses: FakeSes, table: FakeDynamoDB, clock: Clock, lines: io.StringIO) -> None:
    table.before = refuse_updates()
    assert deliver(sample("confirmed"), clock=clock) == FINISHED
    assert "effect_not_recorded" in lines.getvalue()
    assert len(ses.sent) == 1
    assert WRITE_SECONDS <= clock.seconds < WRITE_SECONDS + 2


def test_unrecorded_email_is_not_sent_again_by_its_process(ses: FakeSes, table: FakeDynamoDB, clock: Clock) -> None:
    table.before = refuse_updates()
    deliver(sample("confirmed"), clock=clock)
    table.before = None
    expire_claims(table)
    table.before = refuse_updates()
    clock.seconds = 30
    assert deliver(other_delivery(sample("confirmed")), clock=clock) == FINISHED
    assert len(ses.sent) == 1


def test_late_record_is_written_with_the_next_email(
    ses: FakeSes, table: FakeDynamoDB, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.before = refuse_updates()
    deliver(sample("confirmed"), clock=clock)
    table.before = None
    deliver(sample("held"))
    start_process(monkeypatch, table)
    expire_claims(table)
    assert deliver(other_delivery(sample("confirmed"))) == FINISHED
    assert len(ses.sent) == 2
    assert {record["status"]["S"] for record in table.items("mail")} == {"COMPLETED"}


def test_no_email_is_sent_without_time_to_record_it(ses: FakeSes, table: FakeDynamoDB) -> None:
    batch = sample("confirmed")
    assert is_redelivered(deliver(batch, milliseconds_left=(SES_SECONDS + WRITE_SECONDS) * 1000 - 1), batch)
    assert not ses.sent
    assert not table.items("mail")


def test_unavailable_table_sends_nothing(ses: FakeSes, table: FakeDynamoDB) -> None:
    def refuse(operation: str, _parameters: Any) -> None:
        raise throttled(operation)

    table.before = refuse
    assert is_redelivered(deliver(sample("confirmed")), sample("confirmed"))
    assert not ses.sent


def test_record_outlives_queue_dead_letter_queue_and_redrive(ses: FakeSes, table: FakeDynamoDB) -> None:
    deliver(sample("confirmed"))
    (record,) = table.items("mail")
    assert int(record["expiration"]["N"]) > time.time() + 28 * 24 * 3600


def test_log_lines_have_ids_and_no_personal_data(ses: FakeSes, lines: io.StringIO) -> None:
    deliver(sample("poison-among-good"))
    logged = [json.loads(line) for line in lines.getvalue().splitlines()]
    sent = [line for line in logged if line["message"] == "email_sent"]
    assert [line["event_id"].split(":")[1] for line in sent] == ["5", "3"]
    assert all(line["correlation_id"] and line["event_id"].startswith(line["order_id"]) for line in sent)
    unreadable = next(line for line in logged if line["message"] == "message_failed")
    assert "order_id" not in unreadable
    for part in ("@example.com", "Ann Lee", "High St", "Blue mug"):
        assert part not in lines.getvalue()


def alerts(sns: FakeSns) -> list[str]:
    return sns.published.get(os.environ["OPERATORS_TOPIC"], [])


def test_spoiled_goods_send_an_alert_and_an_email_once(ses: FakeSes, sns: FakeSns) -> None:
    spoiled = sample("spoiled")
    for batch in (spoiled, spoiled, other_delivery(spoiled)):
        assert deliver(batch) == FINISHED
    assert (len(alerts(sns)), len(ses.sent)) == (1, 1)


@pytest.mark.parametrize("name", ["not-moving", "condition-resolved"])
def test_other_conditions_send_an_alert_without_an_email(ses: FakeSes, sns: FakeSns, name: str) -> None:
    assert deliver(sample(name)) == FINISHED
    assert (len(alerts(sns)), ses.sent) == (1, [])


def test_refused_email_repeats_no_alert(ses: FakeSes, sns: FakeSns) -> None:
    def refuse(operation: str, _parameters: Any) -> None:
        ses.before = None
        raise client_error(operation, "Throttling", "slow down")

    ses.before, spoiled = refuse, sample("spoiled")
    assert is_redelivered(deliver(spoiled), spoiled)
    assert deliver(spoiled) == FINISHED
    assert (len(alerts(sns)), len(ses.sent)) == (1, 1)


def test_failed_alert_is_redelivered(ses: FakeSes, sns: FakeSns) -> None:
    def refuse(operation: str, _parameters: Any) -> None:
        sns.before = None
        raise throttled(operation)

    sns.before, batch = refuse, sample("not-moving")
    assert is_redelivered(deliver(batch), batch)
    assert deliver(batch) == FINISHED
    assert len(alerts(sns)) == 1


def many(name: str, number: int) -> list[Batch]:
    """Return the event of a sample for so many orders."""
    ids = [f"ord_{one:026}" for one in range(number)]
    return [changed(sample(name), event_id=f"{one}:{name}", order_id=one) for one in ids]


def test_storm_of_alerts_sends_ten_an_hour_of_each_kind(ses: FakeSes, sns: FakeSns, lines: io.StringIO) -> None:
    """An outage of a carrier silences all its parcels; the last of the ten alerts says that more follow."""
    for name in ("not-moving", "condition-resolved"):
        for batch in many(name, 300):
            assert deliver(batch) == FINISHED
    sent = alerts(sns)
    assert len(sent) == 2 * MOST_AN_HOUR
    assert [number for number, text in enumerate(sent, 1) if "of its kind since" in text] == [MOST_AN_HOUR, 2 * MOST_AN_HOUR]
    assert lines.getvalue().count("alert_above_limit") == 2 * (300 - MOST_AN_HOUR)


def test_customers_of_spoiled_goods_get_emails_above_the_limit_of_alerts(ses: FakeSes, sns: FakeSns) -> None:
    for batch in many("spoiled", MOST_AN_HOUR + 1):
        assert deliver(batch) == FINISHED
    assert (len(alerts(sns)), len(ses.sent)) == (MOST_AN_HOUR, MOST_AN_HOUR + 1)


def test_alerts_are_limited_by_the_hour_and_redelivery_does_not_count(table: FakeDynamoDB) -> None:
    limit, hour = AlertLimit("mail", table.client), datetime(2026, 11, 28, 14, 59, tzinfo=UTC)
    assert [limit.take("silent", f"event-{number}", hour) for number in (1, 1, 2)] == [1, 1, 2]
    assert [limit.take("silent", f"event-{number}", hour) for number in range(3, 13)] == [3, 4, 5, 6, 7, 8, 9, 10, 0, 0]
    assert limit.take("silent", "event-1", hour) == MOST_AN_HOUR
    assert limit.take("silent", "event-12", hour + timedelta(minutes=1)) == 1


def test_replayed_condition_sends_no_alert(ses: FakeSes, sns: FakeSns) -> None:
    batch = sample("spoiled")
    body = json.loads(batch["Records"][0]["body"]) | {"replay-name": "replay-1"}
    batch["Records"][0]["body"] = json.dumps(body)
    assert deliver(batch) == FINISHED
    assert (alerts(sns), ses.sent) == ([], [])
