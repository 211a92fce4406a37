"""Checks the parcels whose next reading is overdue."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.aws.observability import logger

if TYPE_CHECKING:
    from datetime import datetime

    from shipping.parcel_tracking import ParcelTracking
    from shipping.tracking_store import ParcelKey, TrackingStore

# A check takes three calls, about 30 ms: a run ends within its minute, and the next run continues.
MAX_CHECKED = 500
MAX_READ = 2000


class NotAllChecked(RuntimeError):
    """Some parcels could not be checked."""


class Checked(Struct, frozen=True):
    """The result of a run: the overdue parcels, as far as they were read, and those that were checked and failed."""

    due: int
    checked: int
    failed: int


def check_all(tracking: ParcelTracking, tracks: TrackingStore, now: datetime, *, most: int = MAX_CHECKED) -> Checked:
    """Check the parcels whose check is due at `now` (UTC).

    A run checks at most `most`, chosen at random, so that failing parcels cannot block the others. A failure is logged and counted; the
    run continues.
    """
    due = tracks.to_check(now, MAX_READ)
    chosen = due if len(due) <= most else random.sample(due, most)
    results = [_check(tracking, key, now) for key in chosen]
    return Checked(len(due), results.count(True), results.count(False))


def _check(tracking: ParcelTracking, key: ParcelKey, now: datetime) -> bool:
    try:
        tracking.check(key, now)
    except Exception:  # noqa: BLE001 - one failing parcel must not block the others
        logger.exception("parcel_not_checked", shipment_id=key.shipment_id, parcel_id=key.parcel_id)
        return False
    return True
