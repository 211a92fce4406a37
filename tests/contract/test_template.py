"""Requirements for every resource of the translated template, by area."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from devtools.target import ROOT
from devtools.template import source
from orderflow.domain import metrics, remediation_events
from orderflow.domain.events import EVENT_TYPES, Event
from tests.contract.stack import Stack, listed, referred

# Tables with lasting data; the disposable ones hold data that expires or can be rebuilt.
RETAINED = {
    "OrderLog",
    "Invoices",
    "LoyaltyPoints",
    "Catalogue",
    "Stock",
    "Reservations",
    "ReturnedStock",
    "Reviews",
    "Fraud",
    "LedgerEntries",
    "LedgerBalances",
    "StripePayments",
    "PaymentRoutes",
}
DISPOSABLE = {
    "PaymentTokens",
    "Allowances",
    "SandboxPayments",
    "SandboxShipments",
    "Tracking",
    "MailIdempotency",
    "Remediations",
    "OrderView",
    "AnalyticsSums",
}
LOG_DELIVERY = {
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
}
WORKFLOW_TRACING = {"xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets"}
# Wildcards: IAM has no resource for these actions, or the policy applies only to its own resource.
UNBOUNDED = {
    "PermissionsBoundary": {"xray:PutTraceSegments", "xray:PutTelemetryRecords"},
    "TopicKey": {"kms:*", "kms:GenerateDataKey", "kms:Decrypt"},
    # AppConfig requires a role that may describe every alarm.
    "FlagsAlarmsRole": {"cloudwatch:DescribeAlarms"},
    "ReleaseRole": {"cloudwatch:DescribeAlarms"},
    "FulfilmentRole": LOG_DELIVERY | WORKFLOW_TRACING,
    "ReviewRole": LOG_DELIVERY | WORKFLOW_TRACING,
    "RemediationRole": LOG_DELIVERY | WORKFLOW_TRACING,
    # Local targets only; on AWS the policy is limited by identity and sender.
    "NotificationsMailRole": {"ses:SendEmail"},
    # Local targets only; on AWS the policy names the workflow.
    "ReviewsWaitRole": {"states:SendTaskSuccess"},
    "ReviewsCloseRole": {"states:SendTaskSuccess"},
}


# The most lines and resources of a further function with its rule, queues and policy.
SHIPPED_FUNCTIONS = 56
LINES_PER_CONSUMER = 65
RESOURCES_PER_CONSUMER = 7
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
            assert queue["VisibilityTimeout"] >= 6 * function["Timeout"], name
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

    def test_dead_letter_queue_policy_waits_for_the_shared_one(self, stack: Stack) -> None:
        """CloudFormation empties the policy of a queue that leaves OtherQueuesPolicy, which earlier releases used for all."""
        for name, policy in stack.of("SQS::QueuePolicy").items():
            consumed = len(policy["Queues"]) > 1 and name != "OtherQueuesPolicy"
            assert stack.resources[name].get("DependsOn") == ("OtherQueuesPolicy" if consumed else None), name


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


MACHINES = {"Fulfilment": "fulfilment", "Review": "review", "Remediation": "remediation"}
# The topic that a workflow may publish to.
TOPICS = {"Review": "ReviewRequests", "Remediation": "Alarms"}


def workflow(machine: str) -> dict[str, Any]:
    return json.loads((ROOT / f"workflows/{MACHINES[machine]}.asl.json").read_text("utf-8"))


def invoking(source: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the states of a workflow that invoke a function: the state's name, the function, the state."""
    for name, state in source["States"].items():
        if ":lambda:invoke" in state.get("Resource", ""):
            yield name, state["Parameters"]["FunctionName"].strip("${}"), state


class TestWorkflows:
    def test_every_state_machine_is_listed(self, stack: Stack) -> None:
        assert set(stack.of("StepFunctions::StateMachine")) == set(MACHINES)

    @pytest.mark.parametrize("machine", MACHINES)
    def test_workflow_role_may_invoke_exactly_its_steps(self, stack: Stack, machine: str) -> None:
        steps = {function for _, function, _ in invoking(workflow(machine))}
        invoked = {name for action, name in stack.grants(f"{machine}Role") if action == "lambda:InvokeFunction"}
        assert invoked == steps
        assert steps <= set(stack.of("Lambda::Function"))

    @pytest.mark.parametrize("machine", MACHINES)
    def test_workflow_role_may_use_its_queue_and_topic(self, stack: Stack, machine: str) -> None:
        reached = {state["Resource"].rpartition(":::")[2] for state in workflow(machine)["States"].values() if "Resource" in state}
        granted = stack.grants(f"{machine}Role")
        assert (("sqs:SendMessage", "OperationsQueue") in granted) is ("sqs:sendMessage" in reached)
        assert {name for action, name in granted if action == "sns:Publish"} == ({TOPICS[machine]} if "sns:publish" in reached else set())
        assert (("kms:GenerateDataKey", "TopicKey") in granted) is ("sns:publish" in reached)

    @pytest.mark.parametrize("machine", MACHINES)
    def test_function_timeout_ends_before_the_states_timeout(self, stack: Stack, machine: str) -> None:
        source = workflow(machine)
        for name, function, state in invoking(source):
            if not state["Resource"].endswith(".waitForTaskToken"):
                timeout = stack.of("Lambda::Function")[function]["Timeout"]
                assert timeout < state["TimeoutSeconds"] <= source.get("TimeoutSeconds", 3600), name

    def test_review_wait_times_out_without_retry(self) -> None:
        [wait] = [state for _, _, state in invoking(workflow("Review")) if state["Resource"].endswith(".waitForTaskToken")]
        assert wait["TimeoutSecondsPath"] == "$.wait.seconds"
        # States.TaskFailed matches every error except a timeout.
        assert [retrier["ErrorEquals"] for retrier in wait["Retry"]] == [["States.TaskFailed"]]
        assert wait["Catch"][0]["ErrorEquals"] == ["States.Timeout"]

    def test_workflows_are_traced_and_log_no_execution_data(self, stack: Stack) -> None:
        for name, machine in stack.of("StepFunctions::StateMachine").items():
            assert machine["TracingConfiguration"] == {"Enabled": True}, name
            assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False, name


class TestAlarms:
    def test_every_dead_letter_queue_alarms_at_the_first_message(self, stack: Stack) -> None:
        alarmed = {
            stack.named(alarm["Dimensions"][0]["Value"], "SQS::Queue")
            for alarm in stack.of("CloudWatch::Alarm").values()
            if alarm.get("MetricName") == "ApproximateNumberOfMessagesVisible"
            and (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")
            and alarm["Statistic"] == "Maximum"
        }
        for queue in [*stack.dead_letter_queues(), "OperationsQueue"]:
            assert queue in alarmed, queue

    def test_alarms_that_only_notify_exist_with_a_subscriber(self, stack: Stack) -> None:
        assert stack.conditions["HasAlarms"] == {"Fn::Or": [{"Condition": "NotifyOnAlarm"}, {"Condition": "IsProtected"}]}
        for name in stack.of("CloudWatch::Alarm", "CloudWatch::CompositeAlarm", "CloudWatch::Dashboard"):
            assert stack.resources[name]["Condition"] == ("SellsAlways" if name == "NoOrdersAlarm" else "HasAlarms"), name

    def test_only_groups_of_alarms_notify(self, stack: Stack) -> None:
        """test_alarms.py checks that every alarm is in a group."""
        assert not [name for name, alarm in stack.of("CloudWatch::Alarm").items() if "AlarmActions" in alarm]
        for name, alarm in stack.of("CloudWatch::CompositeAlarm").items():
            assert [stack.kind(referred(action)) for action in alarm["AlarmActions"]] == ["SNS::Topic"], name

    def test_every_alarm_is_named_by_its_logical_id(self, stack: Stack) -> None:
        """Remediation, releases and runbooks find an alarm by this name."""
        for name, alarm in stack.of("CloudWatch::Alarm", "CloudWatch::CompositeAlarm").items():
            short = re.sub(r"(?<!^)(?=[A-Z])", "-", name.removesuffix("Alarm")).lower()
            assert alarm["AlarmName"] == {"Fn::Sub": f"${{AWS::StackName}}-{short}"}, name

    def test_the_nested_stack_names_resources_by_the_observed_stack(self) -> None:
        """In a nested stack AWS::StackName is the nested stack's own name, which no metric has as a dimension."""
        assert "AWS::StackName" not in (ROOT / "observability.yaml").read_text("utf-8")

    def test_every_alarm_watches_a_metric_of_a_resource_that_exists(self, stack: Stack) -> None:
        for name, alarm in stack.of("CloudWatch::Alarm").items():
            assert all(_is_measured(stack, metric) for metric in watched(alarm)), name


def watched(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics that an alarm watches: its own, or those that its expression combines."""
    return [one["MetricStat"]["Metric"] for one in alarm.get("Metrics", []) if "MetricStat" in one] or [alarm]


def _is_measured(stack: Stack, alarm: dict[str, Any]) -> bool:
    dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}
    match alarm["Namespace"]:
        case "AWS/SQS":
            return set(dimensions) == {"QueueName"} and bool(stack.named(dimensions["QueueName"], "SQS::Queue"))
        case "AWS/Lambda" if not dimensions:
            # Of all functions of the account and region, which share its limit of concurrency.
            return alarm["MetricName"] == "Throttles"
        case "AWS/Lambda":
            function = stack.named(dimensions["FunctionName"], "Lambda::Function")
            aliases = {referred(one["FunctionName"]) for one in stack.of("Lambda::Alias").values()}
            resource = dimensions.get("Resource", dimensions["FunctionName"])
            of_alias = function in aliases and resource == {"Fn::Sub": f"{dimensions['FunctionName']['Fn::Sub']}:live"}
            return set(dimensions) <= {"FunctionName", "Resource"} and bool(function) and ("Resource" not in dimensions or of_alias)
        case "AWS/States":
            before, _, name = dimensions["StateMachineArn"]["Fn::Sub"].partition("stateMachine:")
            named = stack.named({"Fn::Sub": name}, "StepFunctions::StateMachine")
            return before == "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:" and bool(named)
        case "AWS/ApiGateway":
            [api], [stage] = stack.of("ApiGateway::RestApi").values(), stack.of("ApiGateway::Stage").values()
            return dimensions == {"ApiName": api["Name"], "Stage": stage["StageName"]}
        case "AWS/Kinesis":
            return bool(stack.named(dimensions["StreamName"], "Kinesis::Stream"))
        case "AWS/Firehose":
            return bool(stack.named(dimensions["DeliveryStreamName"], "KinesisFirehose::DeliveryStream"))
        case namespace if not dimensions:
            return _is_emitted(stack, namespace, alarm["MetricName"], dimensions) or any(
                (measured["MetricNamespace"], measured["MetricName"]) == (namespace, alarm["MetricName"]) for measured in _filtered(stack)
            )
        case namespace:
            return _is_emitted(stack, namespace, alarm["MetricName"], dimensions)


def _filtered(stack: Stack) -> Iterator[dict[str, Any]]:
    """Yield the metrics of metric filters."""
    for found in stack.of("Logs::MetricFilter").values():
        assert stack.kind(referred(found["LogGroupName"])) == "Logs::LogGroup"
        yield from found["MetricTransformations"]


def _is_emitted(stack: Stack, namespace: Any, metric: str, dimensions: dict[str, Any]) -> bool:
    """Return whether functions of the namespace have the service that the alarm names; test_metrics.py checks the rest."""
    services = {
        variables["POWERTOOLS_SERVICE_NAME"]
        for function in stack.of("Lambda::Function").values()
        if (variables := function["Environment"]["Variables"])["POWERTOOLS_METRICS_NAMESPACE"] == namespace
    }
    return bool(services) and set(dimensions.values()) <= services and metric in {one.name for one in KNOWN}


KNOWN = {one for one in vars(metrics).values() if isinstance(one, metrics.Metric)}


class TestFunctions:
    def test_functions_of_a_context_share_its_log_group(self, stack: Stack) -> None:
        for name, function in stack.of("Lambda::Function").items():
            context = function["Handler"].partition(".")[0]
            group = stack.of("Logs::LogGroup")[referred(function["LoggingConfig"]["LogGroup"])]
            assert group["LogGroupName"] == {"Fn::Sub": f"/aws/lambda/${{AWS::StackName}}-{context}"}, name

    def test_platform_logs_are_failures_only_and_metrics_are_logged(self, stack: Stack) -> None:
        for name, function in stack.of("Lambda::Function").items():
            levels = {key: value for key, value in function["LoggingConfig"].items() if key != "LogGroup"}
            # A metrics line has no level, so Lambda treats it as INFO.
            assert levels == {"LogFormat": "JSON", "SystemLogLevel": "WARN", "ApplicationLogLevel": "INFO"}, name

    def test_every_log_group_has_retention(self, stack: Stack) -> None:
        assert all(group["RetentionInDays"] for group in stack.of("Logs::LogGroup").values())

    def test_each_function_has_its_own_role_for_lambda_only(self, stack: Stack) -> None:
        roles = {name: referred(function["Role"]) for name, function in stack.of("Lambda::Function").items()}
        assert max(Counter(roles.values()).values()) == 1
        for name, role in roles.items():
            [statement] = stack.resources[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            assert statement["Principal"] == {"Service": ["lambda.amazonaws.com"]}, name

    def test_every_function_is_traced(self, stack: Stack) -> None:
        """A function that a queue, a stream or a schedule invokes continues the sender's trace and starts none."""
        fed = {referred(mapping["FunctionName"]) for mapping in stack.of("Lambda::EventSourceMapping").values()}
        fed |= {referred(schedule["Target"]["Arn"]) for schedule in stack.of("Scheduler::Schedule").values()}
        for name, function in stack.of("Lambda::Function").items():
            assert function["TracingConfig"] == {"Mode": "PassThrough" if name in fed else "Active"}, name
            assert ("xray:PutTraceSegments", "*") in stack.grants(referred(function["Role"])), name
        assert all(stage["TracingEnabled"] for stage in stack.of("ApiGateway::Stage").values())

    def test_traces_are_sampled_by_a_rule_of_the_stack(self, stack: Stack) -> None:
        [rule] = [one["SamplingRule"] for one in stack.of("XRay::SamplingRule").values()]
        assert rule["ServiceName"] == {"Fn::Sub": "${AWS::StackName}*"}
        assert (rule["ReservoirSize"], rule["FixedRate"]) == (0, {"Fn::If": ["IsProtected", 0.01, 1]})
        # The name has at most 32 characters; the stack's id has a UUID whose first part has eight.
        text, values = rule["RuleName"]["Fn::Sub"]
        assert len(text.replace("${Id}", "0" * 8)) <= 32
        assert "AWS::StackId" in json.dumps(values)

    def test_every_function_is_built_from_an_existing_module(self, stack: Stack) -> None:
        for name, function in stack.of("Lambda::Function").items():
            module = function["Handler"].removesuffix(".handler").replace(".", "/")
            assert (ROOT / "functions" / f"{module}.py").is_file(), name
            assert stack.resources[name]["Metadata"]["BuildMethod"] == "makefile", name

    def test_every_module_with_a_handler_is_deployed(self, stack: Stack) -> None:
        deployed = {function["Handler"] for function in stack.of("Lambda::Function").values()}
        written = {
            f"{path.parents[1].name}.handlers.{path.stem}.handler"
            for path in (ROOT / "functions").glob("*/handlers/*.py")
            if any(isinstance(node, ast.FunctionDef) and node.name == "handler" for node in ast.parse(path.read_text("utf-8")).body)
        }
        assert deployed == written

    def test_every_function_is_named_by_its_logical_id(self, stack: Stack) -> None:
        for name, function in stack.of("Lambda::Function").items():
            short = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
            assert function["FunctionName"] == {"Fn::Sub": f"${{AWS::StackName}}-{short}"}


# The functions that accept only signed messages, and the outputs with their URLs.
SIGNED = {"ShippingWebhook": "CarrierWebhookUrl", "PaymentsWebhook": "PaymentsWebhookUrl"}


class TestUrls:
    def test_only_webhook_functions_have_a_url(self, stack: Stack) -> None:
        urls = stack.of("Lambda::Url")
        assert {referred(url["TargetFunctionArn"]) for url in urls.values()} == set(SIGNED)
        assert all("Cors" not in url for url in urls.values())
        for function in SIGNED:
            source = (
                ROOT / "functions" / f"{stack.of('Lambda::Function')[function]['Handler'].removesuffix('.handler').replace('.', '/')}.py"
            )
            assert re.search(r"\b(verified_body|VERIFY)\(", source.read_text("utf-8")), function

    def test_each_url_is_an_output(self, stack: Stack) -> None:
        for name, url in stack.of("Lambda::Url").items():
            output = SIGNED[referred(url["TargetFunctionArn"])]
            assert stack.outputs[output]["Value"] == {"Fn::GetAtt": [name, "FunctionUrl"]}

    def test_function_url_is_public_and_the_function_is_not(self, stack: Stack) -> None:
        everybody = [one for one in stack.of("Lambda::Permission").values() if one["Principal"] == "*"]
        for function in SIGNED:
            granted = {one["Action"]: one for one in everybody if referred(one["FunctionName"]) == function}
            assert set(granted) == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}, function
            assert granted["lambda:InvokeFunctionUrl"]["FunctionUrlAuthType"] == "NONE", function
            assert granted["lambda:InvokeFunction"]["InvokedViaFunctionUrl"] is True, function
        assert len(everybody) == 2 * len(SIGNED)

    def test_cost_of_the_public_route_is_limited(self, stack: Stack) -> None:
        for function in SIGNED:
            reserved = stack.of("Lambda::Function")[function]["ReservedConcurrentExecutions"]
            assert reserved == {"Fn::If": ["ReserveWebhookConcurrency", {"Ref": "WebhookConcurrency"}, {"Ref": "AWS::NoValue"}]}, function

    def test_faults_of_webhooks_raise_an_alarm(self, stack: Stack) -> None:
        watched = {
            stack.named(alarm["Dimensions"][0]["Value"], "Lambda::Function")
            for alarm in stack.of("CloudWatch::Alarm").values()
            if (alarm.get("Namespace"), alarm.get("MetricName")) == ("AWS/Lambda", "Url5xxCount")
        }
        assert watched == set(SIGNED)


class TestFloods:
    """Requests without a token or signature must be cheap and must not exhaust shared capacity."""

    def test_no_api_route_invokes_a_webhook(self, stack: Stack) -> None:
        [api] = stack.of("ApiGateway::RestApi").values()
        assert not [function for function in SIGNED if f"${{{function}" in json.dumps(api["Body"])]
        invokers = {referred(one["FunctionName"]) for one in stack.of("Lambda::Permission").values() if one["Principal"] != "*"}
        assert invokers.isdisjoint(SIGNED)

    def test_every_public_route_has_its_own_throttle(self, stack: Stack) -> None:
        [api] = stack.of("ApiGateway::RestApi").values()
        public = {
            (path.replace("/", "~1"), method.upper())
            for path, methods in api["Body"]["paths"].items()
            for method, route in methods.items()
            if method != "options" and route["security"] == [{"NONE": []}]
        }
        assert public
        for stage in stack.of("ApiGateway::Stage").values():
            of_all, *others = stage["MethodSettings"]
            settings = {(one["ResourcePath"], one["HttpMethod"]): one for one in others}
            # https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-apigateway-stage-methodsetting.html
            assert set(settings) == {(f"/{path}", method) for path, method in public}
            for one in settings.values():
                assert one["ThrottlingRateLimit"] <= of_all["ThrottlingRateLimit"] / 10
                assert {name: one[name] for name in one if "Throttl" not in name and name not in ("ResourcePath", "HttpMethod")} == {
                    name: of_all[name] for name in of_all if "Throttl" not in name and name not in ("ResourcePath", "HttpMethod")
                }

    @pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
    def test_tokens_pass_the_gateway_and_other_headers_do_not(self, stack: Stack, algorithm: str) -> None:
        key: Any = rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
        claims = {"sub": "a" * 40, "email": f"{'a' * 64}@example.com", "groups": [f"group-{number}" for number in range(100)]}
        token = jwt.encode(claims, key, algorithm, headers={"kid": "k"})
        head, body, signature = token.split(".")
        assert self.passes(stack, f"Bearer {token}")
        assert self.passes(stack, f"bearer {token}")
        for other in (token, f"Basic {token}", "Bearer a.b.c", f"Bearer {head}.{body}", f"Bearer {head}.{body}.", f"Bearer x{token}"):
            assert not self.passes(stack, other)
        assert not self.passes(stack, f"Bearer {head}.{body}.{signature[:85]}")
        assert not self.passes(stack, f"Bearer {head}.{body * 99}.{signature}")
        assert not self.passes(stack, f"Bearer {jwt.encode(claims, '', 'none')}")

    def passes(self, stack: Stack, header: str) -> bool:
        [api] = stack.of("ApiGateway::RestApi").values()
        [scheme] = [one["x-amazon-apigateway-authorizer"] for one in _schemes(api["Body"])]
        return bool(re.fullmatch(scheme["identityValidationExpression"], header))

    def test_waf_exists_only_where_configured(self, translated: dict[str, Any]) -> None:
        firewall = {name for name, one in translated["Resources"].items() if one["Type"].startswith("AWS::WAFv2::")}
        assert {translated["Resources"][name]["Condition"] for name in firewall} == {"UseWaf"}
        assert not Stack(translated).holds({"Condition": "UseWaf"})
        assert not Stack(translated, WafRequestsPer5Minutes="2000", Target="emulator").holds({"Condition": "UseWaf"})
        assert Stack(translated, WafRequestsPer5Minutes="2000").holds({"Condition": "UseWaf"})

    @pytest.mark.parametrize(("value", "good"), [("0", True), ("10", True), ("2000", True), ("9", False), ("-1", False), ("", False)])
    def test_invalid_waf_rate_is_refused_by_the_template(self, translated: dict[str, Any], value: str, good: bool) -> None:
        assert bool(re.fullmatch(translated["Parameters"]["WafRequestsPer5Minutes"]["AllowedPattern"], value)) is good

    def test_firewall_limits_rates_by_ip_and_samples_no_requests(self, stack: Stack) -> None:
        [firewall] = stack.of("WAFv2::WebACL").values()
        assert firewall["DefaultAction"] == {"Allow": {}}
        for one in (firewall, *firewall["Rules"]):
            assert one["VisibilityConfig"]["SampledRequestsEnabled"] is False
        rates = [rule["Statement"]["RateBasedStatement"] for rule in firewall["Rules"]]
        assert [rule["Action"] for rule in firewall["Rules"]] == [{"Block": {}}] * len(rates)
        assert {rate["AggregateKeyType"] for rate in rates} == {"IP"}
        assert [rate["Limit"] for rate in rates if "ScopeDownStatement" not in rate] == [{"Ref": "WafRequestsPer5Minutes"}]
        [association] = stack.of("WAFv2::WebACLAssociation").values()
        [stage] = stack.of("ApiGateway::Stage")
        assert association["ResourceArn"]["Fn::Sub"].endswith(f"::/restapis/${{Api}}/stages/${{{stage}}}")


def _schemes(body: dict[str, Any]) -> list[Any]:
    return list((body.get("securityDefinitions") or body["components"]["securitySchemes"]).values())


class TestCustomers:
    def test_changed_email_is_verified_before_it_replaces_the_old(self, stack: Stack) -> None:
        [pool] = stack.of("Cognito::UserPool").values()
        assert pool["AutoVerifiedAttributes"] == ["email"]
        assert pool["UserAttributeUpdateSettings"] == {"AttributesRequireVerificationBeforeUpdate": ["email"]}

    def test_sign_in_emails_are_sent_by_ses_if_configured(self, stack: Stack) -> None:
        [pool] = stack.of("Cognito::UserPool").values()
        ses = {"EmailSendingAccount": "DEVELOPER", "SourceArn": {"Ref": "SignInEmailIdentityArn"}, "From": {"Ref": "EmailFrom"}}
        assert pool["EmailConfiguration"] == {"Fn::If": ["UseSesForSignIn", ses, {"Ref": "AWS::NoValue"}]}


class TestData:
    def test_every_table_has_point_in_time_recovery(self, stack: Stack) -> None:
        tables = stack.of("DynamoDB::Table")
        assert set(tables) == RETAINED | DISPOSABLE
        for name, table in tables.items():
            # A deleted payment token must not remain in a backup.
            recovered = name != "PaymentTokens"
            assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": recovered}, name

    def test_no_stack_operation_loses_orders_or_stock(self, stack: Stack) -> None:
        for name in RETAINED:
            assert stack.resources[name]["DeletionPolicy"] in {"Retain", "RetainExceptOnCreate"}, name
            assert stack.resources[name]["UpdateReplacePolicy"] == "Retain", name
            assert stack.of("DynamoDB::Table")[name]["DeletionProtectionEnabled"] == {"Fn::If": ["IsProtected", True, False]}
        assert stack.resources["UserPool"]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert stack.resources["UserPool"]["UpdateReplacePolicy"] == "Retain"

    def test_invoice_bucket_is_private_encrypted_and_versioned(self, stack: Stack) -> None:
        for name, bucket in stack.of("S3::Bucket").items():
            assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, name
            assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"], name
            assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}, name
            assert all(rule["Status"] == "Enabled" and "Expiration" not in rule for rule in bucket["LifecycleConfiguration"]["Rules"]), name
            assert stack.resources[name]["DeletionPolicy"] == "RetainExceptOnCreate", name
            [policy] = [p for p in stack.of("S3::BucketPolicy").values() if referred(p["Bucket"]) == name]
            [statement] = policy["PolicyDocument"]["Statement"]
            assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}}), name

    def test_disposable_tables_are_deleted_with_the_stack(self, stack: Stack) -> None:
        for name in DISPOSABLE:
            assert stack.resources[name]["DeletionPolicy"] == "Delete", name

    def test_everything_is_encrypted_at_rest(self, stack: Stack) -> None:
        assert all(queue["SqsManagedSseEnabled"] is True for queue in stack.of("SQS::Queue").values())
        keys = [referred(topic["KmsMasterKeyId"]) for topic in stack.of("SNS::Topic").values()]
        assert {stack.kind(key) for key in keys} == {"KMS::Key"}
        # DynamoDB always encrypts, by default with its own key.
        assert all("SSESpecification" not in table for table in stack.of("DynamoDB::Table").values())
        assert all(key["EnableKeyRotation"] for key in stack.of("KMS::Key").values())


class TestArchive:
    @pytest.fixture
    def delivery(self, stack: Stack) -> dict[str, Any]:
        """Return the delivery stream, the only writer of the archive."""
        [stream] = stack.of("KinesisFirehose::DeliveryStream").values()
        return stream

    def test_archived_objects_cannot_be_changed(self, stack: Stack) -> None:
        bucket = stack.of("S3::Bucket")["AuditArchive"]
        assert bucket["ObjectLockEnabled"] is True
        assert bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]["Mode"] == "GOVERNANCE"
        assert stack.resources["AuditArchive"]["UpdateReplacePolicy"] == "Retain"
        writers = [role for role in stack.of("IAM::Role") if any(name.startswith("AuditArchive") for _, name in stack.grants(role))]
        assert writers == ["AuditDeliveryRole"]

    def test_archive_receives_every_event_of_the_stream(self, delivery: dict[str, Any]) -> None:
        assert delivery["DeliveryStreamType"] == "KinesisStreamAsSource"
        assert referred(delivery["KinesisStreamSourceConfiguration"]["KinesisStreamARN"]) == "EventStream"
        assert "DeliveryStreamName" in delivery

    def test_objects_are_compressed_lines_by_day_and_type_of_their_events(self, delivery: dict[str, Any]) -> None:
        destination = delivery["ExtendedS3DestinationConfiguration"]
        assert referred(destination["BucketARN"]) == "AuditArchive"
        assert destination["CompressionFormat"] == "GZIP"
        assert destination["Prefix"] == "events/date=!{partitionKeyFromQuery:date}/type=!{partitionKeyFromQuery:type}/"
        assert destination["DynamicPartitioningConfiguration"]["Enabled"] is True
        # The minimum for dynamic partitioning.
        assert destination["BufferingHints"]["SizeInMBs"] >= 64
        [query, delimiter] = [
            {one["ParameterName"]: one["ParameterValue"] for one in processor["Parameters"]}
            for processor in destination["ProcessingConfiguration"]["Processors"]
        ]
        assert query == {"MetadataExtractionQuery": "{date: .occurred_at[0:10], type: .type}", "JsonParsingEngine": "JQ-1.6"}
        assert delimiter == {"Delimiter": r"\n"}

    def test_delivery_role_may_read_the_stream_and_write_objects_only(self, stack: Stack, delivery: dict[str, Any]) -> None:
        roles = {referred(delivery[name]["RoleARN"]) for name in ("KinesisStreamSourceConfiguration", "ExtendedS3DestinationConfiguration")}
        assert roles == {"AuditDeliveryRole"}
        assert stack.grants("AuditDeliveryRole") == {
            *((f"kinesis:{action}", "EventStream") for action in ("DescribeStream", "ListShards", "GetShardIterator", "GetRecords")),
            *((f"s3:{action}", "AuditArchive") for action in ("GetBucketLocation", "ListBucket", "ListBucketMultipartUploads")),
            *((f"s3:{action}", "AuditArchive/*") for action in ("PutObject", "AbortMultipartUpload")),
            ("logs:PutLogEvents", "AuditDeliveryLogs"),
        }
        [statement] = stack.resources["AuditDeliveryRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "firehose.amazonaws.com"}

    def test_archive_delivery_failures_raise_an_alarm(self, stack: Stack, delivery: dict[str, Any]) -> None:
        logging = delivery["ExtendedS3DestinationConfiguration"]["CloudWatchLoggingOptions"]
        assert logging["Enabled"] is True
        counted = [referred(one["LogGroupName"]) for one in stack.of("Logs::MetricFilter").values()]
        assert referred(logging["LogGroupName"]) in counted
        found = {alarm.get("MetricName") for alarm in stack.of("CloudWatch::Alarm").values()}
        # The last is the age of records that any reader of the event stream gets, Firehose among them.
        assert found >= {"DeliveryToS3.DataFreshness", "AuditDeliveryErrors", "GetRecords.IteratorAgeMilliseconds"}

    def test_athena_finds_every_day_and_type(self, stack: Stack, delivery: dict[str, Any]) -> None:
        table = stack.of("Glue::Table")["AuditTable"]["TableInput"]
        parameters = table["Parameters"]
        separator, values = parameters["projection.type.values"]["Fn::Join"]
        assert (separator, values) == (",", [*EVENT_TYPES, *(event.type for event in remediation_events.EVENTS)]), (
            "run `make contracts`, which writes this list"
        )
        assert parameters["storage.location.template"] == {"Fn::Sub": "s3://${AuditArchive}/events/date=${!date}/type=${!type}/"}
        columns = [column["Name"] for column in (*table["StorageDescriptor"]["Columns"], *table["PartitionKeys"])]
        assert sorted(columns) == sorted(["date", *Event.__struct_fields__])

    def test_athena_workgroup_limits_scanned_bytes(self, stack: Stack) -> None:
        [workgroup] = stack.of("Athena::WorkGroup").values()
        configuration = workgroup["WorkGroupConfiguration"]
        assert configuration["EnforceWorkGroupConfiguration"] is True
        assert configuration["BytesScannedCutoffPerQuery"] > 0
        for query in stack.of("Athena::NamedQuery").values():
            assert (referred(query["Database"]), referred(query["WorkGroup"])) == ("AuditCatalogue", "AuditQueries")


class TestPolicies:
    def test_wildcards_only_where_iam_has_no_resource(self, stack: Stack) -> None:
        for name, actions in _unbounded(stack):
            assert actions <= UNBOUNDED.get(name, set()), name

    def test_every_excused_wildcard_exists(self, stack: Stack) -> None:
        found: dict[str, set[str]] = {}
        for name, actions in _unbounded(stack):
            found[name] = found.get(name, set()) | actions
        assert found == UNBOUNDED

    def test_emails_have_one_sender(self, stack: Stack) -> None:
        [statement] = [s for s in stack.statements("NotificationsMailRole") if "ses:SendEmail" in s["Action"]]
        assert statement["Condition"] == {"StringEquals": {"ses:FromAddress": {"Ref": "EmailFrom"}}}
        assert statement["Resource"] != "*"


def _unbounded(stack: Stack) -> Iterator[tuple[str, set[str]]]:
    for name, resource in stack.resources.items():
        for statement in _statements(resource.get("Properties", {})):
            if statement["Effect"] == "Deny":
                continue
            actions = set(listed(statement["Action"]))
            if any("*" in action for action in actions) or "*" in map(referred, listed(statement.get("Resource", []))):
                yield name, actions


def _statements(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _statements(item)
    elif isinstance(value, dict):
        if "Effect" in value and "Action" in value:
            yield value
        for item in value.values():
            yield from _statements(item)


@pytest.mark.parametrize("name", ["ApiId", "ApiStage", "CarrierWebhookUrl", "PaymentsWebhookUrl", "FlagsApplication"])
def test_outputs_are_values_without_a_physical_id(stack: Stack, name: str) -> None:
    assert name in stack.outputs


def test_outputs_and_parameters_are_few(stack: Stack) -> None:
    """Tools find resources by logical id; other settings are flags, constants, or values in the template."""
    assert len(stack.outputs) <= 15
    assert len(source()["Parameters"]) <= 15


@pytest.mark.parametrize("name", ["template.yaml", "observability.yaml"])
def test_template_fits_a_reader_and_leaves_room_for_resources(name: str, stack: Stack) -> None:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    added = max(0, len(stack.of("Lambda::Function")) - SHIPPED_FUNCTIONS)
    assert len(lines) <= 3115 + added * LINES_PER_CONSUMER
    assert [number for number, line in enumerate(lines, 1) if len(line) > 140] == []
    nested = source(ROOT / "observability.yaml")["Resources"]
    assert len(stack.resources) - len(nested) <= 350 + added * RESOURCES_PER_CONSUMER
    assert len(nested) <= 200


def test_every_function_has_a_rule_to_build_it(stack: Stack) -> None:
    makefile = (ROOT / "functions" / "Makefile").read_text("utf-8")
    built = re.findall(r"^build-(\w+)%:\n(?:\t.*\n)*?\t\$\(call context,(\w+)\)", makefile, re.MULTILINE)
    for name, function in stack.of("Lambda::Function").items():
        context = function["Handler"].partition(".")[0]
        assert [context] == [folder for prefix, folder in built if name.startswith(prefix)], name


def test_function_environments_are_within_lambdas_limit(stack: Stack) -> None:
    defaults = {name: str(given.get("Default", "")) for name, given in source()["Parameters"].items()}

    def written(value: Any) -> str:
        match value:
            case {"Fn::Sub": str() as text}:
                return re.sub(r"\$\{([\w.:]+)\}", lambda found: named(found[1]), text)
            case {"Fn::If": [_, chosen, other]}:
                return max(written(chosen), written(other), key=len)
            case {"Ref": name}:
                return named(name)
            case dict():
                return named("")
            case _:
                return str(value)

    def named(name: str) -> str:
        # The length of an ARN with long resource and region names.
        return defaults.get(name) or "x" * 128

    sizes = {
        name: sum(len(key) + len(written(value)) + 6 for key, value in function["Environment"]["Variables"].items())
        for name, function in stack.of("Lambda::Function").items()
    }
    assert {name: size for name, size in sizes.items() if size > 4096} == {}
