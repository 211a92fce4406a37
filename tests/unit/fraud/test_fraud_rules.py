"""The fraud rules: scores, thresholds, flags and their configuration."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.domain.fraud_rules import (
    AmountLimits,
    FraudFlags,
    ScreeningInput,
    Thresholds,
    Weights,
    parse_flags,
    score_order,
)
from orderflow.domain.money import Money

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=30)
DEFAULTS = Thresholds()
MINUTES_AGO = [NOW - timedelta(minutes=minute) for minute in range(1, 6)]


def screening_input(**changes: Any) -> ScreeningInput:
    plain: dict[str, Any] = {
        "total": Money(2500, "EUR"),
        "shipping_country": "GB",
        "payment_country": "GB",
        "placed_at": NOW,
        "preceding": [LONG_AGO],
    }
    return ScreeningInput(**plain | changes)


@pytest.mark.parametrize(
    ("changes", "decision", "reasons"),
    [
        ({}, "approve", ()),
        ({"preceding": []}, "approve", ("new_customer",)),
        ({"shipping_country": "US"}, "approve", ("country_mismatch",)),
        ({"shipping_country": "US", "preceding": []}, "approve", ("country_mismatch", "new_customer")),
        ({"preceding": MINUTES_AGO}, "approve", ("velocity",)),
        ({"preceding": MINUTES_AGO, "shipping_country": "US"}, "hold", ("velocity", "country_mismatch")),
        ({"total": Money(99_999, "EUR")}, "approve", ()),
        ({"total": Money(100_000, "EUR")}, "hold", ("amount_large",)),
        ({"total": Money(289_900, "EUR")}, "hold", ("amount_large",)),
        ({"total": Money(289_900, "EUR"), "preceding": []}, "hold", ("amount_large", "new_customer")),
        ({"total": Money(500_000, "EUR")}, "hold", ("amount_very_large",)),
        ({"total": Money(10**12, "EUR"), "preceding": MINUTES_AGO}, "hold", ("amount_very_large", "velocity")),
        ({"total": Money(10**12, "EUR"), "shipping_country": "US"}, "hold", ("amount_very_large", "country_mismatch")),
        (
            {"total": Money(869_700, "EUR"), "shipping_country": "US", "preceding": MINUTES_AGO},
            "refuse",
            ("amount_very_large", "velocity", "country_mismatch"),
        ),
        ({"total": Money(149_999, "JPY")}, "approve", ()),
        ({"total": Money(150_000, "JPY")}, "hold", ("amount_large",)),
        # About 20 and 325 dollars.
        ({"total": Money(500_000, "VND")}, "approve", ()),
        ({"total": Money(100_000, "KWD")}, "approve", ()),
        ({"total": Money(25_000_000, "VND")}, "hold", ("amount_large",)),
        ({"total": Money(310_000, "KWD")}, "hold", ("amount_large",)),
        ({"total": Money(125_000_000, "VND")}, "hold", ("amount_very_large",)),
        # An unknown currency.
        ({"total": Money(99_999, "XXX")}, "approve", ()),
        ({"total": Money(100_000, "XXX")}, "hold", ("amount_large",)),
    ],
)
def test_default_rules_decide_by_score(changes: dict[str, Any], decision: str, reasons: tuple[str, ...]) -> None:
    screening = score_order(screening_input(**changes), FraudFlags())

    assert (screening.decision, screening.reasons) == (decision, reasons)


def test_velocity_counts_only_orders_in_its_window() -> None:
    hour = timedelta(seconds=DEFAULTS.velocity.window_seconds)
    within = [NOW - hour] * 5
    one_too_old = [*within[1:], NOW - hour - timedelta(microseconds=1)]

    assert score_order(screening_input(preceding=within), FraudFlags()).reasons == ("velocity",)
    assert score_order(screening_input(preceding=one_too_old), FraudFlags()).reasons == ()


@given(
    amount=st.integers(0, 10**9),
    more=st.integers(0, 10**9),
    earlier=st.integers(0, 8),
    countries=st.tuples(st.sampled_from(["GB", "US"]), st.sampled_from(["GB", "US"])),
    currency=st.sampled_from(["EUR", "JPY"]),
)
def test_larger_amount_never_scores_less(amount: int, more: int, earlier: int, countries: tuple[str, str], currency: str) -> None:
    def score(total: int) -> int:
        shipping, payment = countries
        order = screening_input(
            total=Money(total, currency),
            shipping_country=shipping,
            payment_country=payment,
            preceding=[NOW - timedelta(minutes=1)] * earlier,
        )
        return score_order(order, FraudFlags()).score

    assert score(amount) <= score(amount + more)


@given(
    weights=st.builds(Weights, *[st.integers(0, 200)] * 5),
    scores=st.lists(st.integers(1, 500), min_size=2, max_size=2).map(sorted),
    total=st.integers(0, 10**6),
    country=st.sampled_from(["GB", "US"]),
    earlier=st.integers(0, 8),
)
def test_score_sums_the_reasons_and_decides(weights: Weights, scores: list[int], total: int, country: str, earlier: int) -> None:
    hold, refuse = scores
    flags = FraudFlags(fraud=Thresholds(hold_score=hold, refuse_score=refuse, weights=weights))

    screening = score_order(screening_input(total=Money(total, "EUR"), shipping_country=country, preceding=[NOW] * earlier), flags)

    assert screening.score == sum(getattr(weights, reason) for reason in screening.reasons)
    assert screening.decision == ("refuse" if screening.score >= refuse else "hold" if screening.score >= hold else "approve")


@pytest.mark.parametrize(
    ("flags", "changes", "reasons"),
    [
        (FraudFlags(hold_every_order=True), {}, ("hold_every_order",)),
        (FraudFlags(hold_every_order=True), {"preceding": []}, ("new_customer", "hold_every_order")),
        (FraudFlags(hold_countries=frozenset({"GB", "FR"})), {}, ("hold_countries",)),
        (
            FraudFlags(hold_every_order=True, hold_countries=frozenset({"US"})),
            {"total": Money(869_700, "EUR"), "shipping_country": "US", "preceding": MINUTES_AGO},
            ("amount_very_large", "velocity", "country_mismatch", "hold_every_order", "hold_countries"),
        ),
    ],
)
def test_flags_hold_orders_of_any_score(flags: FraudFlags, changes: dict[str, Any], reasons: tuple[str, ...]) -> None:
    plain, flagged = score_order(screening_input(**changes), FraudFlags()), score_order(screening_input(**changes), flags)

    assert (flagged.decision, flagged.reasons) == ("hold", reasons)
    assert flagged.score == plain.score


def test_country_outside_hold_countries_is_approved() -> None:
    assert score_order(screening_input(), FraudFlags(hold_countries=frozenset({"FR"}))).decision == "approve"


def thresholds(document: str) -> Thresholds:
    """Return the thresholds of flags whose `fraud` is this JSON document."""
    return parse_flags(f'{{"fraud": {document}}}'.encode()).fraud


def test_missing_configuration_fields_keep_their_defaults() -> None:
    configured = thresholds('{"hold_score": 20, "weights": {"velocity": 15}, "amounts": {"EUR": {"large": 5}}}')

    assert configured.weights == Weights(velocity=15)
    assert configured.amounts == {"EUR": AmountLimits(large=5)}
    assert (configured.hold_score, configured.refuse_score) == (20, DEFAULTS.refuse_score)
    assert configured.limits("EUR") == (5, 500_000)
    assert thresholds("{}") == DEFAULTS


def test_limits_of_other_currencies_are_in_us_cents() -> None:
    configured = thresholds('{"other_amounts": {"large": 50000}, "amounts": {"JPY": {"very_large": 1000000}}}')

    assert configured.limits("EUR") == (50_000, 500_000)
    assert configured.limits("VND") == (12_500_000, 125_000_000)
    assert configured.limits("JPY") == (75_000, 1_000_000)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ("", "JSON is malformed"),
        ("[]", "Expected `object`"),
        ('{"hold": 20}', "unknown field `hold`"),
        ('{"hold_score": "20"}', "$.fraud.hold_score"),
        ('{"hold_score": 200}', "`hold_score` (200) must not be above `refuse_score` (130)"),
        ('{"weights": {"velocity": -1}}', "$.fraud.weights.velocity"),
        ('{"amounts": {"euro": {}}}', "$.fraud.amounts"),
        ('{"amounts": {"EUR": {"large": 2, "very_large": 1}}}', "`large` (2) must not be above `very_large` (1)"),
        ('{"velocity": {"orders": 0}}', "$.fraud.velocity.orders"),
        # More than DynamoDB reads at once, and a time before the calendar begins.
        ('{"velocity": {"orders": 3000000000}}', "$.fraud.velocity.orders"),
        ('{"velocity": {"window_seconds": 100000000000}}', "$.fraud.velocity.window_seconds"),
        ('{"velocity": {"window_seconds": 1.5}}', "$.fraud.velocity.window_seconds"),
    ],
)
def test_invalid_configuration_error_names_the_field(document: str, named: str) -> None:
    with pytest.raises(msgspec.DecodeError) as refused:
        thresholds(document)

    assert named in str(refused.value)
