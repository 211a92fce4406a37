"""The smallest amounts that can be charged, by currency: Stripe's minimums (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts).

The sandbox declines smaller amounts. Stripe itself decides by the settlement currency of the account.
"""

from __future__ import annotations

from orderflow.domain.money import Money, charge_step

AMOUNT_TOO_SMALL = "amount_too_small"
AMOUNT_INVALID = "amount_invalid"

# Minor units.
_MINIMUMS = {
    **dict.fromkeys(("AUD", "BRL", "CAD", "CHF", "EUR", "INR", "NZD", "SGD", "USD", "JPY"), 50),
    **dict.fromkeys(("AED", "MYR", "PLN", "RON"), 200),
    **dict.fromkeys(("NOK", "SEK"), 300),
    **dict.fromkeys(("MXN", "THB"), 1000),
    "BGN": 100,
    "COP": 200_000,
    "CZK": 1500,
    "DKK": 250,
    "GBP": 30,
    "HKD": 400,
    "HUF": 17_500,
}


def decline_code(amount: Money) -> str | None:
    """Return the decline code of an amount that cannot be charged, or None. Without a published minimum, the minimum is 1."""
    if amount.amount < _MINIMUMS.get(amount.currency, 1):
        return AMOUNT_TOO_SMALL
    return AMOUNT_INVALID if amount.amount % charge_step(amount.currency) else None
