"""What the ledger itself has to tell. It is about the books and no step of an order's life, so it is on no order's log."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import ClassVar, Literal

from msgspec import Struct

from orderflow.money import Currency

SOURCE = "ledger"

Kind = Literal["entry", "event", "order", "sheet", "trial_balance"]


class Difference(Struct, frozen=True):
    """Something that does not add up, in minor units.

    | kind | place | account | expected | found |
    |---|---|---|---|---|
    | `entry` | event id | - | 0 | what the entry's postings come to |
    | `event` | event id | - | the event's amount, by the order log (0: no such event) | the entry's (0: none, or of another currency) |
    | `event` | event id | account | what the rules make of the event | what the entry's postings come to |
    | `order` | order id | - | captured less refunded, by the order log | the same by the entries |
    | `sheet` | sheet | account, or `entries` for their number | what was carried of it | what its entries come to a day later |
    | `trial_balance` | `all` | - | 0 | what all accounts come to |
    """

    kind: Kind
    place: str
    currency: Currency
    expected: int
    found: int
    account: str | None = None


class LedgerDifferenceFound(Struct, frozen=True, kw_only=True):
    """A proof of the books found a difference.

    `event_id` is the same whenever the same difference is found again; `found_at` is UTC.
    """

    type: ClassVar[str] = "LedgerDifferenceFound"

    event_id: str
    schema_version: int = 1
    found_at: datetime
    source: str = SOURCE
    data: Difference


def found(difference: Difference, moment: datetime) -> LedgerDifferenceFound:
    """Return the event that tells of a difference."""
    parts = (difference.kind, difference.place, difference.currency, difference.account, difference.expected, difference.found)
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
    return LedgerDifferenceFound(event_id=f"ledger:{digest[:26]}", found_at=moment, data=difference)
