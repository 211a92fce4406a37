"""Money as integer minor units and an ISO 4217 currency; never a float."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from orderflow.domain.currencies import EXPONENTS, PER_HUNDRED_DOLLARS, STEPS

Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217 code", examples=["EUR"])]


class CurrencyMismatch(ValueError):
    """Amounts of different currencies cannot be added."""


class Money(Struct, frozen=True):
    """An amount of money.

    `amount` counts minor units of `currency` (cents for EUR, yen for JPY) and may be negative: a
    refund, a correction.
    """

    amount: int
    currency: Currency

    def __add__(self, other: Money) -> Money:
        """Add two amounts of one currency.

        Raises:
            CurrencyMismatch: the currencies differ.
        """
        return Money(self.amount + self._same(other).amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        """Subtract an amount of the same currency.

        Raises:
            CurrencyMismatch: the currencies differ.
        """
        return Money(self.amount - self._same(other).amount, self.currency)

    def times(self, quantity: int) -> Money:
        """Return `quantity` times this amount."""
        return Money(self.amount * quantity, self.currency)

    def _same(self, other: Money) -> Money:
        if self.currency != other.currency:
            message = f"cannot combine {self.currency} with {other.currency}"
            raise CurrencyMismatch(message)
        return other


def unit(currency: str) -> int:
    """Return the minor units in a whole unit of the currency: 100 for EUR, 1 for JPY."""
    return 10 ** EXPONENTS.get(currency, 2)


def charge_step(currency: str) -> int:
    """Return the smallest amount, in minor units, of which payment providers move whole multiples: 1 for EUR, 10 for KWD, 100 for MGA."""
    return STEPS.get(currency, 1)


def worth(cents: int, currency: str) -> int:
    """Return the approximate value of `cents` (US) in minor units of `currency`: 150,000 for 100,000 cents in JPY.

    The rates are fixed and approximate: for limits and points, not for prices.
    """
    return cents * PER_HUNDRED_DOLLARS.get(currency, 100) * unit(currency) // 10_000


def whole_dollars(money: Money) -> int:
    """Return the approximate value of an amount in whole US dollars, rounded down; a euro counts as a dollar."""
    return money.amount * 100 // (PER_HUNDRED_DOLLARS.get(money.currency, 100) * unit(money.currency))


def format_money(money: Money) -> str:
    """Return an amount as readable text: `EUR 1,250.00`, `JPY 1,250`."""
    whole, minor = divmod(abs(money.amount), unit(money.currency))
    sign = "-" if money.amount < 0 else ""
    exponent = EXPONENTS.get(money.currency, 2)
    fraction = f".{minor:0{exponent}}" if exponent else ""
    return f"{money.currency} {sign}{whole:,}{fraction}"
