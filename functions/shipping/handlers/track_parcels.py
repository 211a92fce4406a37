"""Queue consumer: follows the tracking readings of parcels, with one write per parcel and batch.

The queue also has the dispatches of parcels whose goods endure only a range of temperatures: a message without a reading begins the
watch over a parcel that never reports.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from orderflow.aws.observability import instrumented, logger
from shipping.domain.carrier_events import Dispatched, TrackingReading, tracked_decoder
from shipping.domain.tracking import with_plausible_time
from shipping.tracking_dependencies import TRACKING
from shipping.tracking_store import ParcelKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.batch import PartialFailures

type Messages = dict[str, TrackingReading | Dispatched]


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Process a batch of SQS messages and return the failed ones."""
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in _failed_message_ids(event["Records"])]}


def _sent_at(record: dict[str, Any]) -> datetime:
    """Return when the webhook queued the message (UTC); it is the same for every retry."""
    return datetime.fromtimestamp(int(record["attributes"]["SentTimestamp"]) / 1000, UTC)


def _failed_message_ids(records: list[dict[str, Any]]) -> Iterator[str]:
    """Follow the readings, and yield the ids of malformed messages and of those whose parcel could not be stored."""
    parcels: dict[ParcelKey, Messages] = defaultdict(dict)
    for record in records:
        try:
            message = tracked_decoder.decode(record["body"])
        except (msgspec.DecodeError, RecursionError) as error:
            logger.warning("reading_malformed", message_id=record["messageId"], reason=str(error))
            yield record["messageId"]
        else:
            parcels[ParcelKey(message.shipment_id, message.parcel_id)][record["messageId"]] = message
    sent_at = {record["messageId"]: _sent_at(record) for record in records}
    for key, messages in parcels.items():
        try:
            _follow(key, messages, sent_at)
        except Exception:  # noqa: BLE001 - logged and retried; a parcel must not block the others
            logger.exception("readings_not_stored", shipment_id=key.shipment_id, parcel_id=key.parcel_id)
            yield from messages


def _follow(key: ParcelKey, messages: Messages, sent_at: dict[str, datetime]) -> None:
    readings = [with_plausible_time(one, sent_at[message_id]) for message_id, one in messages.items() if isinstance(one, TrackingReading)]
    TRACKING.add(key, readings, max(sent_at[message_id] for message_id in messages))
