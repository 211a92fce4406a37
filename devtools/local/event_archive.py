"""Create the bus archive on a local target, whose CloudFormation does not have archives, as the template describes it."""

import json
from typing import Any

from devtools import template
from devtools.target import STACK, Target


def ensure(target: Target) -> None:
    """Create or update the archive of the deployed bus; an existing archive keeps its events."""
    client, wanted = target.client("events"), described()
    name = wanted["ArchiveName"]
    try:
        client.describe_archive(ArchiveName=name)
    except client.exceptions.ResourceNotFoundException:
        bus = client.describe_event_bus(Name=target.resources["EventBus"])["Arn"]
        client.create_archive(EventSourceArn=bus, **wanted)
    else:
        client.update_archive(**wanted)


def described() -> dict[str, Any]:
    """Return the template's archive as parameters of the API, without the bus."""
    properties = template.source()["Resources"]["BusArchive"]["Properties"]
    return {
        "ArchiveName": properties["ArchiveName"]["Fn::Sub"].replace("${AWS::StackName}", STACK),
        "Description": properties["Description"],
        "RetentionDays": properties["RetentionDays"],
        "EventPattern": json.dumps(properties["EventPattern"]),
    }
