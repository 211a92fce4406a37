"""Kinds of attached policies, and ARNs as the policies of the template write them."""

from tests.contract.stack import Stack

# Policies attached to resources: the property that lists the resources, their kind, and the actions that require TLS.
ATTACHED = {
    "SNS::TopicPolicy": ("Topics", "SNS::Topic", "sns:Publish"),
    "SQS::QueuePolicy": ("Queues", "SQS::Queue", "sqs:*"),
    "S3::BucketPolicy": ("Bucket", "S3::Bucket", "s3:*"),
}
NAMES = {"SNS::Topic": "TopicName", "StepFunctions::StateMachine": "StateMachineName"}


def arn(stack: Stack, name: str) -> dict[str, str]:
    """Return the ARN of a topic or a state machine by its name, which avoids a circular reference."""
    kind = stack.kind(name)
    named = stack.resources[name]["Properties"][NAMES[kind]]["Fn::Sub"]
    return service_arn("sns", named) if kind == "SNS::Topic" else service_arn("states", f"stateMachine:{named}")


def service_arn(service: str, resource: str) -> dict[str, str]:
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{resource}"}
