"""Stores and limits that the functions of tracking share, created once at import."""

from __future__ import annotations

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.flags import Flags
from orderflow.aws.order_log import OrderLog
from shipping.domain.parcel_watch import ShippingFlags, parse_flags
from shipping.parcel_tracking import ParcelTracking
from shipping.tracking_store import TrackingStore

FLAGS = Flags(parse_flags, ShippingFlags())
TRACKS = TrackingStore(settings.required("TRACKING_TABLE"), client("dynamodb"))
TRACKING = ParcelTracking(OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb")), TRACKS, lambda: FLAGS().parcels)
