"""The rules of the sandbox carrier: how a request changes a shipment.

The functions take the current state of one shipment id (None for an unknown id) and return the new one; an unchanged state means
that the request had no further effect.
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orderflow.domain.events import Address, StockLine
from orderflow.domain.order import covers, subtract
from shipping.carrier import CarrierRefused, Contradiction, Parcel, Shipment

TIMEOUT_BEFORE = "TIMEOUT-BEFORE"
TIMEOUT_AFTER = "TIMEOUT-AFTER"
UNAVAILABLE = "UNAVAILABLE"
RECALL_TIMEOUT_AFTER = "RECALL-TIMEOUT-AFTER"
RECALL_IMPOSSIBLE = "RECALL-IMPOSSIBLE"

_RECALL_FAULTS = {RECALL_TIMEOUT_AFTER, RECALL_IMPOSSIBLE}


class SandboxShipment(Struct, frozen=True, kw_only=True):
    """The carrier's state of one shipment id.

    `request` is a digest of the request's parameters, empty if a recall came first. `accepted` is false after an
    attempt that was lost without effect. `simulated_fault` names the fault of a recall, if any. The stored names of
    `accepted` and `simulated_fault` are older.
    """

    request: str = ""
    accepted: bool = msgspec.field(default=True, name="taken")
    lines: tuple[StockLine, ...] = ()
    parcels: tuple[Parcel, ...] = ()
    recalled: bool = False
    simulated_fault: str = msgspec.field(default="", name="manner")


def request(known: SandboxShipment | None, lines: tuple[StockLine, ...], address: Address) -> SandboxShipment:
    """Return the shipment after a request to ship `lines` to `address`.

    Raises:
        CarrierRefused: id_reused.
    """
    fingerprint = _digest(lines, address)
    if known is None and address.postal_code == TIMEOUT_BEFORE:
        return SandboxShipment(request=fingerprint, accepted=False)
    if known is None or not known.accepted:
        fault = address.postal_code if address.postal_code in _RECALL_FAULTS else ""
        return SandboxShipment(request=fingerprint, lines=lines, simulated_fault=fault)
    if known.request not in {"", fingerprint}:
        raise CarrierRefused(Contradiction.ID_REUSED)
    return known


def recall(known: SandboxShipment | None) -> SandboxShipment:
    """Return the recalled shipment, unless the simulated fault makes the recall impossible."""
    if known is None or not known.accepted:
        return SandboxShipment(request=known.request if known else "", recalled=True)
    return known if known.simulated_fault == RECALL_IMPOSSIBLE else replace(known, recalled=True)


def dispatch(known: SandboxShipment | None, parcel: Parcel) -> SandboxShipment:
    """Return the shipment after the dispatch of a parcel.

    Raises:
        CarrierRefused: unknown_shipment, recalled, lines_exceeded, or id_reused for a parcel of other lines.
    """
    if known is None or not known.accepted:
        raise CarrierRefused(Contradiction.UNKNOWN_SHIPMENT)
    for dispatched in known.parcels:
        if dispatched.parcel_id == parcel.parcel_id:
            return _require_same_parcel(known, dispatched, parcel)
    if known.recalled:
        raise CarrierRefused(Contradiction.RECALLED)
    if not parcel.lines or not covers(undispatched_lines(known), parcel.lines):
        raise CarrierRefused(Contradiction.LINES_EXCEEDED)
    return replace(known, parcels=(*known.parcels, parcel))


def undispatched_lines(known: SandboxShipment) -> tuple[StockLine, ...]:
    """Return the lines of the shipment that were not dispatched."""
    return subtract(known.lines, *(parcel.lines for parcel in known.parcels))


def shipment(known: SandboxShipment | None) -> Shipment | None:
    """Return the shipment as the carrier's client sees it, or None if no request took effect."""
    return Shipment(known.parcels, known.recalled) if known and known.accepted else None


def _require_same_parcel(known: SandboxShipment, dispatched: Parcel, parcel: Parcel) -> SandboxShipment:
    if dispatched != parcel:
        raise CarrierRefused(Contradiction.ID_REUSED)
    return known


def _digest(lines: tuple[StockLine, ...], address: Address) -> str:
    return hashlib.sha256(msgspec.json.encode([lines, address])).hexdigest()
