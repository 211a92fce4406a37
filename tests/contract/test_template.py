"""Requirements for every resource of the translated template, by area."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from devtools.target import ROOT
from devtools.template import source
from orderflow.domain import metrics
from tests.contract.stack import Stack, branches, listed, referred
from tests.support.guidance import require_same

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
SHIPPED_FUNCTIONS = 57
LINES_PER_CONSUMER = 65
RESOURCES_PER_CONSUMER = 7


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

    def test_nested_stack_names_resources_by_the_observed_stack(self) -> None:
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


class TestPolicies:
    def test_wildcards_only_where_iam_has_no_resource(self, stack: Stack) -> None:
        for name, actions in _unbounded(stack):
            assert actions <= UNBOUNDED.get(name, set()), name

    def test_every_excused_wildcard_exists(self, stack: Stack) -> None:
        found: dict[str, set[str]] = {}
        for name, actions in _unbounded(stack):
            found[name] = found.get(name, set()) | actions
        listed = {f"{name} {action}" for name, actions in UNBOUNDED.items() for action in actions}
        present = {f"{name} {action}" for name, actions in found.items() for action in actions}
        require_same(listed, present, "UNBOUNDED in this file", "it lists the grants without a resource, with the reason")

    def test_emails_have_one_sender(self, stack: Stack) -> None:
        [statement] = [s for s in stack.statements("NotificationsMailRole") if "ses:SendEmail" in s["Action"]]
        assert statement["Condition"] == {"StringEquals": {"ses:FromAddress": {"Ref": "EmailFrom"}}}
        assert statement["Resource"] != "*"

    @pytest.mark.parametrize("policy", ["NotificationsMailRole", "PermissionsBoundary"])
    def test_emails_are_allowed_for_an_identity_with_a_configuration_set(self, stack: Stack, policy: str) -> None:
        """SES authorizes the default configuration set of the sender's identity as well (https://github.com/aws/aws-cdk/issues/34402)."""
        granted = stack.boundary(policy) if policy == "PermissionsBoundary" else stack.grants(policy)
        resources = {resource.rpartition(":")[2] for action, resource in granted if action == "ses:SendEmail"}
        assert resources == {"identity/*", "configuration-set/*"}


def _unbounded(stack: Stack) -> Iterator[tuple[str, set[str]]]:
    for name, resource in stack.resources.items():
        for statement in _statements(resource.get("Properties", {})):
            if statement["Effect"] == "Deny":
                continue
            actions = set(listed(statement["Action"]))
            if any("*" in action for action in actions) or "*" in map(referred, branches(statement.get("Resource", []))):
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
    assert len(lines) <= 2700 + added * LINES_PER_CONSUMER
    assert [number for number, line in enumerate(lines, 1) if len(line) > 140] == []
    nested = source(ROOT / "observability.yaml")["Resources"]
    assert len(stack.resources) - len(nested) < 350 + added * RESOURCES_PER_CONSUMER
    assert len(nested) <= 200


@pytest.mark.parametrize("name", ["template.yaml", "observability.yaml"])
def test_wrapped_flow_values_indent_by_their_nesting(name: str) -> None:
    """Lines of one flow value align only where they are in the same bracket."""
    text = (ROOT / name).read_text("utf-8")
    lines, depth = text.split("\n"), 0
    # The bracket depths that enclose the current line, with the indentation of the first line in each.
    enclosing, wrapped, last = [(0, 0)], list[int](), -1
    for token in yaml.scan(text):
        number, column = token.start_mark.line, token.start_mark.column
        if number != last and column == len(lines[number]) - len(lines[number].lstrip()):
            while enclosing and enclosing[-1][0] > depth:
                enclosing.pop()
            if depth == 0:
                enclosing = [(0, column)]
            elif enclosing[-1][0] < depth:
                wrapped += [number + 1] if column <= enclosing[-1][1] else []
                enclosing.append((depth, column))
            elif column != enclosing[-1][1]:
                wrapped.append(number + 1)
        last = number
        depth += isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken)
        depth -= isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken)
    assert not wrapped, wrapped


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
