"""The ledger's own event. It is about the ledger and not about one order, so it is in no order's log."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from orderflow.domain.ledger_events import SOURCE, Difference, Kind, LedgerDifferenceFound

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["SOURCE", "Difference", "Kind", "LedgerDifferenceFound", "difference_found"]


def difference_found(difference: Difference, moment: datetime) -> LedgerDifferenceFound:
    """Return the event of a difference; the same difference always has the same event id."""
    parts = (difference.kind, difference.place, difference.currency, difference.account, difference.expected, difference.found)
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
    return LedgerDifferenceFound(event_id=f"ledger:{digest[:26]}", found_at=moment, data=difference)
