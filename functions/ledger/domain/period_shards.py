"""The period shards of the ledger: each hour (UTC) has `SHARDS` of them, and each entry belongs to one. No AWS, no clock.

A period shard is a partition key of the index that the audit reads. DynamoDB takes 1,000 write units a second per partition
key, so the entries of an hour are spread by event id. Stored entries depend on `SHARDS`: change it in an hour without postings.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

SHARDS = 8
_HOUR = timedelta(hours=1)


def shard_of(event_id: str, moment: datetime) -> str:
    """Return the period shard of an entry that is posted at a moment."""
    return _name(_hour(moment), zlib.crc32(event_id.encode()) % SHARDS)


def first_shard(moment: datetime) -> str:
    """Return the first period shard of the hour of a moment."""
    return _name(_hour(moment), 0)


def next_shard(name: str) -> str:
    """Return the period shard after this one."""
    hour, number = _parse(name)
    return _name(hour, number + 1) if number + 1 < SHARDS else _name(hour + _HOUR, 0)


def shard_before(name: str, ago: timedelta) -> str:
    """Return the period shard of the same number `ago` earlier, in whole hours."""
    hour, number = _parse(name)
    return _name(hour - ago, number)


def shards_between(begin: str, end: str) -> Iterator[str]:
    """Yield the period shards from `begin` to `end`, without `end`."""
    name = begin
    # Names sort by time.
    while name < end:
        yield name
        name = next_shard(name)


def start_of(name: str) -> datetime:
    """Return the begin of the hour of a period shard."""
    return _parse(name)[0]


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _name(hour: datetime, number: int) -> str:
    return f"{hour:%Y-%m-%dT%H}#{number}"


def _parse(name: str) -> tuple[datetime, int]:
    hour, _, number = name.partition("#")
    return datetime.strptime(hour, "%Y-%m-%dT%H").replace(tzinfo=UTC), int(number)
