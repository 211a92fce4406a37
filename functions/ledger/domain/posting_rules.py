"""The rules of double entry: which entry each event leads to, and what has to add up. No AWS, no clock.

A debit is positive and a credit negative, in minor units of the entry's one currency, so an entry sums to zero. The
accounts, and what each event debits and credits, stand in docs/ledger.md.
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
# Where a disputed amount is booked while the dispute is open, and once it is decided.
_DISPUTED: dict[events.DisputeState, Account] = {"open": "disputes", "won": "clearing", "lost": "losses"}


class InvalidFees(ValueError):
    """The configuration of the provider's fees is not usable."""


class NoMoneyMoved(ValueError):
    """The event moves no money, so there is no entry for it."""


class Fees(Struct, frozen=True, forbid_unknown_fields=True):
    """What the provider keeps of a capture: basis points of it, and minor units that depend on the currency (0 where none are named)."""

    basis_points: Annotated[int, Meta(ge=0, le=_BASIS)] = 0
    fixed: dict[Currency, Annotated[int, Meta(ge=0)]] = {}


class Posting(Struct, frozen=True):
    """Minor units that an account is debited (positive) or credited (negative)."""

    account: Account
    amount: int


class Entry(Struct, frozen=True, kw_only=True):
    """What one event does to the books; `amount` is the event's own, `occurred_at` (UTC) its time, `fees` what a fee was reckoned by."""

    event_id: str
    order_id: str
    type: str
    occurred_at: datetime
    amount: Money
    postings: tuple[Posting, ...]
    fees: Fees = Fees()


def parse_fees(text: str) -> Fees:
    """Read the provider's fees from their JSON document.

    Raises:
        WrongFees: it is not such a document.
    """
    try:
        return msgspec.json.decode(text, type=Fees)
    except msgspec.DecodeError as error:
        message = f"the provider's fees are not usable: {error}"
        raise InvalidFees(message) from None


def entry_for(event: Event, fees: Fees) -> Entry:
    """Return the entry that an event leads to.

    Raises:
        Unpostable: the event moves no money.
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
    """Return what of the provider's fees counts for a currency."""
    fixed = fees.fixed.get(currency, 0)
    return Fees(fees.basis_points, {currency: fixed} if fixed else {})


def fee(amount: Money, fees: Fees) -> int:
    """Return what the provider keeps of a capture in minor units, halves rounded to even; nothing of nothing."""
    if not amount.amount:
        return 0
    return _rounded(amount.amount * fees.basis_points, _BASIS) + fees.fixed.get(amount.currency, 0)


def net(postings: Iterable[Posting]) -> Counter[str]:
    """Return what postings come to for each account."""
    sums = Counter[str]()
    for posting in postings:
        sums[posting.account] += posting.amount
    return sums


def balances(entries: Iterable[Entry]) -> dict[Currency, Counter[str]]:
    """Return what entries come to for each currency and account."""
    sums: dict[Currency, Counter[str]] = {}
    for one in entries:
        sums.setdefault(one.amount.currency, Counter()).update(net(one.postings))
    return sums


def net_captured(amounts: Iterable[tuple[str, Money]]) -> int:
    """Return what was captured less what was refunded, in minor units, of pairs of event type and amount."""
    signs = {"PaymentCaptured": 1, "PaymentRefunded": -1, "PaymentRefundReversed": 1}
    return sum(signs.get(kind, 0) * amount.amount for kind, amount in amounts)


def total(sums: Mapping[str, int]) -> int:
    """Return what all accounts come to together: zero, if nothing is wrong."""
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
    """Return the whole number nearest to `amount / parts`, of two equally near ones the even one."""
    whole, rest = divmod(amount, parts)
    up = 2 * rest > parts or (2 * rest == parts and whole % 2 == 1)
    return whole + up
