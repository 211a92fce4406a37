"""Emails under every fault of every call, with redelivery: each event sends one email."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("MAIL_FROM", "orders@example.com")
os.environ.setdefault("IDEMPOTENCY_TABLE", "mail")

import pytest

from notifications.email_sender import SES_SECONDS
from notifications.handlers import send_emails
from orderflow.aws.idempotency import OncePerEvent
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB, Table
from tests.fakes.aws.ses import FakeSes
from tests.faults.conftest import Tally
from tests.faults.faults import (
    BROKEN_AFTER,
    CRASH_AFTER,
    CRASH_BEFORE,
    LOST,
    MAIL,
    Call,
    Disturbance,
    target_of,
)
from tests.faults.paths import Stage
from tests.faults.sweeps import Sweep
from tests.support import runtime

SAMPLES = Path(__file__).resolve().parents[2] / "events" / "notifications" / "send_emails"
BATCHES = ("confirmed", "delivered-twice")
ATTEMPTS = 5
# Faults after which SES may have accepted the email without an answer, so that it is sent again.
UNKNOWN = {("SendEmail", CRASH_AFTER), ("SendEmail", LOST), ("SendEmail", BROKEN_AFTER), ("UpdateItem", CRASH_BEFORE)}


class EmailRun:
    """The email function with its table, SES and a batch of messages, in successive processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, batch: str, disturbance: Disturbance, attempts: int = 1) -> None:
        self._records: list[dict[str, Any]] = json.loads((SAMPLES / f"{batch}.json").read_text())["Records"]
        self.table, self.ses = FakeDynamoDB(Table("mail", {"id": "S"}), attempts=attempts), FakeSes()
        self._patch = monkeypatch.setattr
        self._patch(send_emails.SENDER, "ses", self.ses)
        self.start_process()
        for name, service in {"dynamodb": self.table, MAIL: self.ses}.items():

            def before(operation: str, given: Any, name: str = name) -> None:
                disturbance.before(Call("NotificationsMail", name, operation, target_of(given)), given)

            def after(operation: str, given: Any, name: str = name) -> None:
                disturbance.after(Call("NotificationsMail", name, operation, target_of(given)), given)

            service.before, service.after = before, after

    def start_process(self) -> None:
        """Replace the process: clear its memory."""
        self._patch(send_emails.SENDER, "once", OncePerEvent[str]("mail", "mail", self.table.client, effect_seconds=SES_SECONDS))

    def expire_claims(self) -> None:
        """Expire every claim, as when SQS redelivers a message."""
        hooks, self.table.before, self.table.after = (self.table.before, self.table.after), None, None
        for item in self.table.items("mail"):
            self.table.client.update_item(
                TableName="mail",
                Key={"id": item["id"]},
                UpdateExpression="SET in_progress_expiration = :past",
                ExpressionAttributeValues={":past": {"N": "1"}},
            )
        self.table.before, self.table.after = hooks

    def deliver_once(self, messages: list[dict[str, Any]] | None = None) -> list[str]:
        """Deliver the given messages, or all, and return the ids to retry."""
        answer = send_emails.handler({"Records": messages or self._records}, runtime.context("mail", milliseconds_left=30_000))
        return [str(failed["itemIdentifier"]) for failed in answer["batchItemFailures"]]

    def deliver(self) -> None:
        """Deliver the messages until all of them are done."""
        left = self._records
        for _ in range(ATTEMPTS):
            try:
                failed = self.deliver_once(left)
            except Crash:
                self.start_process()
            else:
                left = [record for record in left if record["messageId"] in failed]
                if not left:
                    return
            self.expire_claims()
        raise AssertionError(f"emails still fail for {left}")

    def wrong(self, *, unknown: bool) -> list[str]:
        """Return the violations in the sent emails."""
        if any(one != self.ses.sent[0] for one in self.ses.sent):
            return ["two different emails"]
        return [] if len(self.ses.sent) == 1 + unknown else [f"{len(self.ses.sent)} emails"]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orderflow.aws.idempotency.time.sleep", lambda _: None)


def calls_of_a_run(monkeypatch: pytest.MonkeyPatch, batch: str) -> list[Call]:
    recorded = Disturbance()
    shop = EmailRun(monkeypatch, batch, recorded)
    shop.deliver()
    assert shop.wrong(unknown=False) == []
    return recorded.calls


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("next_process", [False, True])
def test_one_failing_call_sends_one_email(
    stage: Stage, tally: Tally, monkeypatch: pytest.MonkeyPatch, batch: str, *, next_process: bool
) -> None:
    """At the end the deleted messages are redelivered, to the same process or a new one."""

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        shop = EmailRun(monkeypatch, batch, disturbance, attempts)
        shop.deliver()
        shop.expire_claims()
        if next_process:
            shop.start_process()
        shop.deliver()
        (met,) = [call for number, call in enumerate(disturbance.calls) if disturbance.match(number, call)]
        return shop.wrong(unknown=(met.operation, disturbance.kind) in UNKNOWN)

    Sweep(f"email, {batch}", tally).once(enumerate(calls_of_a_run(monkeypatch, batch)), run)


@pytest.mark.parametrize("batch", BATCHES)
def test_redelivery_at_any_call_sends_no_second_email(stage: Stage, tally: Tally, monkeypatch: pytest.MonkeyPatch, batch: str) -> None:
    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        shop = EmailRun(monkeypatch, batch, disturbance, attempts)
        disturbance.act = shop.deliver_once
        shop.deliver()
        return shop.wrong(unknown=False)

    Sweep(f"email, {batch}", tally).between(enumerate(calls_of_a_run(monkeypatch, batch)), "messages twice", run)
