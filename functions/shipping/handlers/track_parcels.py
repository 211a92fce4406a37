"""Queue consumer: adds tracking readings to the parcels' tracks, with one write per parcel and batch."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented, logger
from shipping.domain import carrier_events
from shipping.domain.tracking import with_plausible_time
from shipping.tracking_store import TrackConflict, TrackingStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.batch import PartialFailures

TRACKS = TrackingStore(settings.required("TRACKING_TABLE"), client("dynamodb"))


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Process a batch of SQS messages and return the failed ones."""
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in _failed_message_ids(event["Records"])]}


def _sent_at(record: dict[str, Any]) -> datetime:
    """Return when the webhook queued the message (UTC); it is the same for every retry."""
    return datetime.fromtimestamp(int(record["attributes"]["SentTimestamp"]) / 1000, UTC)


def _failed_message_ids(records: list[dict[str, Any]]) -> Iterator[str]:
    """Add the readings, and yield the ids of malformed messages and of those whose track could not be written."""
    parcels: dict[tuple[str, str], dict[str, carrier_events.TrackingReading]] = defaultdict(dict)
    for record in records:
        try:
            reading = with_plausible_time(carrier_events.reading_decoder.decode(record["body"]), _sent_at(record))
        except (msgspec.DecodeError, RecursionError) as error:
            logger.warning("reading_malformed", message_id=record["messageId"], reason=str(error))
            yield record["messageId"]
        else:
            parcels[reading.shipment_id, reading.parcel_id][record["messageId"]] = reading
    for (shipment_id, parcel_id), readings in parcels.items():
        try:
            TRACKS.add(shipment_id, parcel_id, list(readings.values()))
        except (TrackConflict, ClientError, BotoCoreError):
            logger.exception("readings_not_stored", shipment_id=shipment_id, parcel_id=parcel_id)
            yield from readings
