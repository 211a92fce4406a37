"""Delivery of events, messages and scheduled runs: bounded retries, dead-letter queues, and the permission to deliver."""

from collections.abc import Iterator
from typing import Any

from tests.contract.stack import Stack, listed, referred
from tests.contract.test_template import watched

STREAMS = ("DynamoDB::Table", "Kinesis::Stream")


def rule_targets(stack: Stack) -> Iterator[tuple[str, dict[str, Any]]]:
    for rule, properties in stack.of("Events::Rule").items():
        for target in properties["Targets"]:
            yield rule, target


def consumers(stack: Stack, source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the event source mappings of sources of this type, with the source's logical id."""
    for mapping in stack.of("Lambda::EventSourceMapping").values():
        name = referred(mapping["EventSourceArn"])
        if stack.kind(name) == source:
            yield name, mapping


def asynchronous(stack: Stack) -> set[str]:
    """Return the functions that are invoked asynchronously."""
    targets = [referred(schedule["Target"]["Arn"]) for schedule in stack.of("Scheduler::Schedule").values()]
    targets += [referred(target["Arn"]) for _, target in rule_targets(stack)]
    subscriptions = stack.of("SNS::Subscription").values()
    targets += [referred(subscription["Endpoint"]) for subscription in subscriptions if subscription["Protocol"] == "lambda"]
    return {name for name in targets if stack.kind(name) == "Lambda::Function"}


class TestRules:
    def test_every_target_has_bounded_retries_and_a_dead_letter_queue(self, stack: Stack) -> None:
        targets = list(rule_targets(stack))
        assert targets
        for rule, target in targets:
            retry = target["RetryPolicy"]
            assert 0 < retry["MaximumRetryAttempts"] <= 185, rule
            assert 60 <= retry["MaximumEventAgeInSeconds"] <= 86400, rule
            assert stack.kind(referred(target["DeadLetterConfig"]["Arn"])) == "SQS::Queue", rule

    def test_only_the_rule_itself_may_write_to_its_dead_letter_queue(self, stack: Stack) -> None:
        for rule, target in rule_targets(stack):
            queue = referred(target["DeadLetterConfig"]["Arn"])
            of_rules = {"Service": "events.amazonaws.com"}
            [statement] = [one for one in stack.queue_policies(queue) if one["Principal"] == of_rules]
            assert statement["Effect"] == "Allow"
            assert listed(statement["Action"]) == ["sqs:SendMessage"], queue
            assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rule, "Arn"]}}}, queue

    def test_no_target_is_a_function(self, stack: Stack) -> None:
        kinds = {stack.kind(referred(target["Arn"])) for _, target in rule_targets(stack)}
        assert kinds <= {"SQS::Queue", "SNS::Topic", "StepFunctions::StateMachine"}

    def test_rules_use_the_bus_and_may_reach_their_targets(self, stack: Stack) -> None:
        for rule, target in rule_targets(stack):
            properties = stack.of("Events::Rule")[rule]
            # AWS's services publish to the default bus, which a rule does not name.
            of_aws = [source.startswith("aws.") for source in properties["EventPattern"].get("source", [])]
            assert of_aws == [True] or stack.kind(referred(properties["EventBusName"])) == "Events::EventBus"
            assert _may_deliver(stack, rule, target), rule


def _may_deliver(stack: Stack, rule: str, target: dict[str, Any]) -> bool:
    name = referred(target["Arn"])
    match stack.kind(name):
        case "StepFunctions::StateMachine":
            return ("states:StartExecution", name) in stack.grants(referred(target["RoleArn"]))
        case "SNS::Topic":
            # EventBridge supports no condition in the policy of a topic (grants.toml).
            return any(
                statement["Principal"] == {"Service": "events.amazonaws.com"} and "Condition" not in statement
                for policy in stack.of("SNS::TopicPolicy").values()
                for statement in policy["PolicyDocument"]["Statement"]
                if statement["Effect"] == "Allow" and name in map(referred, listed(statement["Resource"]))
            )
        case _:
            return any(
                statement["Principal"] == {"Service": "events.amazonaws.com"}
                and statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rule, "Arn"]}}}
                for statement in stack.queue_policies(name)
            )


class TestQueues:
    def test_every_queue_has_a_receive_limit_and_visibility_timeout(self, stack: Stack) -> None:
        consumed = list(consumers(stack, "SQS::Queue"))
        assert consumed
        for name, mapping in consumed:
            queue = stack.of("SQS::Queue")[name]
            function = stack.of("Lambda::Function")[referred(mapping["FunctionName"])]
            assert 2 <= queue["RedrivePolicy"]["maxReceiveCount"] <= 10, name
            # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
            assert queue["VisibilityTimeout"] >= 6 * function["Timeout"] + mapping.get("MaximumBatchingWindowInSeconds", 0), name
            assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"], name

    def test_dead_letters_are_retained_longer_than_their_source(self, stack: Stack) -> None:
        queues = stack.of("SQS::Queue")
        for name in stack.dead_letter_queues():
            assert queues[name]["MessageRetentionPeriod"] == 14 * 24 * 3600, name
        for queue in queues.values():
            if "RedrivePolicy" in queue:
                after = queues[referred(queue["RedrivePolicy"]["deadLetterTargetArn"])]
                assert queue["MessageRetentionPeriod"] < after["MessageRetentionPeriod"]

    def test_every_subscription_has_a_dead_letter_queue_it_may_write(self, stack: Stack) -> None:
        subscriptions = [s for s in stack.of("SNS::Subscription").values() if s["Protocol"] == "sqs"]
        assert subscriptions
        for subscription in subscriptions:
            dead_letters = referred(subscription["RedrivePolicy"]["deadLetterTargetArn"])
            for queue in (referred(subscription["Endpoint"]), dead_letters):
                of_topics = {"Service": "sns.amazonaws.com"}
                [statement] = [one for one in stack.queue_policies(queue) if one["Principal"] == of_topics]
                assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": subscription["TopicArn"]}}

    def test_every_queue_has_a_consumer_an_alarm_or_an_operator(self, stack: Stack) -> None:
        dimensions = [d["Value"] for alarm in stack.of("CloudWatch::Alarm").values() for one in watched(alarm) for d in one["Dimensions"]]
        alarmed = {stack.named(value, "SQS::Queue") for value in dimensions}
        consumed = {name for name, _ in consumers(stack, "SQS::Queue")}
        for name, queue in stack.of("SQS::Queue").items():
            # A queue without an alarm has a consumer, whose dead-letter queue has an alarm.
            dead_letters = referred(queue.get("RedrivePolicy", {}).get("deadLetterTargetArn", ""))
            assert name in alarmed or (name in consumed and dead_letters in alarmed), name

    def test_every_consumer_has_one_dead_letter_queue(self, stack: Stack) -> None:
        """A consumer's rule, queue and stream share it."""
        for name, mapping in consumers(stack, "SQS::Queue"):
            function = referred(mapping["FunctionName"])
            found = {referred(stack.of("SQS::Queue")[name]["RedrivePolicy"]["deadLetterTargetArn"])}
            found |= {referred(target["DeadLetterConfig"]["Arn"]) for _, target in rule_targets(stack) if referred(target["Arn"]) == name}
            streams = [one for source in STREAMS for _, one in consumers(stack, source) if referred(one["FunctionName"]) == function]
            found |= {referred(one["DestinationConfig"]["OnFailure"]["Destination"]) for one in streams}
            assert len(found) == 1, function


class TestSources:
    def test_every_stream_mapping_has_bounded_retries_and_a_destination(self, stack: Stack) -> None:
        streams = [one for source in STREAMS for one in consumers(stack, source)]
        assert streams
        for name, mapping in streams:
            assert 0 < mapping["MaximumRetryAttempts"] <= 10_000, name
            assert 60 <= mapping["MaximumRecordAgeInSeconds"] < 24 * 3600, name
            assert mapping["BisectBatchOnFunctionError"] is True, name
            queue = referred(mapping["DestinationConfig"]["OnFailure"]["Destination"])
            assert stack.kind(queue) == "SQS::Queue", name

    def test_every_asynchronous_function_has_a_failure_destination(self, stack: Stack) -> None:
        configured = {referred(c["FunctionName"]): c for c in stack.of("Lambda::EventInvokeConfig").values()}
        assert asynchronous(stack)
        for function in asynchronous(stack):
            config = configured[function]
            assert 0 <= config["MaximumRetryAttempts"] <= 2, function
            assert config["MaximumEventAgeInSeconds"] <= 3600, function
            queue = referred(config["DestinationConfig"]["OnFailure"]["Destination"])
            role = referred(stack.of("Lambda::Function")[function]["Role"])
            assert ("sqs:SendMessage", queue) in stack.grants(role), function

    def test_every_schedule_has_bounded_retries_and_a_dead_letter_queue(self, stack: Stack) -> None:
        schedules = stack.of("Scheduler::Schedule")
        assert schedules
        for name, schedule in schedules.items():
            target = schedule["Target"]
            queue = referred(target["DeadLetterConfig"]["Arn"])
            assert 0 < target["RetryPolicy"]["MaximumRetryAttempts"] <= 185, name
            assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 3600, name
            functions = {referred(one["Target"]["Arn"]) for one in schedules.values()}
            invoking = {("lambda:InvokeFunction", function) for function in functions}
            assert stack.grants(referred(target["RoleArn"])) == {*invoking, ("sqs:SendMessage", queue)}

    def test_every_schedule_is_named_after_its_function(self, stack: Stack) -> None:
        """The name differs from that of earlier releases, so that deleting the old schedule does not delete this one."""
        for schedule in stack.of("Scheduler::Schedule").values():
            assert schedule["Name"] == stack.of("Lambda::Function")[referred(schedule["Target"]["Arn"])]["FunctionName"]
