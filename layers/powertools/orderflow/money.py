"""Money as integer minor units and an ISO 4217 currency; never a float."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217 code", examples=["EUR"])]


class CurrencyMismatch(ValueError):
    """Two amounts of different currencies met in one sum."""


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
