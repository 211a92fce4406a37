"""The body of `POST /orders` and the fingerprint that identifies equal requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orders import api_models
from tests.unit.orders.conftest import BODY, changed, request

# Bodies as clients of each version send them, with the fingerprint stored with their orders. Never change a row: a client that
# repeats its request after a deployment would get 422.
STORED: dict[str, tuple[Any, str]] = {
    "1.0": (BODY, "oh5a1xwN6zKf5lwkJBCM9rr14R-HtlRY"),
    "1.0, untrimmed": (
        changed(shipping_address=BODY["shipping_address"] | {"name": " Ann Lee", "city": "Leeds\u0301 "}),
        "I0e3CO9S5vSRPSgb0tOXDNerId-iRQSc",
    ),
    "1.1, without postal code": (
        changed(shipping_address={"name": "Li", "street": "1 Queen's Road", "city": "Central", "country": "HK"}),
        "0xN-w93mvZrKf8wv_LxcTUvxjNFkqoNV",
    ),
    "1.1, with a second line and a region": (
        changed(shipping_address=BODY["shipping_address"] | {"street2": "Flat 7", "region": "Yorkshire"}),
        "XCRxt21TyXi5ZPv_tGr12FMRAj_GXhFt",
    ),
}


@pytest.mark.parametrize("version", STORED)
def test_stored_fingerprints_are_stable(version: str) -> None:
    body, fingerprint = STORED[version]
    assert api_models.parse_order(request(body))[1] == fingerprint


@pytest.mark.parametrize("number", ["2.0", "2e0", "0.2E1"])
def test_whole_numbers_are_one_request_in_every_notation(number: str) -> None:
    body = json.dumps(BODY).replace('"quantity": 2', f'"quantity": {number}')
    assert api_models.parse_order(request(body)) == api_models.parse_order(request(BODY))


def test_texts_of_an_order_are_trimmed_and_composed() -> None:
    address = BODY["shipping_address"] | {"name": "  Zoe\u0301\u200b ", "street": "\t1 High St\n", "country": " GB "}
    parsed, _ = api_models.parse_order(request(changed(shipping_address=address)))
    assert (parsed.shipping_address.name, parsed.shipping_address.street, parsed.shipping_address.country) == ("Zoé", "1 High St", "GB")


def test_address_of_a_country_without_postal_codes_has_none() -> None:
    address = {"name": "Li", "street": "1 Queen's Road", "city": "Central", "country": "HK"}
    parsed, _ = api_models.parse_order(request(changed(shipping_address=address)))
    assert parsed.shipping_address.to_event_address().postal_code == ""
