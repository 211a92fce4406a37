"""Actions and refusals of automatic remediation, run by its workflow; it acts once on each alarm."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from devtools import template
from operations.flag_deployments import POLL_SECONDS, FlagDeployments, NotDeployedError
from operations.handlers import decide_remediation, remediate
from orderflow.aws import batch
from tests.fakes.aws import clients
from tests.fakes.aws.control_plane import FakeFlagDeployments
from tests.fakes.aws.dynamodb import throttled
from tests.faults.faults import THROTTLED
from tests.faults.remediation import MAIL, MAIL_MAPPING, SHIPPING_MAPPING, START, Operations, alarm
from tests.support import contracts
from tests.support.runtime import CONTEXT
from tests.support.samples import agrees, expected, names, sample

REDRIVEN = {"redrive_attempts": {"DataType": "Number", "StringValue": "1"}}
OTHER = "ValueError: malformed"


@pytest.fixture
def operations() -> Iterator[Operations]:
    yield Operations()
    clients.lend()


def published(operations: Operations) -> dict[str, Any]:
    """Return the only published event, which is on the bus and on the stream."""
    [event] = operations.details
    assert operations.stream.details == operations.bus.details
    assert contracts.problems(event) == []
    assert [entry["DetailType"] for entry in operations.bus.entries] == [event["type"]]
    assert [entry["Source"] for entry in operations.bus.entries] == ["operations"]
    return event


def performed(operations: Operations) -> dict[str, Any]:
    event = published(operations)
    assert event["type"] == "RemediationPerformed", event
    assert len(operations.notifications) == 1
    return event["data"]


def refusals(operations: Operations) -> list[str]:
    event = published(operations)
    assert event["type"] == "RemediationRefused", event
    return [f"{refusal['action']} {refusal['reason']}" for refusal in event["data"]["refusals"]]


def test_throttled_dead_letters_are_redriven(operations: Operations) -> None:
    operations.dead_letter()
    operations.dead_letter("ReadTimeoutError: Read timeout")

    operations.fire(alarm("mail-dead-letters"))

    data = performed(operations)
    assert (data["action"], data["target"], data["before"], data["after"]) == (
        "redrive",
        "mail",
        {"dead_letters": 2},
        {"moved": 2, "failed": 0},
    )
    assert data["alarm"]["name"] == "order-pipeline-mail-dead-letters"
    assert len(operations.messaging.queues[MAIL.target]) == 2
    assert operations.messaging.queues[MAIL.queue_url] == []


def test_cause_is_read_from_the_log_line_of_a_failed_batch(operations: Operations, logged: Callable[[], list[dict[str, Any]]]) -> None:
    operations.dead_letter(None)
    [message] = operations.messaging.queues[MAIL.queue_url]
    message["MessageId"] = "11111111-aaaa-4bbb-8ccc-000000000009"

    def throttle(_: str) -> None:
        raise throttled("PutItem")

    record = {"messageId": message["MessageId"], "body": "{}", "attributes": {"ApproximateReceiveCount": "5"}, "eventSource": "aws:sqs"}
    batch.process_messages({"Records": [record]}, throttle)
    operations.logs.lines += [(MAIL_MAPPING, json.dumps(line)) for line in logged()]

    operations.fire(alarm("mail-dead-letters"))

    assert performed(operations)["after"] == {"moved": 1, "failed": 0}


def test_dead_letter_of_a_function_that_timed_out_is_redriven(operations: Operations) -> None:
    operations.dead_letter(None)
    operations.logs.lines += [
        (MAIL_MAPPING, json.dumps({"type": "platform.report", "record": {"status": "timeout"}})),
        (SHIPPING_MAPPING, json.dumps({"message": "message_failed", "message_id": "x", "exception": "ValueError: y"})),
    ]

    operations.fire(alarm("mail-dead-letters"))

    assert performed(operations)["action"] == "redrive"


def test_undeliverable_dead_letter_of_a_rule_names_its_cause(operations: Operations) -> None:
    operations.dead_letter(None, ERROR_CODE={"DataType": "String", "StringValue": "THROTTLING"})

    operations.fire(alarm("mail-dead-letters"))

    assert performed(operations)["after"] == {"moved": 1, "failed": 0}


@pytest.mark.parametrize(
    ("error", "attributes", "reason"),
    [(OTHER, {}, "cause_not_transient"), (None, {}, "cause_unknown"), ("ThrottlingException", REDRIVEN, "redriven_before")],
)
def test_other_dead_letters_stay_in_their_queue(operations: Operations, error: str | None, attributes: Any, reason: str) -> None:
    operations.dead_letter(error, **attributes)

    operations.fire(alarm("mail-dead-letters"))

    assert refusals(operations) == [f"redrive {reason}"]
    assert len(operations.messaging.queues[MAIL.queue_url]) == 1
    assert operations.notifications == []


def test_errors_of_another_function_in_the_log_group_are_ignored(operations: Operations) -> None:
    operations.dead_letter(None)
    operations.logs.lines.append((SHIPPING_MAPPING, json.dumps({"type": "platform.report", "record": {"status": "timeout"}})))

    operations.fire(alarm("mail-dead-letters"))

    assert refusals(operations) == ["redrive cause_unknown"]


def test_consumer_that_never_ran_has_no_log(operations: Operations) -> None:
    operations.dead_letter(None)
    operations.logs.groups_exist = False

    operations.fire(alarm("mail-dead-letters"))

    assert refusals(operations) == ["redrive cause_unknown"]


def test_alarm_without_dead_letters_is_refused(operations: Operations) -> None:
    operations.fire(alarm("mail-dead-letters"))

    assert refusals(operations) == ["redrive no_dead_letters"]


def test_concurrency_of_a_slow_consumer_is_raised(operations: Operations) -> None:
    operations.backlog()

    operations.fire(alarm("shipping-request-age"))

    data = performed(operations)
    assert (data["before"], data["after"]) == ({"maximum_concurrency": 10}, {"maximum_concurrency": 20})
    assert operations.functions.updates == [(SHIPPING_MAPPING, 20)]


def test_raised_concurrency_is_restored_once_when_the_alarm_is_ok(operations: Operations) -> None:
    operations.backlog()
    operations.fire(alarm("shipping-request-age"))
    operations.alarms.states["order-pipeline-shipping-request-age"] = "OK"

    # CloudWatch's time of both changes may be the same.
    for minutes in (0, 30):
        operations.fire(alarm("shipping-request-age", START + timedelta(minutes=minutes), "OK"))

    raised, restored = (event["data"] for event in operations.details)
    assert (raised["action"], restored["action"], restored["target"]) == ("raise_concurrency", "restore_concurrency", "shipping-request")
    assert (restored["before"], restored["after"]) == ({"maximum_concurrency": 20}, {"maximum_concurrency": 10})
    assert operations.functions.updates == [(SHIPPING_MAPPING, 20), (SHIPPING_MAPPING, 10)]
    assert operations.outcomes == ["performed", "performed", "no_action"]
    assert len(operations.notifications) == 2


def test_concurrency_that_an_operator_changed_is_not_restored(operations: Operations) -> None:
    operations.backlog()
    operations.fire(alarm("shipping-request-age"))
    operations.alarms.states["order-pipeline-shipping-request-age"] = "OK"
    operations.functions.limits[SHIPPING_MAPPING] = 15

    operations.fire(alarm("shipping-request-age", START + timedelta(minutes=5), "OK"))

    assert operations.outcomes == ["performed", "no_action"]
    assert operations.functions.limits[SHIPPING_MAPPING] == 15


def test_other_alarms_that_return_to_ok_change_nothing(operations: Operations) -> None:
    for name in ("mail-dead-letters", "ledger-difference", "fraud-screen-errors", "stock-differences", "shipping-request-age"):
        operations.fire(alarm(name, state="OK"))

    assert set(operations.outcomes) == {"no_action"}
    assert (operations.details, operations.functions.updates) == ([], [])


def test_concurrency_of_a_failing_consumer_is_not_raised(operations: Operations) -> None:
    operations.backlog()
    operations.logs.lines.append((SHIPPING_MAPPING, json.dumps({"message": "message_failed", "message_id": "x"})))

    operations.fire(alarm("shipping-request-age"))

    assert refusals(operations) == ["raise_concurrency consumer_fails"]
    assert operations.functions.updates == []


@pytest.mark.parametrize(("limit", "reason"), [(None, "no_limit"), (20, "at_the_limit")])
def test_concurrency_has_a_limit(operations: Operations, limit: int | None, reason: str) -> None:
    operations.backlog()
    operations.functions.limits[SHIPPING_MAPPING] = limit

    operations.fire(alarm("shipping-request-age"))

    assert refusals(operations) == [f"raise_concurrency {reason}"]


def test_wrong_ledger_holds_every_order(operations: Operations) -> None:
    operations.fire(alarm("ledger-difference"))

    data = performed(operations)
    assert (data["before"]["hold_every_order"], data["after"]["hold_every_order"]) == (False, True)
    assert operations.flags.served == {"hold_countries": ["GB"], "hold_every_order": True}


def test_hold_stops_a_deployment_of_flags_in_progress(operations: Operations) -> None:
    operations.flags.deployed({"hold_countries": []}, START, state="DEPLOYING")

    operations.fire(alarm("ledger-difference"))

    assert operations.flags.served == {"hold_countries": ["GB"], "hold_every_order": True}
    assert [one["State"] for one in operations.flags.deployments] == ["COMPLETE", "COMPLETE", "ROLLED_BACK", "COMPLETE"]


def test_hold_works_before_the_first_deployment_of_flags(operations: Operations) -> None:
    operations.flags.deployments.clear()

    operations.fire(alarm("ledger-difference"))

    assert performed(operations)["before"] == {"flags": "default", "hold_every_order": False}
    assert operations.flags.served == {"hold_every_order": True}


@pytest.mark.parametrize("kind", ["fraud-screen-errors", "payments-authorize-errors"])
def test_recent_change_of_flags_is_rolled_back(operations: Operations, kind: str) -> None:
    operations.changed_flags()

    operations.fire(alarm(kind))

    data = performed(operations)
    assert data["action"] == "roll_back_flags"
    assert data["before"]["flags"] != data["after"]["flags"]
    assert operations.flags.served == {"hold_countries": ["GB"]}


@pytest.mark.parametrize("kind", ["fraud-screen-errors", "payments-authorize-errors"])
def test_deployment_of_flags_in_progress_is_stopped(operations: Operations, kind: str) -> None:
    """AppConfig rolls such a deployment back by the same alarm; orders need no hold."""
    operations.flags.deployed({"hold_countries": [], "fraud": {"hold_score": 1}}, START, state="DEPLOYING")

    operations.fire(alarm(kind))

    data = performed(operations)
    assert data["action"] == "roll_back_flags"
    assert data["before"] == data["after"]
    assert operations.flags.served == {"hold_countries": ["GB"]}
    assert [one["State"] for one in operations.flags.deployments] == ["COMPLETE", "COMPLETE", "ROLLED_BACK"]


def test_roll_back_of_flags_by_appconfig_is_left_to_it(operations: Operations) -> None:
    operations.flags.deployed({"fraud": {"hold_score": 1}}, START, state="ROLLING_BACK")

    operations.fire(alarm("fraud-screen-errors"))

    assert performed(operations)["action"] == "roll_back_flags"
    assert operations.flags.served == {"hold_countries": ["GB"]}
    assert operations.flags.deployments[-1]["State"] == "ROLLING_BACK"


def test_repeated_roll_back_leaves_a_deployment_that_an_operator_started(operations: Operations) -> None:
    operations.flags.deployed({"fraud": {"hold_score": 1}}, START, state="ROLLED_BACK")
    operations.flags.deployed({"fraud": {"hold_score": 40}}, START, state="DEPLOYING")
    decision = {"outcome": "perform", "action": {"action": "roll_back_flags", "target": "flags", "before": {"flags": "older"}, "stops": 3}}
    given = {name: value for name, value in sample("operations/remediate/refused").items() if name != "result"}

    remediate.handler({**given, "decision": decision}, CONTEXT)

    assert [one["State"] for one in operations.flags.deployments] == ["COMPLETE", "COMPLETE", "ROLLED_BACK", "DEPLOYING"]


def test_roll_back_leaves_flags_that_an_operator_deployed_since(operations: Operations) -> None:
    operations.changed_flags()
    decision = {"outcome": "perform", "action": {"action": "roll_back_flags", "target": "flags", "before": {"flags": "older"}, "number": 1}}
    given = {name: value for name, value in sample("operations/remediate/refused").items() if name != "result"}

    remediate.handler({**given, "decision": decision}, CONTEXT)

    assert operations.flags.served == {"hold_countries": ["GB"], "fraud": {"hold_score": 1}}


@pytest.mark.parametrize("course", [("ROLLED_BACK",), ("ROLLING_BACK", "ROLLED_BACK"), ("REVERTED",)], ids="-".join)
def test_flags_that_appconfig_rolls_back_are_reported_as_failed(operations: Operations, course: tuple[str, ...]) -> None:
    """As while a monitored alarm is in ALARM state."""
    operations.flags.course = course

    operations.fire(alarm("ledger-difference"))

    assert refusals(operations) == ["hold_orders failed"]
    assert operations.outcomes == ["failed"]
    assert len(operations.notifications) == 1
    assert operations.flags.served == {"hold_countries": ["GB"]}


class TestFlagDeployment:
    """A deployment of flags is complete, and only then reported."""

    def flags(self, fake: FakeFlagDeployments, waited: list[float]) -> FlagDeployments:
        ids = {"application": "application1", "environment": "env1234", "profile": "profile1"}
        return FlagDeployments(fake, **ids, strategy="strategy1", wait=waited.append)

    @pytest.mark.parametrize("course", [("DEPLOYING", "BAKING", "COMPLETE"), ("VALIDATING", "DEPLOYING", "COMPLETE")], ids="-".join)
    def test_deployment_in_progress_is_awaited(self, course: tuple[str, ...]) -> None:
        fake, waited = FakeFlagDeployments(), list[float]()
        fake.course = course

        self.flags(fake, waited).deploy({"hold_every_order": True}, "test")

        assert waited == [POLL_SECONDS] * (len(course) - 1)
        assert fake.served == {"hold_every_order": True}

    def test_deployment_that_is_rolled_back_meanwhile_is_an_error(self) -> None:
        fake = FakeFlagDeployments()
        fake.course = ("DEPLOYING", "ROLLING_BACK")

        with pytest.raises(NotDeployedError, match=r"^flag deployment 1 is ROLLING_BACK$"):
            self.flags(fake, []).deploy({"hold_every_order": True}, "test")

    def test_wait_ends_before_the_functions_time_out(self) -> None:
        fake, waited = FakeFlagDeployments(), list[float]()
        fake.course = ("DEPLOYING",)

        with pytest.raises(NotDeployedError, match=r"^flag deployment 1 is DEPLOYING$"):
            self.flags(fake, waited).deploy({"hold_every_order": True}, "test")

        assert sum(waited) <= template.source()["Resources"]["OperationsRemediate"]["Properties"]["Timeout"] / 2

    def test_deployment_of_served_flags_is_awaited_by_a_second_attempt(self) -> None:
        fake = FakeFlagDeployments()
        fake.deployed({"hold_every_order": True}, START, state="BAKING")

        with pytest.raises(NotDeployedError, match=r"^flag deployment 1 is BAKING$"):
            self.flags(fake, []).await_completion(1)


def test_release_in_progress_is_stopped_and_rolled_back(operations: Operations) -> None:
    operations.releases.running = ["d-1", "d-2"]

    operations.fire(alarm("release-api-faults"))

    data = performed(operations)
    assert (data["action"], data["before"], data["after"]) == ("stop_release", {"releases": 2}, {"releases": 0})
    assert operations.releases.stopped == ["d-1", "d-2"]


def test_rollback_by_codedeploy_is_not_stopped(operations: Operations) -> None:
    """CodeDeploy rolls back by the same alarm, as a deployment of its own."""
    operations.releases.running = ["d-1"]
    operations.releases.rollbacks = ["d-2"]

    operations.fire(alarm("release-api-faults"))

    assert performed(operations)["before"] == {"releases": 1}
    assert operations.releases.stopped == ["d-1"]


def test_rollback_in_progress_is_no_release(operations: Operations) -> None:
    operations.releases.rollbacks = ["d-1"]

    operations.fire(alarm("release-api-faults"))

    assert refusals(operations) == ["stop_release no_release"]


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("release-api-faults", ["stop_release no_release"]),
        ("payments-authorize-errors", ["stop_release no_release", "roll_back_flags no_recent_change"]),
        ("stock-differences", ["any not_on_the_list"]),
    ],
)
def test_alarm_without_a_possible_action_is_left_to_operators(operations: Operations, kind: str, reasons: list[str]) -> None:
    operations.fire(alarm(kind))

    assert refusals(operations) == reasons
    assert operations.notifications == []


def test_stack_without_gradual_releases_makes_no_codedeploy_call(operations: Operations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operations.handlers.decide_remediation.SITUATIONS._releases._application", "")

    operations.fire(alarm("release-api-faults"))

    assert refusals(operations) == ["stop_release no_release"]
    assert not operations.releases.calls


@pytest.mark.parametrize(
    "kind",
    [
        "mail-dead-letters",
        "shipping-request-age",
        "ledger-difference",
        "fraud-screen-errors",
        "payments-authorize-errors",
        "release-api-faults",
    ],
)
def test_one_flag_switches_remediation_off(operations: Operations, kind: str) -> None:
    operations.dead_letter()
    operations.backlog()
    operations.releases.running = ["d-1"]
    operations.flags.deployed({"remediation": False}, START)

    operations.fire(alarm(kind))

    assert refusals(operations) == ["any switched_off"]
    assert (operations.releases.stopped, operations.functions.updates, operations.flags.served) == ([], [], {"remediation": False})


def test_alarm_of_a_stack_whose_name_begins_alike_starts_nothing(operations: Operations) -> None:
    """The rule matches a prefix: the alarms of `order-pipeline-eu` reach the workflow of `order-pipeline`."""
    operations.releases.running = ["d-1"]
    event = json.loads(json.dumps(alarm("fraud-screen-errors")).replace("order-pipeline-", "order-pipeline-eu-"))
    unlisted = json.loads(json.dumps(alarm("stock-differences")).replace("order-pipeline", "order-pipeline-eu"))

    operations.fire(event, unlisted)

    assert operations.outcomes == ["no_action", "no_action"]
    assert (operations.details, operations.releases.stopped, operations.claims.calls.total()) == ([], [], 0)


def test_duplicated_alarm_event_is_acted_on_once(operations: Operations) -> None:
    operations.backlog()

    operations.fire(alarm("shipping-request-age"), alarm("shipping-request-age"), alarm("shipping-request-age"))

    assert operations.outcomes == ["performed", "duplicate", "duplicate"]
    assert operations.functions.updates == [(SHIPPING_MAPPING, 20)]
    assert performed(operations)["action"] == "raise_concurrency"


def test_alarm_that_is_over_when_its_event_arrives_starts_nothing(operations: Operations) -> None:
    operations.dead_letter()
    operations.alarms.states["order-pipeline-mail-dead-letters"] = "OK"

    operations.fire(alarm("mail-dead-letters"))

    assert refusals(operations) == ["any alarm_is_over"]


def test_deleted_alarm_starts_nothing(operations: Operations) -> None:
    operations.dead_letter()
    operations.alarms.states["order-pipeline-mail-dead-letters"] = ""

    operations.fire(alarm("mail-dead-letters"))

    assert refusals(operations) == ["any alarm_is_over"]


def test_next_transition_of_an_alarm_waits_for_the_cool_down(operations: Operations) -> None:
    operations.dead_letter()
    operations.fire(alarm("mail-dead-letters"))
    operations.dead_letter()

    operations.fire(alarm("mail-dead-letters", START + timedelta(minutes=5)))

    assert operations.outcomes == ["performed", "refused"]
    assert [event["data"].get("refusals") for event in operations.details] == [None, [{"reason": "too_soon", "action": "redrive"}]]


def test_failed_action_is_reported_as_failed(operations: Operations) -> None:
    operations.backlog()
    operations.disturbance.match = lambda _number, call: call.operation == "UpdateEventSourceMapping"
    operations.disturbance.kind = THROTTLED

    operations.fire(alarm("shipping-request-age"))

    assert refusals(operations) == ["raise_concurrency failed"]
    assert operations.outcomes == ["failed"]
    assert len(operations.notifications) == 1


def test_unreadable_situation_is_reported_as_failed(operations: Operations) -> None:
    operations.disturbance.match = lambda _number, call: call.operation == "DescribeAlarms"
    operations.disturbance.kind = THROTTLED

    operations.fire(alarm("ledger-difference"))

    assert refusals(operations) == ["any failed"]


@pytest.mark.parametrize("path", names("operations/remediate"))
def test_report_samples_are_answered_as_expected(operations: Operations, path: str) -> None:
    assert agrees(remediate.handler(sample(path), CONTEXT), expected(path))


def test_decision_samples_are_answered_as_expected(operations: Operations) -> None:
    """The duplicate must follow the event that it repeats."""
    for path in names("operations/decide_remediation"):
        answer = json.loads(json.dumps(decide_remediation.handler(sample(path), CONTEXT)))
        assert agrees(answer, expected(path)), path
