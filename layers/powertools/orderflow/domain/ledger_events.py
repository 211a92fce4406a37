"""The event of the ledger audit. Its type is only in EventBridge's `detail-type`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from orderflow.domain.events import Moment
from orderflow.domain.money import Currency

SOURCE = "ledger"

Kind = Literal["entry", "event", "order", "sheet", "trial_balance"]


class Difference(Struct, frozen=True):
    """A difference, in minor units.

    | kind | place | account | expected | found |
    |---|---|---|---|---|
    | `entry` | event id | - | 0 | sum of the entry's postings |
    | `event` | event id | - | the event's amount, by the order log (0: no such event) | the entry's (0: none, or of another currency) |
    | `event` | event id | account | the posting by the rules | sum of the entry's postings |
    | `order` | order id | - | captured less refunded, by the order log | the same by the entries |
    | `sheet` | sheet | account, or `entries` for their number | the closed balance | sum of its entries a day later |
    | `trial_balance` | `all` | - | 0 | sum of all accounts |
    """

    kind: Kind
    place: str
    currency: Currency
    expected: int
    found: int
    account: str | None = None


class LedgerDifferenceFound(Struct, frozen=True, kw_only=True):
    """The ledger audit found a difference."""

    type: ClassVar[str] = "LedgerDifferenceFound"

    event_id: Annotated[str, Meta(description="The same for every finding of the same difference")]
    schema_version: Annotated[int, Meta(description="Version of the type's contract")] = 1
    found_at: Moment
    source: Annotated[str, Meta(description="Producing context; on the bus, the source as well")] = SOURCE
    data: Difference
