"""Assumes every role of the stack: each action on each resource is denied unless the template grants it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from fnmatch import fnmatchcase
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.credentials import Credentials

from devtools import template
from devtools.target import REGION
from tests.contract.stack import Stack
from tests.integration.deployed_stack import DeployedStack

THREADS = 4
TABLE, INDEX, QUEUE, TOPIC = "DynamoDB::Table", "DynamoDB::Index", "SQS::Queue", "SNS::Topic"
# An invalid key: IAM decides first, then DynamoDB refuses the request.
KEY = {"none": {"S": "none"}}
CONDITION = {
    "KeyConditionExpression": "#n = :n",
    "ExpressionAttributeNames": {"#n": "none"},
    "ExpressionAttributeValues": {":n": {"S": "none"}},
}


class Probe(NamedTuple):
    """A call that shows whether a role may perform an action on a resource, without changing anything.

    `always_probed` is false for actions that the emulator performs with any parameters; roles with the grant do not call them.
    """

    action: str
    kind: str
    call: str
    parameters: Callable[[str], dict[str, Any]]
    always_probed: bool = True


def _indexed(name: str) -> dict[str, str]:
    table, _, index = name.partition("/index/")
    return {"TableName": table, "IndexName": index}


PROBES = (
    Probe("dynamodb:GetItem", TABLE, "get_item", lambda name: {"TableName": name, "Key": KEY}),
    Probe("dynamodb:BatchGetItem", TABLE, "batch_get_item", lambda name: {"RequestItems": {name: {"Keys": [KEY]}}}),
    Probe("dynamodb:Query", TABLE, "query", lambda name: {"TableName": name, **CONDITION}),
    Probe("dynamodb:Scan", TABLE, "scan", lambda name: {"TableName": name, "Limit": 1, "FilterExpression": "#n = :n"}),
    Probe("dynamodb:PutItem", TABLE, "put_item", lambda name: {"TableName": name, "Item": KEY}),
    Probe("dynamodb:UpdateItem", TABLE, "update_item", lambda name: {"TableName": name, "Key": KEY}),
    Probe("dynamodb:DeleteItem", TABLE, "delete_item", lambda name: {"TableName": name, "Key": KEY}),
    Probe("dynamodb:BatchWriteItem", TABLE, "batch_write_item", lambda name: {"RequestItems": {name: [{"DeleteRequest": {"Key": KEY}}]}}),
    Probe(
        "dynamodb:ConditionCheckItem",
        TABLE,
        "transact_write_items",
        lambda name: {"TransactItems": [{"ConditionCheck": {"TableName": name, "Key": KEY, "ConditionExpression": "attribute_exists(n)"}}]},
    ),
    Probe("dynamodb:Query", INDEX, "query", lambda name: _indexed(name) | CONDITION),
    Probe("dynamodb:Scan", INDEX, "scan", lambda name: _indexed(name) | {"Limit": 1, "FilterExpression": "#n = :n"}),
    Probe("sqs:SendMessage", QUEUE, "send_message", lambda url: {"QueueUrl": url, "MessageBody": ""}),
    Probe("sqs:ReceiveMessage", QUEUE, "receive_message", lambda url: {"QueueUrl": url, "MaxNumberOfMessages": 11}),
    Probe("sqs:DeleteMessage", QUEUE, "delete_message", lambda url: {"QueueUrl": url, "ReceiptHandle": "none"}),
    Probe("sqs:PurgeQueue", QUEUE, "purge_queue", lambda url: {"QueueUrl": url}, always_probed=False),
    Probe("sns:Publish", TOPIC, "publish", lambda arn: {"TopicArn": arn, "Message": "none"}, always_probed=False),
    Probe(
        "events:PutEvents",
        "Events::EventBus",
        "put_events",
        lambda name: {"Entries": [{"EventBusName": name, "Source": "none", "DetailType": "None", "Detail": "{}"}]},
        always_probed=False,
    ),
    Probe(
        "states:StartExecution",
        "StepFunctions::StateMachine",
        "start_execution",
        lambda arn: {"stateMachineArn": arn},
        always_probed=False,
    ),
    Probe(
        "kinesis:PutRecords",
        "Kinesis::Stream",
        "put_records",
        lambda name: {"StreamName": name, "Records": [{"Data": b"", "PartitionKey": "n" * 257}]},
    ),
    Probe(
        "kinesis:GetShardIterator",
        "Kinesis::Stream",
        "get_shard_iterator",
        lambda name: {"StreamName": name, "ShardId": "none", "ShardIteratorType": "LATEST"},
    ),
    Probe("secretsmanager:GetSecretValue", "SecretsManager::Secret", "get_secret_value", lambda name: {"SecretId": name}),
    Probe(
        "secretsmanager:PutSecretValue",
        "SecretsManager::Secret",
        "put_secret_value",
        lambda name: {"SecretId": name},
        always_probed=False,
    ),
    Probe("s3:GetObject", "S3::Bucket", "get_object", lambda name: {"Bucket": name, "Key": "none"}),
    Probe("s3:PutObject", "S3::Bucket", "put_object", lambda name: {"Bucket": name, "Key": "none", "ContentMD5": "A" * 22 + "=="}),
    Probe("s3:DeleteObject", "S3::Bucket", "delete_object", lambda name: {"Bucket": name, "Key": "none"}, always_probed=False),
    Probe("s3:ListBucket", "S3::Bucket", "list_objects_v2", lambda name: {"Bucket": name, "MaxKeys": 1}),
    Probe("lambda:InvokeFunction", "Lambda::Function", "invoke", lambda name: {"FunctionName": name, "InvocationType": "DryRun"}),
    Probe("kms:GenerateDataKey", "KMS::Key", "generate_data_key", lambda name: {"KeyId": name, "NumberOfBytes": 1}),
)
SERVICES = {"states": "stepfunctions"}
SIGNED = {"authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256", "expect", "amz-sdk-request"}
# Granted but not probed: "" stands for resources outside the template, such as the flags' document and X-Ray. The
# emulator writes the functions' logs itself, under other ARNs.
UNTRIED = {"", "Logs::LogGroup"}
# Actions granted on objects, not on the bucket.
OBJECTS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")


class Call(NamedTuple):
    """A probe of one resource, ready to be signed and sent by any role."""

    probe: Probe
    target: str
    request: AWSRequest


class Roles:
    """The roles of a deployed stack and the calls that probe them."""

    def __init__(self, stack: DeployedStack) -> None:
        """Prepare every call once for all roles: signing a prepared call takes a tenth of preparing it."""
        parameters = stack.target.client("cloudformation").describe_stacks(StackName=stack.target.stack)["Stacks"][0]["Parameters"]
        self.stack = Stack(template.translated(), **{given["ParameterKey"]: given["ParameterValue"] for given in parameters})
        self.physical = {name: one.id for name, one in stack.target.stack_resources.items()}
        self.target = stack.target
        self.iam, self.sts = stack.target.client("iam"), stack.target.client("sts")
        self.calls = [
            Call(probe, target, self._prepared(probe, name)) for probe in PROBES for target, name in self.targets(probe.kind).items()
        ]

    def names(self) -> list[str]:
        """The logical ids of the deployed roles."""
        return sorted(name for name in self.stack.of("IAM::Role") if name in self.physical)

    def targets(self, kind: str) -> dict[str, str]:
        """The resources of a type, by the name that `Stack.grants` has for them: logical id, for an index with that of its table."""
        if kind == INDEX:
            tables = self.stack.of(TABLE)
            return {
                f"{table}/index/{index['IndexName']}": f"{name}/index/{index['IndexName']}"
                for table, name in self.targets(TABLE).items()
                for index in tables[table].get("GlobalSecondaryIndexes", [])
            }
        found = {name: self.physical[name] for name in self.stack.of(kind) if name in self.physical}
        return {name: arn for name, arn in found.items() if self._has_policy(arn)} if kind == TOPIC else found

    def _has_policy(self, topic: str) -> bool:
        """Return whether a topic has a policy; by default, the emulator lets the whole account publish."""
        policy = self.target.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
        return json.loads(policy).get("Id") != "__default_policy_ID"

    def grants(self, role: str) -> Callable[[Call], bool]:
        """Return a function that returns whether the template grants a call to the role."""
        # The emulator does not enforce permissions boundaries of deployed roles.
        granted = self.stack.grants(role, bounded=False)

        def grant(call: Call) -> bool:
            resource = f"{call.target}/none" if call.probe.action in OBJECTS else call.target
            allowed = any(fnmatchcase(call.probe.action, action) and fnmatchcase(resource, pattern) for action, pattern in granted)
            return allowed and not self.stack.denied(role, call.probe.action, resource)

        return grant

    @contextmanager
    def assumed(self, role: str) -> Iterator[Credentials]:
        """Credentials with a role's policies, copied to a temporary role because the original trusts a service only."""
        name, policies, attached = f"probe-{uuid4().hex[:12]}", [], []
        trust = {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}
        arn = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document(trust))["Role"]["Arn"]
        try:
            policies = _inline(self.iam, self.physical[role], name)
            attached = _attached(self.iam, self.physical[role], name)
            keys = self.sts.assume_role(RoleArn=arn, RoleSessionName="probe")["Credentials"]
            yield Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
        finally:
            for policy in policies:
                self.iam.delete_role_policy(RoleName=name, PolicyName=policy)
            for policy in attached:
                self.iam.detach_role_policy(RoleName=name, PolicyArn=policy)
            self.iam.delete_role(RoleName=name)

    def differences(self, role: str) -> list[str]:
        """Calls for which the target and the template disagree."""
        found: list[str] = []
        granted = self.grants(role)
        connection = HTTPConnection("127.0.0.1", self.target.port)
        with closing(connection), self.assumed(role) as credentials:
            for call in self.calls:
                expected = granted(call)
                if (call.probe.always_probed or not expected) and _allowed(connection, call, credentials) != expected:
                    found.append(f"{role}: {call.probe.action} on {call.target}, {'denied' if expected else 'allowed'}")
        return found

    def _prepared(self, probe: Probe, name: str) -> AWSRequest:
        """The request that a client would send, unsigned."""
        service = probe.action.partition(":")[0]
        client = self.target.client(SERVICES.get(service, service))
        client.meta.events.register("before-send", _keep)
        try:
            getattr(client, probe.call)(**probe.parameters(name))
        except _Prepared as prepared:
            sent = prepared.request
            headers = {name: value.decode() if isinstance(value, bytes) else value for name, value in sent.headers.items()}
            return AWSRequest(sent.method, sent.url, {name: headers[name] for name in headers if name.lower() not in SIGNED}, sent.body)
        finally:
            client.meta.events.unregister("before-send", _keep)
        message = f"{probe.action} was sent"
        raise AssertionError(message)


class _Prepared(Exception):
    def __init__(self, request: AWSPreparedRequest) -> None:
        super().__init__()
        self.request = request


def _keep(request: AWSPreparedRequest, **_: Any) -> None:
    raise _Prepared(request)


def _allowed(connection: HTTPConnection, call: Call, credentials: Credentials) -> bool:
    """Whether IAM allows a call with these credentials; an allowed call is harmless or refused for its parameters."""
    service = call.probe.action.partition(":")[0]
    request = AWSRequest(call.request.method, call.request.url, dict(call.request.headers.items()), call.request.data)
    (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials, service, REGION).add_auth(request)
    parts = urlsplit(request.url)
    connection.request(str(request.method), f"{parts.path}?{parts.query}".rstrip("?"), request.data, dict(request.headers))
    answer = connection.getresponse()
    body = answer.read().decode(errors="replace")
    assert answer.status < 500, (call, body)
    return answer.status not in (400, 403) or ("AccessDenied" not in body and "AuthorizationError" not in body)


def _document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _inline(iam: Any, role: str, borrower: str) -> list[str]:
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    for name in names:
        document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        iam.put_role_policy(RoleName=borrower, PolicyName=name, PolicyDocument=json.dumps(document))
    return names


def _attached(iam: Any, role: str, borrower: str) -> list[str]:
    arns = [policy["PolicyArn"] for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]]
    for arn in arns:
        iam.attach_role_policy(RoleName=borrower, PolicyArn=arn)
    return arns


@pytest.fixture(scope="module")
def roles(stack: DeployedStack) -> Roles:
    """The roles of the deployed stack."""
    return Roles(stack)


@pytest.mark.needs("iam")
def test_roles_have_exactly_the_granted_permissions(roles: Roles):
    with ThreadPoolExecutor(THREADS) as pool:
        found = [line for lines in pool.map(roles.differences, roles.names()) for line in lines]

    assert found == []


@pytest.mark.needs("iam")
def test_every_granted_resource_type_is_probed(roles: Roles):
    granted = {roles.stack.kind(resource.partition("/")[0]) for role in roles.names() for _, resource in roles.stack.grants(role)}

    assert granted - {probe.kind for probe in PROBES} == UNTRIED
    assert all(roles.targets(probe.kind) for probe in PROBES)
