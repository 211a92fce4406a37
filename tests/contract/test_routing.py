"""Routes of events: the patterns of rules and streams, matched with every event type."""

import json
import re
from contextlib import suppress
from typing import Any

import pytest

from analytics.domain import counting_rules
from devtools import template
from devtools.checks.contracts import routes
from devtools.target import ROOT
from ledger.domain import posting_rules
from operations import redrive_routes as redrive
from orderflow.aws.order_log import OrderLog
from orderflow.aws.order_log_items import ITEM_ATTRIBUTES
from orderflow.aws.outbox_index import OutboxIndex
from orderflow.domain.events import EVENT_TYPES, PRODUCERS, STREAM_ONLY_EVENTS
from tests.contract.stack import Stack, referred
from tests.fakes.aws.dynamodb import FakeDynamoDB
from tests.fakes.aws.environment import TABLES
from tests.fakes.aws.event_patterns import matches
from tests.support import prepared
from tests.support.orders import STATES, history

RESOURCES = template.translated()["Resources"]
# The events of each rule, and of each filter of a stream by its mapping.
ROUTES = routes.rules(RESOURCES)
STREAMED = routes.streamed(RESOURCES)
# Rules of the default bus, where AWS's services publish.
OF_AWS = {"RemediationRule"}
# A rule takes replays too if its consumer's writes are keyed by event or guarded by version, replays alone if a
# stream delivers new events to its consumer, and never takes them if its consumer has side effects.
REPLAYS = {None: "too", json.dumps([{"exists": True}]): "alone", json.dumps([{"exists": False}]): "never"}
REPLAY = {"replay-name": "rebuild"}
# The redrive routes, with logical ids of topic and workflows and short names of queues.
REDRIVEN = redrive.routes("operations", topic="Notifications", saga="Fulfilment", workflows={redrive.REVIEW: "Review"})
# Failed scheduled runs need no redrive, since the next run does their work; failed remediations, since their alarms are over.
MANUAL = {"scheduled-jobs", "remediation"}


# Readers per shard. Kinesis: five reads a second, and each reader polls once a second, so four leave one for a redrive
# (https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html). DynamoDB: no more than two processes
# (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html).
LIMITS = {"Kinesis::Stream": 4, "DynamoDB::Table": 2}


def readers(stack: Stack, stream: str) -> set[str]:
    """Return the event source mappings and delivery streams that poll a stream, without consumers with enhanced fan-out."""
    mapped = {name for name, one in stack.of("Lambda::EventSourceMapping").items() if referred(one["EventSourceArn"]) == stream}
    return mapped | {
        name
        for name, one in stack.of("KinesisFirehose::DeliveryStream").items()
        if referred(one.get("KinesisStreamSourceConfiguration", {}).get("KinesisStreamARN")) == stream
    }


def short(name: Any) -> str:
    """Return a name of the template without the stack's prefix."""
    return name["Fn::Sub"].removeprefix("${AWS::StackName}-")


def delivered(event_type: str, **more: str) -> dict[str, Any]:
    return {"source": "orders", "detail-type": event_type, "detail": {"order_id": "ord_1"}, **more}


def replays(rule: str) -> str:
    """Return whether a rule takes replays `too`, `alone` or `never`."""
    pattern = RESOURCES[rule]["Properties"]["EventPattern"]
    return REPLAYS.get(json.dumps(pattern["replay-name"]) if "replay-name" in pattern else None, "by an unknown condition")


REPLAYED = {rule for rule in ROUTES if replays(rule) in {"too", "alone"}}


@pytest.mark.parametrize("name", [*ROUTES, *STREAMED])
def test_each_route_names_events_that_exist(name: str) -> None:
    unknown = sorted(({**ROUTES, **STREAMED}[name]) - set(EVENT_TYPES))
    assert not unknown, f"{name} in template.yaml names {', '.join(unknown)}: correct the name, or add the event to its facet"


def starts_remediation(stack: Stack, stack_name: str, state: str, configuration: dict[str, Any] | None = None) -> bool:
    """Return whether the rule of a stack with this name takes the event of an alarm of the stack order-pipeline.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
    """
    alarm = json.loads((ROOT / "events/operations/decide_remediation/unlisted.json").read_text("utf-8"))["alarm"]
    alarm["detail"]["state"]["value"] = state
    alarm["detail"]["configuration"] = configuration or alarm["detail"]["configuration"]
    text = json.dumps(stack.of("Events::Rule")["RemediationRule"]["EventPattern"])
    return matches(json.loads(text.replace('{"Fn::Sub": "${AWS::StackName}-"}', f'"{stack_name}-"')), alarm)


@pytest.mark.parametrize("state", ["ALARM", "OK", "INSUFFICIENT_DATA"])
@pytest.mark.parametrize("stack_name", ["order-pipeline", "other"])
def test_remediation_starts_for_alarms_of_the_stack_that_are_on_or_over(stack: Stack, state: str, stack_name: str) -> None:
    assert starts_remediation(stack, stack_name, state) is (state in ("ALARM", "OK") and stack_name == "order-pipeline")


def test_remediation_starts_for_expression_alarms_not_for_composite_ones(stack: Stack) -> None:
    expression = {"metrics": [{"id": "watched", "expression": "SUM([a, b])", "label": "watched", "returnData": True}]}
    assert starts_remediation(stack, "order-pipeline", "ALARM", expression)
    composite = {"alarmRule": 'ALARM("order-pipeline-mail")', "actionsSuppressor": "none"}
    assert not starts_remediation(stack, "order-pipeline", "ALARM", composite)


@pytest.mark.parametrize("rule", ROUTES)
def test_each_rule_matches_the_events_that_it_names(stack: Stack, rule: str) -> None:
    pattern = stack.of("Events::Rule")[rule]["EventPattern"]
    assert set(pattern) <= {"detail-type", "replay-name"}, f"{rule} has a condition that devtools/checks/contracts/routes.py ignores"
    taken = {event_type for event_type in EVENT_TYPES if matches(pattern, delivered(event_type, **(REPLAY if rule in REPLAYED else {})))}
    assert taken == ROUTES[rule]


@pytest.mark.parametrize("rule", ROUTES)
def test_each_rule_decides_about_replays(stack: Stack, rule: str) -> None:
    described = stack.of("Events::Rule")[rule].get("Description", "")
    assert replays(rule) in {"alone", "never"} or (replays(rule) == "too" and described.endswith("replayed or not.")), (
        f"{rule} also takes replayed events. Where its consumer has effects outside the stack, such as an email, add "
        "`replay-name: [{exists: false}]` to its EventPattern; where it absorbs a replay, end its Description with `replayed or not.`"
    )


@pytest.mark.parametrize("rule", sorted(rule for rule in ROUTES if replays(rule) == "alone"))
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_no_event_reaches_a_consumer_by_stream_and_bus(stack: Stack, rule: str, event_type: str) -> None:
    assert not matches(stack.of("Events::Rule")[rule]["EventPattern"], delivered(event_type))


def test_every_consumer_of_a_stream_filters_its_events(stack: Stack) -> None:
    sources = {name: stack.kind(referred(m["EventSourceArn"])) for name, m in stack.of("Lambda::EventSourceMapping").items()}
    unfiltered = {name for name, kind in sources.items() if kind != "SQS::Queue"} - {"OrdersPublishAppended", *STREAMED}
    assert not unfiltered, f"add FilterCriteria with the wanted event types to {', '.join(sorted(unfiltered))} in template.yaml"


@pytest.mark.parametrize("kind", LIMITS)
def test_no_stream_has_more_readers_than_a_shard_serves(stack: Stack, kind: str) -> None:
    streams = [name for name, one in stack.of(kind).items() if kind == "Kinesis::Stream" or "StreamSpecification" in one]
    assert streams
    for stream in streams:
        assert len(readers(stack, stream)) <= LIMITS[kind], stream


@pytest.mark.parametrize("mapping", STREAMED)
def test_each_stream_mapping_passes_exactly_its_events(stack: Stack, mapping: str) -> None:
    [one] = stack.of("Lambda::EventSourceMapping")[mapping]["FilterCriteria"]["Filters"]
    pattern = json.loads(one["Pattern"])
    if stack.kind(referred(stack.of("Lambda::EventSourceMapping")[mapping]["EventSourceArn"])) == "Kinesis::Stream":
        taken = pattern["data"]["type"]
        assert pattern == {"data": {"type": taken}}
    else:
        taken = pattern["dynamodb"]["NewImage"]["type"]["S"]
        assert pattern == {"eventName": ["INSERT"], "dynamodb": {"NewImage": {"type": {"S": taken}}}}
    assert set(taken) == STREAMED[mapping]


@pytest.mark.parametrize("mapping", STREAMED)
def test_failed_stream_records_are_retried_from_the_consumers_queue(stack: Stack, mapping: str) -> None:
    function = referred(stack.of("Lambda::EventSourceMapping")[mapping]["FunctionName"])
    queue = referred(stack.of("Lambda::Function")[function]["Environment"]["Variables"]["RETRY_QUEUE_URL"])
    feeding = [
        referred(m["EventSourceArn"]) for m in stack.of("Lambda::EventSourceMapping").values() if referred(m["FunctionName"]) == function
    ]
    assert queue in feeding


@pytest.mark.parametrize("mapping", STREAMED)
def test_failed_batch_is_redriven_as_its_stream_delivers_it(stack: Stack, mapping: str) -> None:
    function = referred(stack.of("Lambda::EventSourceMapping")[mapping]["FunctionName"])
    named = stack.of("Lambda::Function")[function]
    queue = stack.of("SQS::Queue")[referred(named["Environment"]["Variables"]["RETRY_QUEUE_URL"])]
    failures = stack.of("Lambda::EventSourceMapping")[mapping]["DestinationConfig"]["OnFailure"]["Destination"]
    route = REDRIVEN[short(queue["QueueName"])]
    assert (route.target, route.streamed) == (short(queue["QueueName"]), STREAMED[mapping]), "run `make contracts`"
    assert route.queue_url == short(stack.of("SQS::Queue")[referred(failures)]["QueueName"])


def test_every_dead_letter_queue_has_a_redrive_or_a_manual_step(stack: Stack) -> None:
    dead_letters = {short(queue["QueueName"]) for queue in stack.of("SQS::Queue").values()}
    dead_letters = {name for name in dead_letters if name.endswith("-dead-letters") or name == "operations"}
    known = {route.queue_url for route in REDRIVEN.values()} | {f"{name}-dead-letters" for name in MANUAL}
    assert dead_letters <= known, (
        f"nothing redrives {dead_letters - known}: run `make contracts`, or give the queue that it serves a RedrivePolicy"
    )
    assert known <= dead_letters, f"template.yaml has no queue {known - dead_letters}: run `make contracts`"


def test_dead_letters_of_a_queue_are_redriven_to_it(stack: Stack) -> None:
    queues = stack.of("SQS::Queue")
    targets = {
        short(queues[referred(queue["RedrivePolicy"]["deadLetterTargetArn"])]["QueueName"]): short(queue["QueueName"])
        for queue in queues.values()
        if "RedrivePolicy" in queue
    }
    assert {route.queue_url: route.target for route in REDRIVEN.values() if route.kind == "queue"} == targets


def test_dead_letters_of_a_rule_or_subscription_are_redriven_to_its_target(stack: Stack) -> None:
    queues = stack.of("SQS::Queue")
    by_queue = {route.queue_url: route for route in REDRIVEN.values()}
    for name, rule in stack.of("Events::Rule").items():
        for target in rule["Targets"] if name not in OF_AWS else []:
            to = referred(target["Arn"])
            route = by_queue[short(queues[referred(target["DeadLetterConfig"]["Arn"])]["QueueName"])]
            assert (route.topic or route.target) == (short(queues[to]["QueueName"]) if to in queues else to)
    for subscription in (one for one in stack.of("SNS::Subscription").values() if one["Protocol"] == "sqs"):
        route = by_queue[short(queues[referred(subscription["RedrivePolicy"]["deadLetterTargetArn"])]["QueueName"])]
        assert route.target == short(queues[referred(subscription["Endpoint"])]["QueueName"])


@pytest.mark.parametrize("event_type", sorted(STREAM_ONLY_EVENTS))
def test_no_rule_matches_a_stream_only_event(event_type: str) -> None:
    rules = [rule for rule, types in ROUTES.items() if event_type in types]
    assert not rules, f"{', '.join(rules)} never gets {event_type}: remove `stream_only=True` from `@evolves({event_type}, …)`"


@pytest.mark.parametrize("rule", sorted(set(ROUTES) - REPLAYED))
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_replay_reaches_no_consumer_with_side_effects(stack: Stack, rule: str, event_type: str) -> None:
    pattern = stack.of("Events::Rule")[rule]["EventPattern"]
    assert not matches(pattern, delivered(event_type, **{"replay-name": "rebuild"}))


def test_operations_document_lists_the_replayable_rules() -> None:
    text = " ".join((ROOT / "docs" / "operations.md").read_text("utf-8").split())
    [listed] = re.findall(r"rules that take replays: (.*?), or all", text)
    named = set(re.findall(r"`(\w+)`", listed))
    assert named == REPLAYED, f"docs/operations.md: add {REPLAYED - named} to the rules that take replays, remove {named - REPLAYED}"


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_event_archive_holds_every_event_once(stack: Stack, event_type: str) -> None:
    [archive] = stack.of("Events::Archive").values()
    assert referred(archive["SourceArn"]) == "EventBus"
    assert matches(archive["EventPattern"], delivered(event_type))
    assert not matches(archive["EventPattern"], delivered(event_type, **REPLAY))


def test_ledger_receives_exactly_the_posted_events(stack: Stack) -> None:
    posted = set[str]()
    for event in (event for commands in STATES.values() for event in history(*commands)):
        with suppress(posting_rules.NoMoneyMoved):
            posted.add(posting_rules.entry_for(event, posting_rules.Fees()).type)
    assert posted == ROUTES["LedgerRule"], (
        f"template.yaml, LedgerRule and LedgerPost: add {posted - ROUTES['LedgerRule']}, which functions/ledger/domain/posting_rules.py "
        f"posts, and remove {ROUTES['LedgerRule'] - posted}, which it does not"
    )


def test_analytics_receive_exactly_the_counted_events(stack: Stack) -> None:
    every = [event for commands in STATES.values() for event in history(*commands)]
    counted, routed = {event.type for event in every if counting_rules.count_event(event).counters}, ROUTES["AnalyticsCountRule"]
    assert counted == routed, (
        f"template.yaml, AnalyticsCountRule and AnalyticsCount: add {counted - routed}, which "
        f"functions/analytics/domain/counting_rules.py counts, and remove {routed - counted}, which it does not"
    )


def test_ledger_audit_may_publish_ledger_events_only(stack: Stack) -> None:
    role = referred(stack.of("Lambda::Function")["LedgerAudit"]["Role"])
    [statement] = [s for s in stack.statements(role) if "events:PutEvents" in s["Action"]]
    assert statement["Condition"] == {"ForAllValues:StringEquals": {"events:source": ["ledger"]}}


def test_email_queue_receives_exactly_the_emailed_events(stack: Stack) -> None:
    subscription = stack.of("SNS::Subscription")["MailSubscription"]
    assert subscription["FilterPolicyScope"] == "MessageBody"
    taken = {event_type for event_type in EVENT_TYPES if matches(subscription["FilterPolicy"], delivered(event_type))}
    assert taken == ROUTES["NotificationsRule"], "template.yaml: NotificationsRule and MailSubscription must name the same events"


def test_publisher_is_invoked_for_new_and_overwritten_events(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    filters = stack.of("Lambda::EventSourceMapping")["OrdersPublishAppended"]["FilterCriteria"]["Filters"]
    patterns = [json.loads(entry["Pattern"]) for entry in filters]
    monkeypatch.setattr("orderflow.aws.order_log_items.SAMPLE", 1)
    database = FakeDynamoDB(*TABLES)
    log = OrderLog("OrderLog", database.client)
    order = prepared.place(log)
    OutboxIndex("OrderLog", database.client).clear(order.order_id, 1)
    prepared.advance(
        log,
        order.order_id,
        "inventory.handlers.reserve_stock",
        "fraud.handlers.screen_order",
        "payments.handlers.authorize_payment",
        "orders.handlers.confirm_order",
    )
    OutboxIndex("OrderLog", database.client).clear(order.order_id, 3)
    normal = list(database.changes["OrderLog"])
    first, *_, last = database.items("OrderLog")
    for content in ({**last, "event": first["event"]}, first):
        item = {name: value for name, value in content.items() if name in ITEM_ATTRIBUTES}
        database.client.put_item(TableName="OrderLog", Item=item)
    database.client.delete_item(TableName="OrderLog", Key={name: last[name] for name in ("order_id", "version")})

    def invoked(record: dict[str, Any]) -> bool:
        return any(matches(pattern, record) for pattern in patterns)

    assert [record["eventName"] for record in normal if invoked(record)] == ["INSERT"] * 5
    assert len(normal) == 8
    overwritten = database.changes["OrderLog"][8:]
    assert [(record["eventName"], invoked(record)) for record in overwritten] == [("MODIFY", True), ("MODIFY", True), ("REMOVE", True)]


@pytest.mark.parametrize("function", ["OrdersPublish", "OperationsReconcile", "OperationsRedrive"])
def test_publishers_may_use_only_sources_that_append(stack: Stack, function: str) -> None:
    role = referred(stack.of("Lambda::Function")[function]["Role"])
    [statement] = [s for s in stack.statements(role) if "events:PutEvents" in s["Action"]]
    [(condition, keys)] = statement["Condition"].items()
    assert (condition, list(keys)) == ("ForAllValues:StringEquals", ["events:source"])
    allowed, appending = set(keys["events:source"]), {context for contexts in PRODUCERS.values() for context in contexts}
    assert allowed == appending, (
        f"template.yaml, {function}: add {appending - allowed} to the values of events:source, and remove {allowed - appending}"
    )
