"""The table of tracks: one item per parcel, regardless of its number of readings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from orderflow.aws import dynamodb
from shipping.domain.tracking import RETENTION, Track, add_readings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from shipping.domain.carrier_events import TrackingReading

_ATTEMPTS = 5
_tracks = msgspec.json.Decoder(Track)


class TrackConflict(RuntimeError):
    """Every attempt lost against a concurrent update of the track; a later retry can succeed."""


class TrackingStore:
    """Stores tracks in a DynamoDB table by shipment and parcel."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Use the table named `table`."""
        self._table = table
        self._client = client

    def load(self, shipment_id: str, parcel_id: str) -> Track | None:
        """Return a parcel's track, or None if it has no reading yet."""
        item = dynamodb.read_item(self._client, self._table, dynamodb.key(shipment_id=shipment_id, parcel_id=parcel_id))
        return _tracks.decode(item["track"]) if item else None

    def add(self, shipment_id: str, parcel_id: str, readings: Sequence[TrackingReading]) -> None:
        """Add readings to a parcel's track, with optimistic locking.

        Raises:
            TrackConflict: every attempt lost against a concurrent update.
        """
        for _ in range(_ATTEMPTS):
            before = self.load(shipment_id, parcel_id)
            after = add_readings(before, readings)
            if after is None or after == before or self._replace(shipment_id, parcel_id, before, after):
                return
        raise TrackConflict(parcel_id)

    def _replace(self, shipment_id: str, parcel_id: str, before: Track | None, after: Track) -> bool:
        item: dict[str, Any] = {
            "shipment_id": shipment_id,
            "parcel_id": parcel_id,
            "track": _text(after),
            "expires_at": int((after.at + RETENTION).timestamp()),
        }
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(parcel_id)"}
        if before:
            condition = {"ConditionExpression": "track = :before", "ExpressionAttributeValues": dynamodb.values(before=_text(before))}
        try:
            self._client.put_item(TableName=self._table, Item=dynamodb.encode_item(item), **condition)
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _text(track: Track) -> str:
    return msgspec.json.encode(track).decode()
