"""Money as integer minor units and an ISO 4217 currency; never a float."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217 code", examples=["EUR"])]


# ISO 4217: currencies whose minor unit is not a hundredth.
_EXPONENTS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI"), 0),
    **dict.fromkeys(("VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


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


def unit(currency: str) -> int:
    """Return how many minor units a whole unit of the currency has: 100 for EUR, 1 for JPY."""
    return 10 ** _EXPONENTS.get(currency, 2)


def written(money: Money) -> str:
    """Return an amount as people write it: `EUR 1,250.00`, `JPY 1,250`."""
    whole, minor = divmod(abs(money.amount), unit(money.currency))
    sign = "-" if money.amount < 0 else ""
    exponent = _EXPONENTS.get(money.currency, 2)
    fraction = f".{minor:0{exponent}}" if exponent else ""
    return f"{money.currency} {sign}{whole:,}{fraction}"
