"""The sandbox carrier's rules: what a request makes of a consignment. No AWS, no clock.

A consignment is all that the carrier knows under one shipment id. The functions take it as it is
(None when there is none) and return it as it is afterwards; returning it unchanged means that the
request has had its effect already, or can have none.
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


class Consignment(Struct, frozen=True, kw_only=True):
    """What the carrier knows under one id.

    `request` fingerprints the parameters of the request; it is empty where a recall came first.
    `accepted` is false while an attempt was lost before it took effect. `simulated_fault` is how the carrier
    answers a recall, where that is not as usual.
    """

    request: str = ""
    accepted: bool = msgspec.field(default=True, name="taken")
    lines: tuple[StockLine, ...] = ()
    parcels: tuple[Parcel, ...] = ()
    recalled: bool = False
    simulated_fault: str = msgspec.field(default="", name="manner")


def request(known: Consignment | None, lines: tuple[StockLine, ...], address: Address) -> Consignment:
    """Return the consignment after a request to bring `lines` to `address`.

    Raises:
        CarrierRefused: id_reused.
    """
    fingerprint = _digest(lines, address)
    if known is None and address.postal_code == TIMEOUT_BEFORE:
        return Consignment(request=fingerprint, accepted=False)
    if known is None or not known.accepted:
        fault = address.postal_code if address.postal_code in _RECALL_FAULTS else ""
        return Consignment(request=fingerprint, lines=lines, simulated_fault=fault)
    if known.request not in {"", fingerprint}:
        raise CarrierRefused(Contradiction.ID_REUSED)
    return known


def recall(known: Consignment | None) -> Consignment:
    """Return the consignment with nothing more to leave, unless the carrier cannot stop it."""
    if known is None or not known.accepted:
        return Consignment(request=known.request if known else "", recalled=True)
    return known if known.simulated_fault == RECALL_IMPOSSIBLE else replace(known, recalled=True)


def dispatch(known: Consignment | None, parcel: Parcel) -> Consignment:
    """Return the consignment after a parcel of it left.

    Raises:
        CarrierRefused: unknown_shipment, recalled, lines_exceeded, or id_reused for a parcel of other lines.
    """
    if known is None or not known.accepted:
        raise CarrierRefused(Contradiction.UNKNOWN_SHIPMENT)
    for before in known.parcels:
        if before.parcel_id == parcel.parcel_id:
            return _require_same_parcel(known, before, parcel)
    if known.recalled:
        raise CarrierRefused(Contradiction.RECALLED)
    if not parcel.lines or not covers(undispatched_lines(known), parcel.lines):
        raise CarrierRefused(Contradiction.LINES_EXCEEDED)
    return replace(known, parcels=(*known.parcels, parcel))


def undispatched_lines(known: Consignment) -> tuple[StockLine, ...]:
    """Return what of the consignment has not left."""
    return subtract(known.lines, *(parcel.lines for parcel in known.parcels))


def shipment(known: Consignment | None) -> Shipment | None:
    """Return what a customer of the carrier sees of the consignment."""
    return Shipment(known.parcels, known.recalled) if known and known.accepted else None


def _require_same_parcel(known: Consignment, before: Parcel, parcel: Parcel) -> Consignment:
    if before != parcel:
        raise CarrierRefused(Contradiction.ID_REUSED)
    return known


def _digest(lines: tuple[StockLine, ...], address: Address) -> str:
    return hashlib.sha256(msgspec.json.encode([lines, address])).hexdigest()
