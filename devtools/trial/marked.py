"""Whether the integration tests may run on a stack on AWS: its tag allows them. They write orders and products, and stop consumers."""

from devtools.cli import UserError
from devtools.target import Target

TAG, ALLOWED = "integration-tests", "allowed"


def require(target: Target) -> None:
    """Raise UserError unless the stack has the tag and a stage other than prod."""
    outputs = target.outputs()
    if outputs["ApiStage"] == "prod":
        raise UserError(f"refused: {target.stack} has the stage prod, and integration tests write orders and stop consumers")
    [stack] = target.client("cloudformation").describe_stacks(StackName=target.stack)["Stacks"]
    if {"Key": TAG, "Value": ALLOWED} not in stack.get("Tags", []):
        raise UserError(f"refused: {target.stack} is not marked as a test stack; deploy one with {TAG}={ALLOWED}: make deploy ENV=test")
