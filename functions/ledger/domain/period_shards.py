"""The sheets of the ledger: each hour (UTC) has a few of them, and an entry is written on one. No AWS, no clock.

A sheet is a partition of the index by which the proof reads entries, and DynamoDB takes 1,000 write units a second for one
partition key. So an hour's entries are spread by the event's id. The number of sheets is part of what is stored: a change
would need an hour in which nothing is posted.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

SHARDS = 8
_HOUR = timedelta(hours=1)


def shard_of(event_id: str, moment: datetime) -> str:
    """Return the sheet on which an event's entry is written at a moment."""
    return _name(_hour(moment), zlib.crc32(event_id.encode()) % SHARDS)


def first_shard(moment: datetime) -> str:
    """Return the first sheet of the hour that a moment is in."""
    return _name(_hour(moment), 0)


def next_shard(name: str) -> str:
    """Return the sheet after this one."""
    hour, number = _parse(name)
    return _name(hour, number + 1) if number + 1 < SHARDS else _name(hour + _HOUR, 0)


def shard_before(name: str, ago: timedelta) -> str:
    """Return the sheet of the same number so much earlier, in whole hours."""
    hour, number = _parse(name)
    return _name(hour - ago, number)


def shards_between(begin: str, end: str) -> Iterator[str]:
    """Yield the sheets from `begin` up to, and without, `end`."""
    name = begin
    # Names sort as the sheets follow each other.
    while name < end:
        yield name
        name = next_shard(name)


def start_of(name: str) -> datetime:
    """Return when the hour of a sheet begins."""
    return _parse(name)[0]


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _name(hour: datetime, number: int) -> str:
    return f"{hour:%Y-%m-%dT%H}#{number}"


def _parse(name: str) -> tuple[datetime, int]:
    hour, _, number = name.partition("#")
    return datetime.strptime(hour, "%Y-%m-%dT%H").replace(tzinfo=UTC), int(number)
