"""Mutation tests: every weakened template must fail at least one test of this folder."""

import copy
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest

from devtools.target import ROOT
from tests.contract.stack import Stack, referred

type Document = dict[str, Any]
type Grant = tuple[str, str]


def properties(document: Document, name: str) -> dict[str, Any]:
    return document["Resources"][name]["Properties"]


def only(document: Document, kind: str) -> dict[str, Any]:
    [found] = [resource["Properties"] for resource in document["Resources"].values() if resource["Type"] == f"AWS::{kind}"]
    return found


def statements(document: Document, name: str, place: str = "PolicyDocument") -> list[dict[str, Any]]:
    return properties(document, name)[place]["Statement"]


def own(document: Document, role: str) -> list[dict[str, Any]]:
    """Return the statements of a role's own policy, without those that SAM adds for failure destinations."""
    [found] = [one for one in properties(document, role)["Policies"] if re.search(r"^own$|RolePolicy\d+$", one["PolicyName"])]
    return found["PolicyDocument"]["Statement"]


def scheme(document: Document) -> dict[str, Any]:
    body = properties(document, "Api")["Body"]
    return (body.get("securityDefinitions") or body["components"]["securitySchemes"])["Jwt"]


def add(document: Document, name: str, kind: str, **given: Any) -> None:
    document["Resources"][name] = {"Type": f"AWS::{kind}", "Properties": given}


def allow(action: str, resource: Any, **more: Any) -> Document:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": [action], "Resource": resource, **more}]}


LOG = {"Fn::GetAtt": ["OrderLog", "Arn"]}
ANY_PRINCIPAL = {"AWS": "*"}
MUTATIONS: dict[str, Callable[[Document], object]] = {
    # Trust policies.
    "a workflow's role for every account's workflows": lambda d: statements(d, "FulfilmentRole", "AssumeRolePolicyDocument")[0].pop(
        "Condition"
    ),
    "a workflow's role for another workflow": lambda d: statements(d, "ReviewRole", "AssumeRolePolicyDocument")[0].update(
        Condition=copy.deepcopy(statements(d, "FulfilmentRole", "AssumeRolePolicyDocument")[0]["Condition"])
    ),
    "the schedules' role without the account": lambda d: statements(d, "SchedulerRole", "AssumeRolePolicyDocument")[0]["Condition"].pop(
        "StringEquals"
    ),
    "the schedules' role for one schedule, which never matches": lambda d: statements(d, "SchedulerRole", "AssumeRolePolicyDocument")[0][
        "Condition"
    ].update(ArnEquals={"aws:SourceArn": {"Fn::GetAtt": ["OperationsRecoverSchedule", "Arn"]}}),
    "the schedules' role for one more function": lambda d: own(d, "SchedulerRole")[0]["Resource"].append(
        {"Fn::GetAtt": ["OperationsRedrive", "Arn"]}
    ),
    "the rules' role for every rule": lambda d: statements(d, "WorkflowRulesRole", "AssumeRolePolicyDocument")[0]["Condition"].pop(
        "ArnLike"
    ),
    "Firehose's role for every account": lambda d: statements(d, "AuditDeliveryRole", "AssumeRolePolicyDocument")[0].pop("Condition"),
    "AppConfig's role under a key that AppConfig does not send": lambda d: statements(d, "FlagsAlarmsRole", "AssumeRolePolicyDocument")[
        0
    ].update(Condition={"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}),
    "a function's role for any principal": lambda d: statements(d, "OrdersPlaceRole", "AssumeRolePolicyDocument")[0].update(
        Principal=ANY_PRINCIPAL
    ),
    "a function's role for one more service": lambda d: statements(d, "OrdersPlaceRole", "AssumeRolePolicyDocument").append(
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ),
    # The key.
    "the key for CloudWatch in every account": lambda d: statements(d, "TopicKey", "KeyPolicy")[2]["Condition"]["StringEquals"].pop(
        "aws:SourceAccount"
    ),
    "the key for EventBridge under a key that it does not send": lambda d: statements(d, "TopicKey", "KeyPolicy")[1]["Condition"][
        "StringEquals"
    ].update({"aws:SourceAccount": {"Ref": "AWS::AccountId"}}),
    "the key for every topic": lambda d: statements(d, "TopicKey", "KeyPolicy")[1].pop("Condition"),
    "the key for another topic": lambda d: statements(d, "TopicKey", "KeyPolicy")[1]["Condition"].update(
        StringEquals={"kms:EncryptionContext:aws:sns:topicArn": "arn:aws:sns:us-east-1:111122223333:other"}
    ),
    "the key for another account": lambda d: statements(d, "TopicKey", "KeyPolicy")[0].update(Principal={"AWS": "111122223333"}),
    "the key denied to EventBridge": lambda d: statements(d, "TopicKey", "KeyPolicy")[1].update(Effect="Deny"),
    "the key without rotation": lambda d: properties(d, "TopicKey").update(EnableKeyRotation=False),
    # Policies of topics, queues and buckets.
    "a topic's policy with a condition that EventBridge does not support": lambda d: statements(d, "NotificationsPolicy")[0].update(
        Condition={"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["NotificationsRule", "Arn"]}}}
    ),
    "a topic for any principal": lambda d: statements(d, "AlarmsPolicy")[0].update(Principal="*"),
    "a topic without TLS": lambda d: statements(d, "AlarmsPolicy").pop(),
    "a topic that is not encrypted": lambda d: properties(d, "Notifications").pop("KmsMasterKeyId"),
    "a queue for any principal": lambda d: statements(d, "LedgerQueuePolicy")[0].update(Principal="*"),
    "a queue for every rule": lambda d: statements(d, "LedgerQueuePolicy")[0].pop("Condition"),
    "a queue for another rule": lambda d: statements(d, "LedgerQueuePolicy")[0]["Condition"]["ArnEquals"].update(
        {"aws:SourceArn": {"Fn::GetAtt": ["ReviewRule", "Arn"]}}
    ),
    "a queue with its sender denied": lambda d: statements(d, "LedgerQueuePolicy")[0].update(Effect="Deny"),
    "a queue with every action for its rule": lambda d: statements(d, "LedgerQueuePolicy")[0].update(Action="sqs:*"),
    "a queue without TLS": lambda d: statements(d, "LedgerQueuePolicy").pop(),
    "a queue that denies TLS": lambda d: statements(d, "OtherQueuesPolicy")[0]["Condition"]["Bool"].update({"aws:SecureTransport": "true"}),
    "a queue without a policy": lambda d: properties(d, "OtherQueuesPolicy")["Queues"].pop(),
    "a second policy for a queue, which replaces the first": lambda d: add(
        d,
        "AnotherPolicy",
        "SQS::QueuePolicy",
        Queues=[{"Ref": "LedgerQueue"}],
        PolicyDocument=copy.deepcopy(properties(d, "OtherQueuesPolicy")["PolicyDocument"]),
    ),
    "a new queue without a policy": lambda d: add(d, "AnotherQueue", "SQS::Queue", SqsManagedSseEnabled=True),
    "a queue that is not encrypted": lambda d: properties(d, "LedgerQueue").update(SqsManagedSseEnabled=False),
    "a bucket without TLS": lambda d: d["Resources"].pop("InvoiceDocumentsPolicy"),
    "a bucket for any principal": lambda d: statements(d, "InvoiceDocumentsPolicy").append(
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": {"Fn::Sub": "${InvoiceDocuments.Arn}/*"}}
    ),
    "a bucket that may be made public": lambda d: properties(d, "AuditArchive")["PublicAccessBlockConfiguration"].update(
        BlockPublicPolicy=False
    ),
    # Policies of roles.
    "events deleted by a policy with a list of roles": lambda d: add(
        d, "AnotherPolicy", "IAM::ManagedPolicy", Roles=[{"Ref": "OrdersGetRole"}], PolicyDocument=allow("dynamodb:DeleteItem", LOG)
    ),
    "events deleted by a policy of an unlisted kind": lambda d: add(
        d,
        "AnotherPolicy",
        "IAM::Policy",
        PolicyName="x",
        Roles=[{"Ref": "OrdersGetRole"}],
        PolicyDocument=allow("dynamodb:DeleteItem", LOG),
    ),
    "events deleted in the second branch of a condition": lambda d: own(d, "OrdersGetRole").append(
        {"Fn::If": ["UseStripe", allow("dynamodb:DeleteItem", LOG)["Statement"][0], {"Ref": "AWS::NoValue"}]}
    ),
    "a policy attached under a condition": lambda d: properties(d, "OrdersGetRole")["ManagedPolicyArns"].append(
        {"Fn::If": ["UseStripe", {"Ref": "UpdateMarkersPolicy"}, {"Ref": "AWS::NoValue"}]}
    ),
    "an AWS managed policy": lambda d: properties(d, "OrdersGetRole")["ManagedPolicyArns"].append(
        {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/AdministratorAccess"}
    ),
    "a function without the permissions boundary": lambda d: properties(d, "OrdersGetRole").pop("PermissionsBoundary"),
    "every queue in the permissions boundary": lambda d: _bound(d, "sqs:SendMessage").update(Resource="*"),
    "one more action in the permissions boundary": lambda d: _bound(d, "sqs:SendMessage")["Action"].append("sqs:PurgeQueue"),
    "an action that a function needs outside the permissions boundary": lambda d: _bound(d, "sqs:SendMessage")["Action"].remove(
        "sqs:SendMessage"
    ),
    "the payments' queue read by another function": lambda d: own(d, "PaymentsSettleRole").pop(),
    "a denial of the function's own queue": lambda d: own(d, "PaymentsSettleRole")[-1].update(
        Resource=own(d, "PaymentsSettleRole")[-1].pop("NotResource")
    ),
    "one dead-letter queue for two consumers": lambda d: properties(d, "LedgerQueue")["RedrivePolicy"].update(
        deadLetterTargetArn={"Fn::GetAtt": ["MailDeadLetters", "Arn"]}
    ),
    "NotAction": lambda d: own(d, "OrdersGetRole").append({"Effect": "Allow", "NotAction": ["iam:*"], "Resource": "*"}),
    "Allow turned into Deny": lambda d: own(d, "OrdersPlaceRole")[1].update(Effect="Deny"),
    "events of every source": lambda d: _put_events(d, "LedgerAuditRole").pop("Condition"),
    "events of another source": lambda d: _put_events(d, "LedgerAuditRole")["Condition"]["ForAllValues:StringEquals"].update(
        {"events:source": ["ledger", "payments"]}
    ),
    "email from any sender": lambda d: _branch(d, "NotificationsMailRole", "ses:SendEmail").pop("Condition"),
    "a new condition on a grant": lambda d: own(d, "FulfilmentRole")[0].update(
        Condition={"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    ),
    "every attribute of an event written": lambda d: _writing(d, "dynamodb:PutItem").pop("Condition"),
    "an event's content updated": lambda d: _writing(d, "dynamodb:UpdateItem")["Condition"]["ForAllValues:StringEquals"][
        "dynamodb:Attributes"
    ].append("event"),
    "the payment token read by one more function": lambda d: own(d, "OrdersGetRole").append(
        allow("dynamodb:GetItem", {"Fn::GetAtt": ["PaymentTokens", "Arn"]})["Statement"][0]
    ),
    "every workflow started": lambda d: own(d, "WorkflowRulesRole")[0].update(Resource="*"),
    "every function invoked": lambda d: own(d, "FulfilmentRole")[0].update(Resource="*"),
    "an IAM user": lambda d: add(d, "User", "IAM::User", Policies=[{"PolicyName": "x", "PolicyDocument": allow("s3:GetObject", "*")}]),
    "a table with a policy": lambda d: properties(d, "OrderLog").update(
        ResourcePolicy={"PolicyDocument": allow("dynamodb:Query", "*", Principal=ANY_PRINCIPAL)}
    ),
    "a bus that any principal may put events on": lambda d: add(
        d,
        "BusPolicy",
        "Events::EventBusPolicy",
        EventBusName={"Ref": "EventBus"},
        StatementId="x",
        Action="events:PutEvents",
        Principal="*",
    ),
    # The API and the functions.
    "request bodies in the API's log": lambda d: only(d, "ApiGateway::Stage")["MethodSettings"][0].update(DataTraceEnabled=True),
    "every request in the API's log": lambda d: only(d, "ApiGateway::Stage")["MethodSettings"][0].update(LoggingLevel="INFO"),
    "email in the access log": lambda d: only(d, "ApiGateway::Stage")["AccessLogSetting"].update(
        Format='{"status":"$context.status","email":"$context.authorizer.email"}'
    ),
    "the API without throttling": lambda d: only(d, "ApiGateway::Stage")["MethodSettings"][0].pop("ThrottlingRateLimit"),
    "a firewall that only counts": lambda d: properties(d, "Firewall")["Rules"][0].update(Action={"Count": {}}),
    "a firewall without an association": lambda d: d["Resources"].pop("FirewallOfApi"),
    "the API not traced": lambda d: only(d, "ApiGateway::Stage").update(TracingEnabled=False),
    "the authorizer's answer cached for an hour": lambda d: scheme(d)["x-amazon-apigateway-authorizer"].update(
        authorizerResultTtlInSeconds=3600
    ),
    "another function as authorizer": lambda d: scheme(d)["x-amazon-apigateway-authorizer"]["authorizerUri"]["Fn::Sub"][1].update(
        __FunctionArn__={"Fn::GetAtt": ["OrdersGet", "Arn"]}
    ),
    "a route without an authorizer": lambda d: properties(d, "Api")["Body"]["paths"]["/orders"]["get"].update(security=[{"NONE": []}]),
    "the API open to the public by its policy": lambda d: properties(d, "Api")["Body"].update(
        {"x-amazon-apigateway-policy": allow("execute-api:Invoke", "*", Principal="*")}
    ),
    "a function that every API may invoke": lambda d: _permission(d, "OrdersPlace").pop("SourceArn"),
    "a function that any principal may invoke": lambda d: add(
        d, "Public", "Lambda::Permission", Action="lambda:InvokeFunction", FunctionName={"Ref": "OrdersGet"}, Principal="*"
    ),
    "a URL for a function that checks no signature": lambda d: add(
        d, "Url", "Lambda::Url", AuthType="NONE", TargetFunctionArn={"Ref": "OrdersGet"}
    ),
    "a webhook without reserved concurrency": lambda d: properties(d, "ShippingWebhook").pop("ReservedConcurrentExecutions"),
    "a function not traced": lambda d: properties(d, "OrdersPlace").pop("TracingConfig"),
    "logs without retention": lambda d: properties(d, "OrdersLogs").pop("RetentionInDays"),
    # Workflows and data.
    "the whole event as input of the saga": lambda d: properties(d, "FulfilmentRule")["Targets"][0].pop("InputTransformer"),
    "an address as input of the saga": lambda d: properties(d, "FulfilmentRule")["Targets"][0]["InputTransformer"]["InputPathsMap"].update(
        to="$.detail.data.shipping_address"
    ),
    "customers' data in a workflow's log": lambda d: properties(d, "Fulfilment")["LoggingConfiguration"].update(IncludeExecutionData=True),
    "a table without point-in-time recovery": lambda d: properties(d, "OrderLog").pop("PointInTimeRecoverySpecification"),
    "a table deleted with the stack": lambda d: d["Resources"]["OrderLog"].update(DeletionPolicy="Delete"),
    "the archive without object lock": lambda d: properties(d, "AuditArchive").pop("ObjectLockConfiguration"),
    "an archive without an end": lambda d: properties(d, "AuditArchive")["LifecycleConfiguration"]["Rules"][0].pop("ExpirationInDays"),
    "invoices whose deleted versions stay": lambda d: properties(d, "InvoiceDocuments")["LifecycleConfiguration"]["Rules"][0].pop(
        "NoncurrentVersionExpiration"
    ),
    "the stream not encrypted": lambda d: properties(d, "EventStream").pop("StreamEncryption"),
    "sign-in with a password in the request": lambda d: only(d, "Cognito::UserPoolClient")["ExplicitAuthFlows"].append(
        "ALLOW_USER_PASSWORD_AUTH"
    ),
    "a dead-letter queue without an alarm": lambda d: d["Resources"].pop("PublishDeadLettersAlarm"),
}


def _bound(document: Document, action: str) -> dict[str, Any]:
    [found] = [one for one in statements(document, "PermissionsBoundary") if action in one["Action"]]
    return found


def _put_events(document: Document, role: str) -> dict[str, Any]:
    [found] = [one for one in own(document, role) if "events:PutEvents" in one["Action"]]
    return found


def _writing(document: Document, action: str) -> dict[str, Any]:
    """Return the statement of the managed policy that writes the order log by an action."""
    [found] = [
        statement
        for resource in document["Resources"].values()
        if resource["Type"] == "AWS::IAM::ManagedPolicy"
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]
        if statement["Action"] == [action] and statement["Resource"] == LOG
    ]
    return found


def _branch(document: Document, role: str, action: str) -> dict[str, Any]:
    [found] = [one["Fn::If"][1] for one in own(document, role) if "Fn::If" in one and action in one["Fn::If"][1]["Action"]]
    return found


def _permission(document: Document, function: str) -> dict[str, Any]:
    [found] = [
        resource["Properties"]
        for resource in document["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Permission" and referred(resource["Properties"]["FunctionName"]) == function
    ]
    return found


def checks() -> Iterator[tuple[str, Callable[[Stack, dict[str, set[Grant]]], object]]]:
    """Yield the tests of this folder that read the template, as functions of a stack and the functions' observed calls."""
    first = ("test_grants.py", "test_exposure.py", "test_template.py", "test_data.py", "test_public_routes.py", "test_delivery.py")
    for path in sorted((ROOT / "tests/contract").glob("test_*.py"), key=lambda path: (path.name not in first, path.name)):
        if path.name == "test_mutations.py":
            continue
        module = importlib.import_module(f"tests.contract.{path.stem}")
        for name, found in vars(module).items():
            if name.startswith("test_") and callable(found):
                yield from _cases(f"{path.stem}::{name}", found, [])
            elif name.startswith("Test") and inspect.isclass(found):
                for method in filter(lambda one: one.startswith("test_"), vars(found)):
                    yield from _cases(f"{path.stem}::{name}::{method}", getattr(found(), method), getattr(found, "pytestmark", []))


def _cases(name: str, test: Callable[..., object], marks: list[pytest.Mark]) -> Iterator[tuple[str, Callable[..., object]]]:
    tables = [mark for mark in (*marks, *getattr(test, "pytestmark", [])) if mark.name == "parametrize"]
    rows = [[_given(mark.args[0], row) for row in mark.args[1]] for mark in tables]
    for case in product(*rows):
        given = {key: value for row in case for key, value in row.items()}
        wanted = set(inspect.signature(test).parameters) - set(given)
        if "stack" in wanted and wanted <= {"stack", "used"}:

            def run(stack: Stack, used: dict[str, set[Grant]], given: dict[str, Any] = given, wanted: set[str] = wanted) -> object:
                return test(stack=stack, **given, **({"used": used} if "used" in wanted else {}))

            yield name, run


def _given(names: Any, row: Any) -> dict[str, Any]:
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    return dict(zip(listed, row if len(listed) > 1 else [row], strict=True))


CHECKS = list(checks())


def failing(stack: Stack, used: dict[str, set[Grant]]) -> str | None:
    """Return the first check that fails on a stack."""
    for name, run in CHECKS:
        try:
            run(stack, used)
        except Exception:  # noqa: BLE001 - a check that cannot read the template also fails
            return name
    return None


def test_unchanged_template_passes_every_check(stack: Stack, used: dict[str, set[Grant]]) -> None:
    assert len(CHECKS) > 100
    assert failing(stack, used) is None


@pytest.mark.parametrize("weakening", MUTATIONS)
def test_weakened_template_fails_a_check(translated: Document, used: dict[str, set[Grant]], weakening: str) -> None:
    weakened = copy.deepcopy(translated)
    MUTATIONS[weakening](weakened)
    assert weakened != translated
    assert failing(Stack(weakened), used) is not None
