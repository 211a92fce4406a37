"""Replay archived events to the rules that accept replays.

FROM and TO are RFC 3339 times, or durations before now: 90s, 30m, 12h, 7d.
"""

import json
import re
import time
from argparse import Namespace
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from devtools import target as targets
from devtools import ui
from devtools.cli import UsageError, UserError
from devtools.target import Target

REFUSES_REPLAYS = [{"exists": False}]
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
ENDED = frozenset({"COMPLETED", "CANCELLED", "FAILED"})
PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class Archive:
    """The archive of a bus and its creation time."""

    arn: str
    bus: str
    since: datetime


def replay(target: Target, start: datetime | None = None, end: datetime | None = None, rule: str = "") -> dict[str, Any]:
    """Replay the events from start to end, both in whole seconds; wait for the end and return EventBridge's description.

    Raises UserError for a rule that accepts no replays, for a wrong period, and for a failed replay.
    """
    arns = selected(accepting_rules(target), rule)
    archive = archive_of(target)
    now = datetime.now(UTC).replace(microsecond=0)
    start, end = (start or archive.since).replace(microsecond=0), (end or now).replace(microsecond=0)
    if not start <= end <= now:
        raise UserError(f"FROM must not be after TO, and TO not after now; this is {rfc3339(start)} to {rfc3339(end)}")
    name = f"{target.stack}-{end:%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}"
    with ui.stage("replay") as stage:
        stage.detail = f"{rfc3339(start)} to {rfc3339(end)}"
        client = target.client("events")
        client.start_replay(
            ReplayName=name,
            EventSourceArn=archive.arn,
            EventStartTime=start,
            EventEndTime=end,
            Destination={"Arn": archive.bus, "FilterArns": list(arns.values())},
        )
        while (seen := client.describe_replay(ReplayName=name))["State"] not in ENDED:
            reached = seen.get("EventLastReplayedTime")
            stage.detail = f"{seen['State'].lower()}{f', up to {rfc3339(reached)}' if reached else ''}"
            time.sleep(PAUSE_SECONDS)
        if seen["State"] != "COMPLETED":
            raise UserError(f"{name} is {seen['State'].lower()}: {seen.get('StateReason') or 'without a reason'}")
        stage.detail = f"{rfc3339(start)} to {rfc3339(end)}, to {', '.join(arns)}"
    return seen


def accepting_rules(target: Target) -> dict[str, str]:
    """Return the ARNs of the bus's rules that accept replays, by logical id."""
    client = target.client("events")
    pages = client.get_paginator("list_rules").paginate(EventBusName=target.resources["EventBus"])
    arns = {
        rule["Name"]: rule["Arn"]
        for page in pages
        for rule in page["Rules"]
        if (pattern := json.loads(rule.get("EventPattern") or "{}")) and pattern.get("replay-name") != REFUSES_REPLAYS
    }
    names = _logical_ids(target)
    return {names[name]: arn for name, arn in sorted(arns.items()) if name in names}


def _logical_ids(target: Target) -> dict[str, str]:
    # CloudFormation's id of a rule on a bus of its own is bus|rule.
    return {rule.rpartition("|")[2]: name for name, rule in target.physical_ids("AWS::Events::Rule").items()}


def selected(rules: dict[str, str], wanted: str) -> dict[str, str]:
    """Return all rules, or the wanted one. Raises UserError where no rule, or not that one, accepts replays."""
    if not rules:
        raise UserError("no rule of the deployed stack accepts replays; deploy the present template, locally by `make run`")
    if wanted and wanted not in rules:
        raise UserError(f"RULE must accept replays ({', '.join(rules)}), not {wanted!r}")
    return {wanted: rules[wanted]} if wanted else rules


def archive_of(target: Target) -> Archive:
    """Return the archive of the deployed bus. Raises UserError where there is none."""
    client = target.client("events")
    bus = client.describe_event_bus(Name=target.resources["EventBus"])["Arn"]
    found = client.list_archives(EventSourceArn=bus)["Archives"]
    if not found:
        raise UserError("the deployed bus has no archive; deploy the present template, locally by `make run`")
    described = client.describe_archive(ArchiveName=found[0]["ArchiveName"])
    return Archive(described["ArchiveArn"], bus, described["CreationTime"].astimezone(UTC))


def moment(name: str, text: str, now: datetime) -> datetime | None:
    """Parse the time of an option, None where it is not given. Raises UsageError where it is malformed."""
    if not text:
        return None
    try:
        if ago := re.fullmatch(r"(\d{1,9})([smhd])", text, re.ASCII):
            return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        if (time_of := datetime.fromisoformat(text)).tzinfo:
            return time_of.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise UsageError(f"{name} must be a time such as {rfc3339(now)}, or a duration before now, as 90s, 30m, 12h or 7d, not {text!r}")


def rfc3339(time_of: datetime) -> str:
    """Return a time in RFC 3339, in UTC."""
    return f"{time_of.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def main(arguments: Namespace) -> None:
    """Replay and wait for the end."""
    now = datetime.now(UTC)
    start, end = moment("FROM", arguments.from_, now), moment("TO", arguments.to, now)
    replay(targets.chosen(arguments.stack), start, end, arguments.rule)
