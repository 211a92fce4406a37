"""The archive of the bus on a local target, as the template describes it for AWS: CloudFormation has none there."""

import json
from typing import Any

from devtools import template
from devtools.target import STACK, Target


def ensure(target: Target) -> None:
    """Have the deployed bus archived as the template says; an archive that is there keeps its events."""
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
    """What the template says of the archive, as the API takes it, but for the bus."""
    source = template.source()
    properties = source["Resources"]["BusArchive"]["Properties"]
    return {
        "ArchiveName": properties["ArchiveName"]["Fn::Sub"].replace("${AWS::StackName}", STACK),
        "Description": properties["Description"],
        "RetentionDays": source["Parameters"][properties["RetentionDays"]["Ref"]]["Default"],
        "EventPattern": json.dumps(properties["EventPattern"]),
    }
