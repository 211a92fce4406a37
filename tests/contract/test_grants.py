"""Every policy of the template: the grants to AWS services, their conditions, and the allowed shape of policies.

grants.toml lists the condition keys that each service sends, with sources.
"""

import tomllib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from devtools.target import ROOT
from orderflow.domain.events import PRODUCERS
from tests.contract.policies import ATTACHED, arn, service_arn
from tests.contract.stack import AWS_MANAGED, Stack, aws_managed, branches, listed, referred

TABLE: list[dict[str, Any]] = tomllib.loads((ROOT / "tests/contract/grants.toml").read_text("utf-8"))["grant"]
# The property of each kind of resource that holds a policy.
POLICIES = {
    ("IAM::Role", "AssumeRolePolicyDocument"),
    ("IAM::Role", "Policies"),
    ("IAM::ManagedPolicy", "PolicyDocument"),
    ("KMS::Key", "KeyPolicy"),
    ("SNS::TopicPolicy", "PolicyDocument"),
    ("SQS::QueuePolicy", "PolicyDocument"),
    ("S3::BucketPolicy", "PolicyDocument"),
}
# Kinds of resources without policies here, or whose permissions (Lambda::Permission, Lambda::Url) other tests check.
# Add a new kind only after checking that it has no policies.
WITHOUT_POLICY = {
    "ApiGateway::Account",
    "ApiGateway::Deployment",
    "ApiGateway::RestApi",
    "ApiGateway::Stage",
    "AppConfig::Application",
    "AppConfig::ConfigurationProfile",
    "AppConfig::Deployment",
    "AppConfig::DeploymentStrategy",
    "AppConfig::Environment",
    "AppConfig::HostedConfigurationVersion",
    "Athena::NamedQuery",
    "Athena::WorkGroup",
    "CloudFormation::Stack",
    "CloudWatch::Alarm",
    "CloudWatch::AnomalyDetector",
    "CloudWatch::CompositeAlarm",
    "CloudWatch::Dashboard",
    "CodeDeploy::Application",
    "CodeDeploy::DeploymentGroup",
    "Cognito::UserPool",
    "Cognito::UserPoolClient",
    "Cognito::UserPoolGroup",
    "DynamoDB::Table",
    "Events::Archive",
    "Events::EventBus",
    "Events::Rule",
    "Glue::Database",
    "Glue::Table",
    "Kinesis::Stream",
    "KinesisFirehose::DeliveryStream",
    "Lambda::Alias",
    "Lambda::EventInvokeConfig",
    "Lambda::EventSourceMapping",
    "Lambda::Function",
    "Lambda::LayerVersion",
    "Lambda::Permission",
    "Lambda::Url",
    "Lambda::Version",
    "Logs::LogGroup",
    "Logs::LogStream",
    "Logs::MetricFilter",
    "Logs::QueryDefinition",
    "S3::Bucket",
    "SNS::Subscription",
    "SNS::Topic",
    "SQS::Queue",
    "Scheduler::Schedule",
    "SecretsManager::Secret",
    "StepFunctions::StateMachine",
    "WAFv2::WebACL",
    "WAFv2::WebACLAssociation",
    "XRay::SamplingRule",
}
# The service that assumes the roles of a kind of resource.
ASSUMED_BY = {
    "Lambda::Function": "lambda.amazonaws.com",
    "StepFunctions::StateMachine": "states.amazonaws.com",
    "Scheduler::Schedule": "scheduler.amazonaws.com",
    "Events::Rule": "events.amazonaws.com",
    "KinesisFirehose::DeliveryStream": "firehose.amazonaws.com",
    "AppConfig::Environment": "appconfig.amazonaws.com",
    "ApiGateway::Account": "apigateway.amazonaws.com",
    "CodeDeploy::DeploymentGroup": "codedeploy.amazonaws.com",
}
OF_AWS = {"ApiLogsRole": {"service-role/AmazonAPIGatewayPushToCloudWatchLogs"}}
ACCOUNT = {"Ref": "AWS::AccountId"}
# The event sources that each publishing function may use.
APPENDING = list(dict.fromkeys(context for contexts in PRODUCERS.values() for context in contexts))
SOURCES: dict[str, list[str]] = {
    "OrdersPublishRole": APPENDING,
    "OperationsReconcileRole": APPENDING,
    "OperationsRedriveRole": APPENDING,
    "LedgerAuditRole": ["ledger"],
    "OperationsRemediateRole": ["operations"],
}
# Wider permissions for local targets, whose emulators lack the resource types.
OFF_AWS = {
    "NotificationsMailRole": {("ses:SendEmail", "*")},
    "ReviewsWaitRole": {("states:SendTaskSuccess", "*")},
    "ReviewsCloseRole": {("states:SendTaskSuccess", "*")},
}
# The ARN of an event source mapping has a random id, so a condition limits the permission to mappings of the stack's functions.
OWN_FUNCTIONS = {
    "ArnLike": {
        "lambda:FunctionArn": {"Fn::Sub": "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-*"}
    }
}
# Conditions that narrow a role's reads and writes of a table.
OF_TABLES = {"dynamodb:Attributes", "dynamodb:LeadingKeys", "dynamodb:ReturnValues", "dynamodb:Select"}


class Statement(NamedTuple):
    """A statement of a policy, with the resource and the property that hold it."""

    owner: str
    kind: str
    place: str
    body: dict[str, Any]

    @property
    def actions(self) -> list[str]:
        return listed(self.body["Action"])

    @property
    def services(self) -> list[str]:
        principal = self.body.get("Principal", {})
        return listed(principal["Service"]) if isinstance(principal, dict) and "Service" in principal else []


class Grant(NamedTuple):
    """A policy's grant to a service or to the public."""

    principal: str
    to: str
    owner: str
    actions: list[str]
    keys: set[str]


def documents(stack: Stack) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Return every policy document of the template: resource, kind, property, document."""
    for name, resource in stack.resources.items():
        for place, value in resource.get("Properties", {}).items():
            for document in _documents(value):
                yield name, stack.kind(name), place, document


def _documents(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _documents(item)
    elif isinstance(value, dict):
        # A rule of a web ACL also has a statement, but no effect.
        if any("Effect" in statement for statement in branches(value.get("Statement", []))):
            yield value
        for item in value.values():
            yield from _documents(item)


def statements(stack: Stack) -> Iterator[Statement]:
    """Return every statement of every policy, all branches of Fn::If included."""
    for owner, kind, place, document in documents(stack):
        for body in branches(document["Statement"]):
            yield Statement(owner, kind, place, body)


def is_identity(statement: Statement) -> bool:
    return statement.place == "Policies" or statement.kind == "IAM::ManagedPolicy"


def keys(body: dict[str, Any]) -> set[str]:
    return {key for operands in body.get("Condition", {}).values() for key in operands}


def grants(stack: Stack) -> Iterator[Grant]:
    """Return the grants to services and to the public."""
    for statement in statements(stack):
        if statement.body["Effect"] == "Allow":
            kind = ATTACHED[statement.kind][1] if statement.kind in ATTACHED else statement.kind
            for principal in statement.services:
                yield Grant(principal, kind, statement.owner, statement.actions, keys(statement.body))
    sent = {"SourceArn": "aws:SourceArn", "SourceAccount": "aws:SourceAccount"}
    sent |= {name: f"lambda:{name}" for name in ("FunctionUrlAuthType", "InvokedViaFunctionUrl")}
    for owner, permission in stack.of("Lambda::Permission").items():
        used = {sent[name] for name in permission if name not in {"Action", "FunctionName", "Principal"}}
        yield Grant(permission["Principal"], "Lambda::Function", owner, [permission["Action"]], used)


def row(grant: Grant) -> dict[str, Any]:
    """Return the table's row for a grant."""
    [found] = [
        one for one in TABLE if (one["principal"], one["to"]) == (grant.principal, grant.to) and set(grant.actions) <= set(one["actions"])
    ] or [None]
    assert found is not None, f"{grant.owner}: grants.toml does not say which condition keys {grant.principal} sends to {grant.to}"
    return found


class TestTable:
    def test_service_grants_use_documented_condition_keys(self, stack: Stack) -> None:
        for grant in grants(stack):
            known = row(grant)
            missing, unknown = set(known["keys"]) - grant.keys, grant.keys - {*known["keys"], *known.get("also", [])}
            assert (missing, unknown) == (set(), set()), f"{grant.owner}: (missing, not sent); see {known['source']}"

    def test_every_row_is_used(self, stack: Stack) -> None:
        used = [row(grant) for grant in grants(stack)]
        assert [one for one in TABLE if one not in used] == []

    @pytest.mark.parametrize("one", TABLE, ids=lambda one: f"{one['principal']}-{one['to']}-{one['actions'][0]}")
    def test_every_row_names_its_source(self, one: dict[str, Any]) -> None:
        assert set(one) - {"also"} == {"principal", "to", "actions", "keys", "source", "documentation"}
        assert one["source"].startswith("https://docs.aws.amazon.com/")
        assert len(one["documentation"]) > 40

    def test_account_conditions_name_this_account(self, stack: Stack) -> None:
        for statement in statements(stack):
            for key in ("aws:SourceAccount", "sts:ExternalId"):
                if key in keys(statement.body):
                    assert statement.body["Condition"]["StringEquals"][key] == ACCOUNT, statement.owner


class TestShape:
    def test_policies_occur_only_in_checked_places(self, stack: Stack) -> None:
        assert {(kind, place) for _, kind, place, _ in documents(stack)} <= POLICIES

    def test_every_kind_of_resource_is_listed(self, stack: Stack) -> None:
        known = WITHOUT_POLICY | {kind for kind, _ in POLICIES}
        assert {stack.kind(name) for name in stack.resources} - known == set(), (
            "new resource type: check its policies, then list it in test_grants.py"
        )

    def test_statements_use_no_negated_elements(self, stack: Stack) -> None:
        """NotAction, NotResource and NotPrincipal would grant unlisted permissions."""
        for statement in statements(stack):
            resource_element = "NotResource" if _denies_other_queues(stack, statement) else "Resource"
            assert set(statement.body) <= {"Sid", "Effect", "Principal", "Action", resource_element, "Condition"}, statement.owner
            assert statement.body["Effect"] in {"Allow", "Deny"}, statement.owner

    def test_policies_of_roles_deny_other_queues_only(self, stack: Stack) -> None:
        """SAM grants a queue-fed function every queue of the boundary, so its policy denies all but its own."""
        for statement in statements(stack):
            if is_identity(statement):
                assert statement.body["Effect"] == ("Deny" if _denies_other_queues(stack, statement) else "Allow"), statement.owner
                assert "Principal" not in statement.body, statement.owner

    def test_policies_are_attached_by_their_roles_only(self, stack: Stack) -> None:
        for name, policy in stack.of("IAM::ManagedPolicy").items():
            assert not {"Roles", "Users", "Groups"} & set(policy), name

    def test_roles_use_policies_of_the_template_and_of_sam_within_the_boundary(self, stack: Stack) -> None:
        functions = {referred(function["Role"]) for function in stack.of("Lambda::Function").values()}
        for name, role in stack.of("IAM::Role").items():
            assert ("PermissionsBoundary" in role) is (name in functions), name
            others = [one for one in branches(role.get("ManagedPolicyArns", [])) if stack.kind(referred(one)) != "IAM::ManagedPolicy"]
            assert set(map(aws_managed, others)) <= (set(AWS_MANAGED) if name in functions else OF_AWS.get(name, set())), name

    def test_parameters_widen_permissions_off_aws_only(self, stack: Stack) -> None:
        """test_stripe.py tests the policies of Stripe."""
        more: dict[str, set[tuple[str, str]]] = {}
        for role, properties in stack.of("IAM::Role").items():
            own = {
                (action, referred(resource))
                for policy in branches(properties.get("Policies", []))
                for statement in branches(policy["PolicyDocument"]["Statement"])
                if statement["Effect"] == "Allow"
                for action in listed(statement["Action"])
                for resource in branches(statement["Resource"])
            }
            if own - stack.grants(role):
                more[role] = own - stack.grants(role)
            chosen = {referred(one) for policy in properties.get("ManagedPolicyArns", []) if "Fn::If" in policy for one in branches(policy)}
            assert chosen <= {"StripePolicy", "ReadFlagsPolicy"}, role
        assert more == OFF_AWS

    def test_role_conditions_are_the_intended_ones(self, stack: Stack) -> None:
        for statement in statements(stack):
            if not is_identity(statement):
                continue
            if all(action.startswith("dynamodb:") for action in statement.actions):
                assert keys(statement.body) <= OF_TABLES, statement.owner
            else:
                assert statement.body.get("Condition") == _condition(statement), statement.owner


def _denies_other_queues(stack: Stack, statement: Statement) -> bool:
    """Return whether a statement denies its function every queue but the one that feeds it."""
    [function] = [name for name, one in stack.of("Lambda::Function").items() if referred(one["Role"]) == statement.owner] or [""]
    own = [
        mapping["EventSourceArn"]
        for mapping in stack.of("Lambda::EventSourceMapping").values()
        if referred(mapping["FunctionName"]) == function and stack.kind(referred(mapping["EventSourceArn"])) == "SQS::Queue"
    ]
    reading = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    return bool(own) and statement.body == {"Effect": "Deny", "Action": reading, "NotResource": own[0]}


def _condition(statement: Statement) -> dict[str, Any] | None:
    if "events:PutEvents" in statement.actions:
        # One call has entries of several sources, so the key has several values.
        return {"ForAllValues:StringEquals": {"events:source": SOURCES[statement.owner]}} if statement.owner in SOURCES else None
    if any(action.endswith("EventSourceMapping") for action in statement.actions):
        return OWN_FUNCTIONS
    if "ses:SendEmail" in statement.actions and statement.body["Resource"] != "*":
        return None if statement.owner == "PermissionsBoundary" else {"StringEquals": {"ses:FromAddress": {"Ref": "EmailFrom"}}}
    return None


class TestTrust:
    def test_role_is_assumed_only_by_the_service_that_uses_it(self, stack: Stack) -> None:
        for role, users in role_users(stack).items():
            [statement] = trust(stack, role)
            [service] = {ASSUMED_BY[stack.kind(user)] for user in users}
            assert statement["Effect"] == "Allow", role
            assert (set(statement["Principal"]), listed(statement["Principal"]["Service"])) == ({"Service"}, [service]), role
            assert listed(statement["Action"]) == ["sts:AssumeRole"], role

    def test_roles_are_assumed_for_their_resource_only(self, stack: Stack) -> None:
        for role, users in role_users(stack).items():
            [statement] = trust(stack, role)
            [expected] = {repr(_on_behalf_of(stack, user)) for user in users}
            assert repr(_plain(statement.get("Condition"))) == expected, role


def trust(stack: Stack, role: str) -> list[dict[str, Any]]:
    return listed(stack.resources[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"])


def role_users(stack: Stack) -> dict[str, list[str]]:
    """Return for every role the resources that name it."""
    users: dict[str, list[str]] = {role: [] for role in stack.of("IAM::Role")}
    for name, resource in stack.resources.items():
        for role in {referred(value) for value in _references(resource.get("Properties", {}))} & set(users):
            users[role].append(name)
    return users


def _references(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        if set(value) <= {"Ref", "Fn::GetAtt"}:
            yield value
        for item in value.values():
            yield from _references(item)


def _plain(value: Any) -> Any:
    return {key: _plain(item) for key, item in sorted(value.items())} if isinstance(value, dict) else value


def _on_behalf_of(stack: Stack, user: str) -> dict[str, Any] | None:
    """Return the condition under which a service may assume the role of a resource."""
    account = {"aws:SourceAccount": ACCOUNT}
    match stack.kind(user):
        case "StepFunctions::StateMachine":
            condition = {"StringEquals": account, "ArnEquals": {"aws:SourceArn": arn(stack, user)}}
        case "Scheduler::Schedule":
            # Schedules without a group are in the default one.
            assert "GroupName" not in stack.of("Scheduler::Schedule")[user], user
            condition = {"StringEquals": account, "ArnEquals": {"aws:SourceArn": service_arn("scheduler", "schedule-group/default")}}
        case "Events::Rule":
            # The rules name the role, so the role cannot name a rule, but the stack's prefix of all. A rule's ARN has the name of its
            # bus before its own, unless it is the default bus. A generated name can have a part of the stack's name only.
            rule = stack.of("Events::Rule")[user]
            named = stack.of("Events::EventBus")[referred(rule["EventBusName"])] if "EventBusName" in rule else rule
            assert named.get("Name", {"Fn::Sub": ""})["Fn::Sub"].startswith("${AWS::StackName}-"), user
            rules = service_arn("events", "rule/${AWS::StackName}-*")
            condition = {"StringEquals": account, "ArnLike": {"aws:SourceArn": rules}}
        case "CodeDeploy::DeploymentGroup":
            # The groups name the role, so the role cannot name a group, but the stack's prefix of all.
            condition = {
                "StringEquals": account,
                "ArnLike": {"aws:SourceArn": service_arn("codedeploy", "deploymentgroup:${AWS::StackName}-*")},
            }
        case "KinesisFirehose::DeliveryStream":
            condition = {"StringEquals": {"sts:ExternalId": ACCOUNT}}
        case _:
            return None
    return _plain(condition)
