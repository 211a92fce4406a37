"""Seed data, scenarios and sample events are consistent."""

import json
from pathlib import Path

import pytest

from devtools.cli import UserError
from devtools.local import order
from devtools.local.reviews import HELD
from devtools.local.scenarios import ORDINARY, SCENARIOS
from devtools.products import BY_SKU, PLENTY, PRODUCTS


def test_catalogue_has_twenty_products_and_the_special_cases() -> None:
    assert len(BY_SKU) == len(PRODUCTS) >= 20
    assert (BY_SKU["SOLD-OUT-LAMP"].stock, BY_SKU["LAST-ITEM-CLOCK"].stock) == (0, 1)
    assert {product.currency for product in PRODUCTS} == {"EUR", "USD"}
    assert any(not product.active for product in PRODUCTS)


def test_scenarios_order_known_products_by_own_customers() -> None:
    ordered = {line["sku"] for scenario in SCENARIOS for line in scenario.body["lines"]}
    assert ordered <= {sku for sku, product in BY_SKU.items() if product.active}
    assert len({scenario.customer for scenario in SCENARIOS}) == len(SCENARIOS)


def test_every_outcome_has_a_scenario() -> None:
    reasons = ("out_of_stock", "fraud_refused", "payment_declined", "fulfilment_failed")
    assert {scenario.expected for scenario in SCENARIOS} == {
        "confirmed",
        HELD,
        *(f"rejected: {reason}" for reason in reasons),
    }
    assert BY_SKU[ORDINARY[0][0]].stock == PLENTY


def test_sample_event_has_body_and_headers_without_token(tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    headers = {"Authorization": "Bearer x", "Idempotency-Key": "k", "Host": "api"}
    file.write_text(json.dumps({"httpMethod": "POST", "headers": headers, "body": "eyJ9", "isBase64Encoded": True}))
    assert order.request_of(file) == (b'{"}', {"Idempotency-Key": "k"})


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", '{"Records": []}', "[" * 100_000, '{"httpMethod": "POST", "body": {"lines": []}}'),
        '{"httpMethod": "POST", "body": "%", "isBase64Encoded": true}',
        '{"httpMethod": "POST", "body": "{}", "headers": ["a"]}',
        '{"httpMethod": "POST", "body": "{}", "headers": {"a": null}}',
        '{"httpMethod": "POST", "body": "{}", "headers": {"a": "line\\nbreak"}}',
        '{"httpMethod": "POST", "body": "{}", "headers": {"a b": "c"}}',
        '{"httpMethod": "POST", "body": "{}", "headers": {"a": "\\uffff"}}',
    ],
    ids=range(13),
)
def test_file_that_is_not_an_api_event_is_rejected(content: str, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text(content)
    with pytest.raises(UserError, match=r"event\.json"):
        order.request_of(file)


def test_body_of_the_file_is_sent_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text('{"httpMethod": "POST", "headers": null, "body": "\\ud800\\uffff"}')
    assert order.request_of(file) == (b"\xed\xa0\x80\xef\xbf\xbf", {})


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not found"):
        order.request_of(tmp_path / "none.json")
