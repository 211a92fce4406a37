"""The interface of a carrier.

The pipeline chooses the shipment id, so it can look up and recall a shipment even if the answer to the
request was lost.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from orderflow.domain.events import Address, StockLine


class CarrierTimeout(RuntimeError):
    """The carrier did not answer: the request may or may not have taken effect. Look up the shipment first."""


class CarrierUnavailable(RuntimeError):
    """The carrier did not accept the request: it had no effect, and a later retry can succeed."""


class Contradiction(StrEnum):
    """Why a request contradicts an earlier one."""

    ID_REUSED = "id_reused"
    UNKNOWN_SHIPMENT = "unknown_shipment"
    RECALLED = "recalled"
    LINES_EXCEEDED = "lines_exceeded"


class CarrierRefused(RuntimeError):
    """The request contradicts an earlier one, so a retry cannot succeed. `code` names the contradiction."""

    def __init__(self, code: Contradiction) -> None:
        """Create the error for this contradiction."""
        super().__init__(str(code))
        self.code = code


class Parcel(Struct, frozen=True):
    """A dispatched part of a shipment."""

    parcel_id: str
    lines: tuple[StockLine, ...]


class Shipment(Struct, frozen=True):
    """The dispatched parcels of a shipment; once it is `recalled`, no more parcels are dispatched."""

    parcels: tuple[Parcel, ...] = ()
    recalled: bool = False


class Carrier(Protocol):
    """A carrier. Requests are idempotent: the same shipment id and parameters have one effect and one answer.

    Every method raises CarrierTimeout (outcome unknown) and CarrierUnavailable (no effect).
    """

    def request(self, shipment_id: str, lines: tuple[StockLine, ...], address: Address) -> Shipment:
        """Request the shipment of lines to an address.

        Returns the current shipment, which is recalled if a recall of this id came first.

        Raises:
            CarrierRefused: the id was used for other lines or another address.
        """
        ...

    def recall(self, shipment_id: str) -> Shipment:
        """Stop all lines not dispatched yet, and return the current shipment.

        The shipment is not recalled if the carrier can no longer stop it. An unknown id becomes
        recalled, so a concurrent request for that id has no effect.
        """
        ...

    def look_up(self, shipment_id: str) -> Shipment | None:
        """Return the current shipment, or None if the carrier does not know the id."""
        ...
