"""Follows the readings of parcels, and records the changes of their conditions on the order log.

A change and the parcel's item are written in one transaction, so every change is recorded once: after a crash or beside another batch,
the readings are followed again from the item as it is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.dynamodb import ATTEMPTS, Conflict, TransactionConditionFailed
from orderflow.aws.observability import annotate, logger
from orderflow.aws.order_log import OrderNotFound, Recorded
from orderflow.domain.commands import RecordParcelConditions
from shipping.domain import parcel_watch
from shipping.domain.parcel_watch import Followed, Limits, Watch
from shipping.shipments import UnknownShipment, order_id_of
from shipping.tracking_store import Tracked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from orderflow.aws.order_log import OrderLog
    from shipping.domain.carrier_events import TrackingReading
    from shipping.tracking_store import ParcelKey, TrackingStore


class TrackConflict(RuntimeError):
    """Every attempt lost against a concurrent update of the parcel or its order; a later retry can succeed."""


class ParcelTracking:
    """Follows parcels; `limits` returns the present limits of their conditions."""

    def __init__(self, log: OrderLog, tracks: TrackingStore, limits: Callable[[], Limits]) -> None:
        """Use these stores."""
        self._log = log
        self._tracks = tracks
        self._limits = limits

    def add(self, key: ParcelKey, readings: Sequence[TrackingReading], now: datetime) -> None:
        """Follow readings of a parcel that were received at `now` (UTC); without any, begin the watch of a dispatched parcel. Idempotent.

        One read and one write, however many readings there are. The order is read for a parcel without a watch and for a change.

        Raises:
            TrackConflict: every attempt lost against a concurrent update.
            TransactionConflict: other transactions held the same items in every attempt.
        """

        def follow(stored: Tracked, watch: Watch) -> Followed:
            return parcel_watch.follow(stored.track, watch, readings, self._limits(), now)

        self._update(key, follow, now)

    def check(self, key: ParcelKey, now: datetime) -> None:
        """Alert if the latest reading of a parcel is too old at `now` (UTC). Idempotent.

        Raises:
            TrackConflict, TransactionConflict: as `add`.
        """

        def check(stored: Tracked, watch: Watch) -> Followed:
            return parcel_watch.check_silence(stored.track, watch, self._limits(), now)

        self._update(key, check, now)

    def _update(self, key: ParcelKey, change: Callable[[Tracked, Watch], Followed], now: datetime) -> None:
        for _ in range(ATTEMPTS):
            before = self._tracks.load(key)
            watch = before.watch or self._new_watch(key, now)
            if self._store(key, before, change(before, watch or Watch(now)), early=watch is None):
                return
        raise TrackConflict(key.parcel_id)

    def _new_watch(self, key: ParcelKey, now: datetime) -> Watch | None:
        """Return the watch that the parcel's order gives it, ended without an order; None for a parcel that the order does not have yet."""
        try:
            order = self._log.load(order_id_of(key.shipment_id))
        except (UnknownShipment, OrderNotFound):
            logger.warning("shipment_unknown", shipment_id=key.shipment_id, parcel_id=key.parcel_id)
            return Watch(now, ended=True)
        parcel = order.parcels.get(key.parcel_id)
        return parcel_watch.watch_of(order, parcel, now) if parcel else None

    def _store(self, key: ParcelKey, before: Tracked, followed: Followed, *, early: bool) -> bool:
        """Store a parcel and record its changes, unless another update came first; return whether that is done."""
        check_at = parcel_watch.check_due(followed.track, followed.watch, self._limits(), before.check_at)
        after = Tracked(followed.track, None if early else followed.watch, check_at)
        if followed.changes:
            return self._record(key, before, after, followed)
        # Without reading and watch there is nothing to store.
        return after == before or (early and after.track is None) or self._tracks.replace(key, before, after)

    def _record(self, key: ParcelKey, before: Tracked, after: Tracked, followed: Followed) -> bool:
        order = self._log.load(order_id_of(key.shipment_id))
        annotate(order_id=order.order_id, correlation_id=order.correlation_id)
        write = self._tracks.replacement(key, before, after)
        try:
            result = self._log.record(
                order, RecordParcelConditions(key.parcel_id, followed.changes), source="shipping", extra_writes=[write]
            )
        except (Conflict, TransactionConditionFailed):
            return False
        if isinstance(result, Recorded) and result.events:
            logger.info("parcel_conditions_recorded", parcel_id=key.parcel_id, events=[event.type for event in result.events])
            return True
        # The order has the changes already, or the parcel is not in transit any more.
        parcel = result.order.parcels.get(key.parcel_id)
        if parcel is None or parcel.state != "dispatched":
            after = Tracked(after.track, followed.watch.end())
        return self._tracks.replace(key, before, after)
