"""The event that tells of the books: what the proof of the ledger found. The bus alone names its type."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from orderflow.domain.events import Moment
from orderflow.domain.money import Currency

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
    """A proof of the books found a difference."""

    type: ClassVar[str] = "LedgerDifferenceFound"

    event_id: Annotated[str, Meta(description="The same whenever the same difference is found again")]
    schema_version: Annotated[int, Meta(description="Version of the type's contract")] = 1
    found_at: Moment
    source: Annotated[str, Meta(description="Context that says so; on the bus, the source as well")] = SOURCE
    data: Difference
