"""The table of tracks: one item per parcel, regardless of its number of readings.

An item has the attributes `watched` and `check_at` while its parcel's silence has to be checked: the index `checks` has only those.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct

from orderflow.aws import dynamodb
from shipping.domain.parcel_watch import Watch
from shipping.domain.tracking import RETENTION, Track

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

INDEX = "checks"
# One key for all parcels: a key of an index takes 1,000 writes a second, and a parcel makes two in a tenth of its silence, so this is
# enough for a million parcels in transit.
WATCHED = "watched"

_tracks = msgspec.json.Decoder(Track)
_watches = msgspec.json.Decoder(Watch)


class ParcelKey(NamedTuple):
    """The key of a parcel."""

    shipment_id: str
    parcel_id: str


class Tracked(Struct, frozen=True):
    """A stored parcel: its track, its watch, and when (UTC) its silence has to be checked; None where it has none yet."""

    track: Track | None = None
    watch: Watch | None = None
    check_at: datetime | None = None

    @property
    def heard_at(self) -> datetime:
        """When (UTC) the parcel was last heard of. Raises ValueError for an empty one."""
        if self.track:
            return self.track.at
        if self.watch:
            return self.watch.since
        message = "a parcel without track and watch is not stored"
        raise ValueError(message)


class TrackingStore:
    """Stores tracked parcels in a DynamoDB table by shipment and parcel."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Use the table named `table`."""
        self._table = table
        self._client = client

    def load(self, key: ParcelKey) -> Tracked:
        """Return a parcel as it is stored; it is empty before its dispatch or first reading."""
        item = dynamodb.read_item(self._client, self._table, dynamodb.key(**key._asdict()))
        if not item:
            return Tracked()
        return Tracked(
            _tracks.decode(item["track"]) if "track" in item else None,
            _watches.decode(item["watch"]) if "watch" in item else None,
            datetime.fromisoformat(item["check_at"]) if "check_at" in item else None,
        )

    def replace(self, key: ParcelKey, before: Tracked, after: Tracked) -> bool:
        """Store a parcel if it is as it was `before`, and return whether it was."""
        try:
            dynamodb.write_item(self._client, self._client.put_item, **self._put_request(key, before, after))
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def replacement(self, key: ParcelKey, before: Tracked, after: Tracked) -> TransactWriteItemTypeDef:
        """Return the write of `replace` for a transaction."""
        return {"Put": self._put_request(key, before, after)}

    def to_check(self, until: datetime, most: int) -> list[ParcelKey]:
        """Return up to `most` parcels whose silence has to be checked at `until` (UTC) or before, the most urgent ones first."""
        page = self._client.query(
            TableName=self._table,
            IndexName=INDEX,
            KeyConditionExpression="watched = :watched AND check_at <= :until",
            ExpressionAttributeValues=dynamodb.values(watched=WATCHED, until=until),
            Limit=most,
        )
        return [ParcelKey(item["shipment_id"], item["parcel_id"]) for item in map(dynamodb.decode_item, page["Items"])]

    def _put_request(self, key: ParcelKey, before: Tracked, after: Tracked) -> Any:
        parts = {name: _text(part) for name, part in (("track", after.track), ("watch", after.watch)) if part}
        check = {"watched": WATCHED, "check_at": after.check_at} if after.check_at else {}
        item = {**key._asdict(), **parts, **check, "expires_at": int((after.heard_at + RETENTION).timestamp())}
        return {"TableName": self._table, "Item": dynamodb.encode_item(item), **_unchanged(before)}


def _unchanged(before: Tracked) -> dict[str, Any]:
    """Return the condition that a parcel is as it was before."""
    stored = {name: _text(part) for name, part in (("track", before.track), ("watch", before.watch)) if part}
    if not stored:
        return {"ConditionExpression": "attribute_not_exists(parcel_id)"}
    tests = [f"{name} = :{name}" if name in stored else f"attribute_not_exists({name})" for name in ("track", "watch")]
    return {"ConditionExpression": " AND ".join(tests), "ExpressionAttributeValues": dynamodb.values(**stored)}


def _text(part: Track | Watch) -> str:
    return msgspec.json.encode(part).decode()
