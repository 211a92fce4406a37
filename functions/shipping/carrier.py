"""What the pipeline asks of a carrier, whichever it is.

A shipment is addressed by an id that we give it, so that it can be looked up and recalled even when
the answer to its request was lost.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from orderflow.domain.events import Address, StockLine


class CarrierTimeout(RuntimeError):
    """No answer came: the request may have taken effect or not. Look the shipment up before anything else."""


class CarrierUnavailable(RuntimeError):
    """The carrier did not take the request: it had no effect, and trying later helps."""


class Contradiction(StrEnum):
    """Why a request cannot go with what was asked before."""

    ID_REUSED = "id_reused"
    UNKNOWN_SHIPMENT = "unknown_shipment"
    RECALLED = "recalled"
    LINES_EXCEEDED = "lines_exceeded"


class CarrierRefused(RuntimeError):
    """The request contradicts what was asked before; asking again does not help. `code` says why."""

    def __init__(self, code: Contradiction) -> None:
        """Name the contradiction."""
        super().__init__(str(code))
        self.code = code


class Parcel(Struct, frozen=True):
    """A part of a shipment that left."""

    parcel_id: str
    lines: tuple[StockLine, ...]


class Shipment(Struct, frozen=True):
    """What left of a shipment; once it is `recalled`, nothing more will leave under its id."""

    parcels: tuple[Parcel, ...] = ()
    recalled: bool = False


class Carrier(Protocol):
    """A carrier. The same shipment id with the same parameters has one effect and one answer.

    Every method raises CarrierTimeout (outcome unknown) and CarrierUnavailable (no effect).
    """

    def request(self, shipment_id: str, lines: tuple[StockLine, ...], address: Address) -> Shipment:
        """Have the lines fetched and brought to the address.

        Returns the shipment as it stands now: recalled where a recall of this id came first.

        Raises:
            CarrierRefused: the id has other lines or another address.
        """
        ...

    def recall(self, shipment_id: str) -> Shipment:
        """Stop what has not left, and return the shipment as it stands now.

        It is not recalled where the carrier cannot stop it any more. An id that is not known yet
        becomes recalled, so that a request still under way under that id has no effect.
        """
        ...

    def look_up(self, shipment_id: str) -> Shipment | None:
        """Return the shipment as it stands now, or None when nothing took effect under the id."""
        ...
