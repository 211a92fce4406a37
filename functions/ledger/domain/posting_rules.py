"""The rules of double entry: the journal entry of each event, and its sums. No AWS, no clock.

A debit is positive and a credit negative, in minor units of the entry's one currency, so an entry sums to zero.
docs/ledger.md lists the accounts and the postings of each event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from orderflow.domain import events
from orderflow.domain.events import Event
from orderflow.domain.money import Currency, Money

Account = Literal["authorizations", "holds", "clearing", "revenue", "fees", "refunds", "disputes", "losses"]
ACCOUNTS: tuple[Account, ...] = get_args(Account)

_BASIS = 10_000
# The account of a disputed amount while the dispute is open, and after its decision.
_DISPUTED: dict[events.DisputeState, Account] = {"open": "disputes", "won": "clearing", "lost": "losses"}


class InvalidFees(ValueError):
    """The setting of the provider's fees is malformed."""


class NoMoneyMoved(ValueError):
    """The event moves no money, so it has no entry."""


class Fees(Struct, frozen=True, forbid_unknown_fields=True):
    """The provider's fee for a capture: basis points of the amount, and fixed minor units by currency (0 if a currency is not listed)."""

    basis_points: Annotated[int, Meta(ge=0, le=_BASIS)] = 0
    fixed: dict[Currency, Annotated[int, Meta(ge=0)]] = {}


class Posting(Struct, frozen=True):
    """A debit (positive) or credit (negative) of an account in minor units."""

    account: Account
    amount: int


class Entry(Struct, frozen=True, kw_only=True):
    """The journal entry of one event: its amount and time (UTC), its postings, and the `fees` that the fee was computed with."""

    event_id: str
    order_id: str
    type: str
    occurred_at: datetime
    amount: Money
    postings: tuple[Posting, ...]
    fees: Fees = Fees()


def parse_fees(text: str) -> Fees:
    """Return the provider's fees of a JSON document.

    Raises:
        InvalidFees: the document is malformed.
    """
    try:
        return msgspec.json.decode(text, type=Fees)
    except msgspec.DecodeError as error:
        message = f"invalid provider fees {text!r}: {error}"
        raise InvalidFees(message) from None


def entry_for(event: Event, fees: Fees) -> Entry:
    """Return the entry of an event.

    Raises:
        NoMoneyMoved: the event moves no money.
    """
    amount, postings = _postings(event, fees)
    return Entry(
        event_id=event.event_id,
        order_id=event.order_id,
        type=event.type,
        occurred_at=event.occurred_at,
        amount=amount,
        postings=tuple(posting for posting in postings if posting.amount),
        fees=terms(fees, amount.currency) if any(posting.account == "fees" for posting in postings) else Fees(),
    )


def terms(fees: Fees, currency: Currency) -> Fees:
    """Return the fees that apply to a currency."""
    fixed = fees.fixed.get(currency, 0)
    return Fees(fees.basis_points, {currency: fixed} if fixed else {})


def fee(amount: Money, fees: Fees) -> int:
    """Return the provider's fee for a capture in minor units, halves rounded to even; 0 for an amount of 0."""
    if not amount.amount:
        return 0
    return _rounded(amount.amount * fees.basis_points, _BASIS) + fees.fixed.get(amount.currency, 0)


def net(postings: Iterable[Posting]) -> Counter[str]:
    """Return the sum of postings by account."""
    sums = Counter[str]()
    for posting in postings:
        sums[posting.account] += posting.amount
    return sums


def balances(entries: Iterable[Entry]) -> dict[Currency, Counter[str]]:
    """Return the sum of entries by currency and account."""
    sums: dict[Currency, Counter[str]] = {}
    for one in entries:
        sums.setdefault(one.amount.currency, Counter()).update(net(one.postings))
    return sums


def net_captured(amounts: Iterable[tuple[str, Money]]) -> int:
    """Return captured less refunded minor units, from pairs of event type and amount."""
    signs = {"PaymentCaptured": 1, "PaymentRefunded": -1, "PaymentRefundReversed": 1}
    return sum(signs.get(kind, 0) * amount.amount for kind, amount in amounts)


def total(sums: Mapping[str, int]) -> int:
    """Return the sum of all accounts, which is zero in a correct ledger."""
    return sum(sums.values())


def _postings(event: Event, fees: Fees) -> tuple[Money, tuple[Posting, ...]]:
    match event.data:
        case events.PaymentAuthorized(amount=amount):
            return amount, _transfer(amount, debit="authorizations", credit="holds")
        case events.PaymentVoided(amount=amount):
            return amount, _transfer(amount, debit="holds", credit="authorizations")
        case events.PaymentCaptured(amount=amount):
            return amount, (
                *_transfer(amount, debit="holds", credit="authorizations"),
                *_transfer(amount, debit="clearing", credit="revenue"),
                *_transfer(Money(fee(amount, fees), amount.currency), debit="fees", credit="clearing"),
            )
        case events.PaymentRefunded(amount=amount):
            return amount, _transfer(amount, debit="refunds", credit="clearing")
        case events.PaymentRefundReversed(amount=amount):
            return amount, _transfer(amount, debit="clearing", credit="refunds")
        case events.PaymentDisputed(amount=amount):
            return amount, _transfer(amount, debit="disputes", credit="clearing")
        case events.DisputeClosed(amount=amount, outcome=outcome):
            return amount, _transfer(amount, debit=_DISPUTED[outcome], credit=_DISPUTED["open"])
        case events.DisputeOutcomeChanged(amount=amount, before=before, after=after):
            return amount, _transfer(amount, debit=_DISPUTED[after], credit=_DISPUTED[before])
        case _:
            message = f"{event.type} moves no money"
            raise NoMoneyMoved(message)


def _transfer(amount: Money, *, debit: Account, credit: Account) -> tuple[Posting, Posting]:
    return Posting(debit, amount.amount), Posting(credit, -amount.amount)


def _rounded(amount: int, parts: int) -> int:
    """Return `amount / parts` rounded to a whole number, halves to even."""
    whole, rest = divmod(amount, parts)
    up = 2 * rest > parts or (2 * rest == parts and whole % 2 == 1)
    return whole + up
