"""Set the alarms that make CloudFormation roll an update of the stack back.

SAM CLI cannot set rollback triggers. CloudFormation keeps those of a stack for all later updates, so they are set once, by an update
without changes (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-rollback-triggers.html).
"""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from devtools import target as targets
from devtools import ui
from devtools.cli import UsageError, UserError
from devtools.target import Target

# CloudFormation rolls an update back if one of these fires while it runs or in the minutes after.
ALARMS = ("release-api-faults", "release-step-errors")
MONITORED_MINUTES = 5
_NO_UPDATE = "No updates are to be performed"
_TAG = {"Key": "rollback-triggers", "Value": "release-alarms"}


def wanted(target: Target) -> dict[str, Any]:
    """Return the rollback configuration of the stack; without triggers where the stack has no alarms."""
    names = [f"{target.stack}-{alarm}" for alarm in ALARMS]
    found = target.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    triggers = [{"Arn": arn, "Type": "AWS::CloudWatch::Alarm"} for arn in sorted(alarm["AlarmArn"] for alarm in found)]
    return {"RollbackTriggers": triggers, "MonitoringTimeInMinutes": MONITORED_MINUTES}


def ensure(target: Target) -> bool:
    """Set the triggers where they are not set; return whether there was a change.

    Raises:
        UserError: the stack has no alarms, or the update failed.
    """
    cloudformation = target.client("cloudformation")
    configuration = wanted(target)
    if not configuration["RollbackTriggers"]:
        raise UserError(f"{target.stack} has no release alarms; deploy it with AlarmEmail, or as a protected stage")
    [stack] = cloudformation.describe_stacks(StackName=target.stack)["Stacks"]
    if _key(stack.get("RollbackConfiguration", {})) == _key(configuration):
        return False
    try:
        _update(cloudformation, stack, configuration)
        cloudformation.get_waiter("stack_update_complete").wait(StackName=target.stack)
    except ClientError as error:
        raise UserError(f"the rollback triggers of {target.stack} are not set: {error}") from error
    return True


def _update(cloudformation: Any, stack: Mapping[str, Any], configuration: dict[str, Any]) -> None:
    """Update the stack without changes, or with a tag where CloudFormation refuses that.

    Its documentation does not say whether a rollback configuration is an update by itself; a tag of the stack always is.
    """
    request: dict[str, Any] = {
        "StackName": stack["StackName"],
        "UsePreviousTemplate": True,
        "Parameters": [{"ParameterKey": one["ParameterKey"], "UsePreviousValue": True} for one in stack.get("Parameters", [])],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        "RollbackConfiguration": configuration,
    }
    try:
        cloudformation.update_stack(**request)
    except ClientError as error:
        if _NO_UPDATE not in str(error):
            raise
        others = [tag for tag in stack.get("Tags", []) if tag["Key"] != _TAG["Key"]]
        cloudformation.update_stack(**request, Tags=[*others, _TAG])


def _key(configuration: dict[str, Any]) -> tuple[Any, ...]:
    triggers = sorted(trigger["Arn"] for trigger in configuration.get("RollbackTriggers", []))
    return configuration.get("MonitoringTimeInMinutes", 0), *triggers


def main(arguments: Namespace) -> None:
    """Set the triggers and say so."""
    if not arguments.stack:
        raise UsageError("rollback-triggers needs STACK, the name of a stack on AWS")
    target = targets.chosen(arguments.stack)
    done = "set" if ensure(target) else "as they should be"
    ui.console.print(f"  rollback triggers of {target.stack}: {done}")
