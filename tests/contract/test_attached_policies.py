"""Policies attached to topics, queues, buckets and the key: TLS, senders, publishers and callers."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.policies import ATTACHED, arn
from tests.contract.stack import Stack, listed, referred


def attached(stack: Stack, kind: str) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """Return the policies of a kind by attached resource: policy, resource, statements."""
    attribute = ATTACHED[kind][0]
    for name, policy in stack.of(kind).items():
        for resource in listed(policy[attribute]):
            yield name, referred(resource), listed(policy["PolicyDocument"]["Statement"])


@pytest.mark.parametrize("kind", ATTACHED)
class TestAttachedPolicies:
    def test_every_topic_queue_and_bucket_has_exactly_one_policy(self, stack: Stack, kind: str) -> None:
        """SQS and SNS have one policy per resource: a second one would replace the first."""
        policies = [resource for _, resource, _ in attached(stack, kind)]
        assert sorted(policies) == sorted(stack.of(ATTACHED[kind][1]))

    def test_requests_without_tls_are_denied(self, stack: Stack, kind: str) -> None:
        for policy, resource, found in attached(stack, kind):
            [denial] = [statement for statement in found if statement["Effect"] == "Deny"]
            assert (denial["Principal"], denial["Action"]) == ("*", ATTACHED[kind][2]), policy
            assert denial["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}, policy
            covered = set(map(referred, listed(denial["Resource"])))
            assert covered == {resource, f"{resource}/*"} if kind == "S3::BucketPolicy" else covered in ({resource}, {"*"}), policy

    def test_resource_policies_allow_named_services_and_resources_only(self, stack: Stack, kind: str) -> None:
        for policy, _, found in attached(stack, kind):
            for statement in (one for one in found if one["Effect"] == "Allow"):
                assert set(statement["Principal"]) == {"Service"}, policy
                of_policy = {one for name, one, _ in attached(stack, kind) if name == policy}
                assert set(map(referred, listed(statement["Resource"]))) <= of_policy, policy
                assert {stack.kind(referred(one)) for one in listed(statement["Resource"])} == {ATTACHED[kind][1]}, policy


class TestSenders:
    def test_queue_accepts_messages_of_its_rule_or_topic_only(self, stack: Stack) -> None:
        expected = {
            (referred(queue), "events.amazonaws.com", rule)
            for rule, properties in stack.of("Events::Rule").items()
            for target in properties["Targets"]
            for queue in (target["Arn"], target["DeadLetterConfig"]["Arn"])
            if stack.kind(referred(queue)) == "SQS::Queue"
        } | {
            (referred(queue), "sns.amazonaws.com", referred(one["TopicArn"]))
            for one in stack.of("SNS::Subscription").values()
            if one["Protocol"] == "sqs"
            for queue in (one["Endpoint"], one["RedrivePolicy"]["deadLetterTargetArn"])
        }
        allowed = {
            (queue, statement["Principal"]["Service"], referred(statement["Condition"]["ArnEquals"]["aws:SourceArn"]))
            for queue in stack.of("SQS::Queue")
            for statement in stack.queue_policies(queue)
        }
        assert allowed == expected

    def test_topic_accepts_messages_of_its_publishers_only(self, stack: Stack) -> None:
        rules = {
            (referred(target["Arn"]), "events.amazonaws.com")
            for rule in stack.of("Events::Rule").values()
            for target in rule["Targets"]
            if stack.kind(referred(target["Arn"])) == "SNS::Topic"
        }
        actions = (action for alarm in stack.of("CloudWatch::CompositeAlarm").values() for action in alarm["AlarmActions"])
        alarms = {(referred(action), "cloudwatch.amazonaws.com") for action in actions}
        assert topic_publishers(stack) == rules | alarms


def topic_publishers(stack: Stack) -> set[tuple[str, str]]:
    """Return the services that may publish to topics: pairs of topic and service."""
    return {
        (topic, service)
        for _, topic, found in attached(stack, "SNS::TopicPolicy")
        for statement in found
        if statement["Effect"] == "Allow"
        for service in listed(statement["Principal"]["Service"])
    }


class TestKeys:
    def test_key_is_administered_by_the_account(self, stack: Stack) -> None:
        for name, key in stack.of("KMS::Key").items():
            [owner] = [one for one in key["KeyPolicy"]["Statement"] if "Service" not in one["Principal"]]
            assert owner["Principal"] == {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}, name
            assert (owner["Effect"], owner["Action"]) == ("Allow", "kms:*"), name
            assert "Condition" not in owner, name

    def test_services_use_the_key_for_the_topics_that_they_publish_to(self, stack: Stack) -> None:
        """EventBridge sends KMS neither its account nor its rule, but every encryption context has the topic."""
        topics = {name: referred(topic["KmsMasterKeyId"]) for name, topic in stack.of("SNS::Topic").items()}
        named = {arn(stack, name)["Fn::Sub"]: name for name in topics}
        allowed = {
            (key, named[statement["Condition"]["StringEquals"]["kms:EncryptionContext:aws:sns:topicArn"]["Fn::Sub"]], service)
            for key, properties in stack.of("KMS::Key").items()
            for statement in properties["KeyPolicy"]["Statement"]
            if "Service" in statement["Principal"]
            for service in listed(statement["Principal"]["Service"])
            if (statement["Effect"], sorted(statement["Action"])) == ("Allow", ["kms:Decrypt", "kms:GenerateDataKey"])
        }
        assert allowed == {(topics[topic], topic, service) for topic, service in topic_publishers(stack)}


class TestInvocation:
    def test_api_gateway_invokes_functions_for_our_api_only(self, stack: Stack) -> None:
        for name, permission in stack.of("Lambda::Permission").items():
            if permission["Principal"] == "apigateway.amazonaws.com":
                text, given = permission["SourceArn"]["Fn::Sub"]
                assert re.match(r"arn:aws:execute-api:\$\{AWS::Region}:\$\{AWS::AccountId}:\$\{__ApiId__}/", text), name
                assert given["__ApiId__"] == {"Ref": "Api"}, name

    def test_public_url_uses_no_aws_authorization(self, stack: Stack) -> None:
        for name, permission in stack.of("Lambda::Permission").items():
            if permission["Principal"] == "*":
                assert permission.get("FunctionUrlAuthType", "NONE") == "NONE", name
                assert permission.get("InvokedViaFunctionUrl", True) is True, name
        assert all(url["AuthType"] == "NONE" for url in stack.of("Lambda::Url").values())
