"""`POST /orders`: invalid requests get their problem document and append nothing."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from orderflow.aws.http import MAX_BODY_BYTES
from orders.handlers import place_order
from tests.fakes.aws.dynamodb import answer_lost
from tests.unit.orders.conftest import BODY, Lines, Post, address, appended, changed, decoded, line, request

if TYPE_CHECKING:
    from tests.fakes.aws.environment import Aws

DEEP = "[" * 30_000
# The body sent, the status of the answer, and the type of its problem document.
REFUSED: dict[str, tuple[Any, int, str]] = {
    "no lines": (changed(lines=[]), 422, "invalid-request"),
    "99 lines": (changed(lines=[{"sku": f"SKU-{number:03}", "quantity": 1} for number in range(99)]), 422, "invalid-request"),
    "99 lines of one product": (changed(lines=[{"sku": "MUG-BLUE", "quantity": 1}] * 99), 422, "invalid-request"),
    "zero": (line(quantity=0), 422, "invalid-request"),
    "negative": (line(quantity=-1), 422, "invalid-request"),
    "1000": (line(quantity=1000), 422, "invalid-request"),
    "101": (line(quantity=101), 422, "quantity-too-large"),
    "101 in two lines": (changed(lines=[{"sku": "MUG-BLUE", "quantity": quantity} for quantity in (51, 50)]), 422, "quantity-too-large"),
    "a fraction": (line(quantity=1.5), 422, "invalid-request"),
    "a number in a string": (line(quantity="1"), 422, "invalid-request"),
    "a boolean": (line(quantity=True), 422, "invalid-request"),
    "null as quantity": (line(quantity=None), 422, "invalid-request"),
    "an enormous number": (line(quantity=10**40), 422, "invalid-request"),
    "not a number": ('{"lines": [{"sku": "MUG-BLUE", "quantity": NaN}]}', 400, "malformed-json"),
    "a number out of range": (json.dumps(line()).replace('"quantity": 1', '"quantity": 1e999'), 400, "malformed-json"),
    "a number out of range in an unknown field": (json.dumps(BODY)[:-1] + ', "x": -1e999}', 400, "malformed-json"),
    "nested arrays": ('{"lines": ' + "[" * 2_000 + "]" * 2_000 + "}", 400, "malformed-json"),
    "a price": (line(unit_price={"amount": 1, "currency": "EUR"}), 422, "invalid-request"),
    "an unknown sku": (line(sku="NOPE"), 422, "unknown-sku"),
    "a product that is not sold any more": (line(sku="RETIRED-RADIO"), 422, "unknown-sku"),
    "an empty sku": (line(sku=""), 422, "invalid-request"),
    "an overlong sku": (line(sku="S" * 65), 422, "invalid-request"),
    "a sku with a space": (line(sku="MUG BLUE\n"), 422, "invalid-request"),
    "a sku of two lines": (line(sku="MUG\nBLUE"), 422, "invalid-request"),
    "a sku that is a number": (line(sku=1), 422, "invalid-request"),
    "two currencies": (changed(lines=[{"sku": sku, "quantity": 1} for sku in ("MUG-BLUE", "TSHIRT-USD")]), 422, "mixed-currencies"),
    "a total of zero": (line(sku="SAMPLE"), 422, "nothing-to-pay"),
    "a price that cannot be charged": (line(sku="VASE-MGA"), 422, "price-not-chargeable"),
    "a name of 101 characters": (address(name="n" * 101), 422, "invalid-request"),
    "an empty name": (address(name=""), 422, "invalid-request"),
    "an overlong street": (address(street="s" * 201), 422, "invalid-request"),
    "an overlong city": (address(city="c" * 101), 422, "invalid-request"),
    "an overlong postal code": (address(postal_code="1" * 21), 422, "invalid-request"),
    "a country by name": (address(country="England"), 422, "invalid-request"),
    "a lowercase country": (address(country="gb"), 422, "invalid-request"),
    "a country that does not exist": (address(country="ZZ"), 422, "invalid-request"),
    "a blank name": (address(name=" \u200b\ufeff"), 422, "invalid-request"),
    "a name with a NUL": (address(name="Ann\x00"), 422, "invalid-request"),
    "a name with a noncharacter": (address(name="Ann\uffff"), 422, "invalid-request"),
    "a name that overrides the direction": (address(name="Ann \u202eeeL"), 422, "invalid-request"),
    "a key twice": (json.dumps(BODY)[:-1] + ', "lines": []}', 400, "malformed-json"),
    "an invalid number": (json.dumps(line(quantity=1)).replace('"quantity": 1', '"quantity": NaN'), 400, "malformed-json"),
    "half a piece": (line(quantity=1.5), 422, "invalid-request"),
    "no postal code where one is required": (address(postal_code=""), 422, "invalid-request"),
    "a payment from a country that does not exist": (changed(payment={"token": "tok_approved", "country": "ZZ"}), 422, "invalid-request"),
    "an unknown address field": (address(planet="Earth"), 422, "invalid-request"),
    "no address": (changed(shipping_address=None), 422, "invalid-request"),
    "an overlong token": (changed(payment={"token": "t" * 256, "country": "GB"}), 422, "invalid-request"),
    "an empty token": (changed(payment={"token": "", "country": "GB"}), 422, "invalid-request"),
    "a card number": (changed(payment={"card": "4111111111111111", "country": "GB"}), 422, "invalid-request"),
    "no payment": ({name: value for name, value in BODY.items() if name != "payment"}, 422, "invalid-request"),
    "order of another customer": (changed(customer_id="eve"), 422, "invalid-request"),
    "a list": ([], 422, "invalid-request"),
    "a string": ('"order"', 422, "invalid-request"),
    "null": ("null", 422, "invalid-request"),
    "an empty body": ("", 400, "malformed-json"),
    "half a body": ('{"lines": [', 400, "malformed-json"),
    "two bodies": (json.dumps(BODY) * 2, 400, "malformed-json"),
    "no JSON": ("lines=1", 400, "malformed-json"),
    "unclosed nested arrays": (DEEP, 400, "malformed-json"),
    "unclosed nested arrays in a field": ('{"lines": ' + DEEP, 400, "malformed-json"),
    "half a surrogate pair": (json.dumps(address()).replace("Leeds", "\\ud800"), 422, "invalid-request"),
    "a bare surrogate": (json.dumps(address()).replace("Leeds", "\ud800"), 400, "malformed-json"),
    "more than 64 KB": (json.dumps(BODY) + " " * MAX_BODY_BYTES, 413, "body-too-large"),
    "more than 64 KB in characters of three bytes": (json.dumps(BODY) + "€" * 30_000, 413, "body-too-large"),
}


class TestRefused:
    @pytest.mark.parametrize("case", REFUSED)
    def test_invalid_body_gets_its_problem_and_appends_nothing(self, post: Post, shop: Aws, logged: Lines, case: str) -> None:
        body, status, kind = REFUSED[case]
        answer = post(body)
        assert (answer["statusCode"], answer["body"]["type"]) == (status, f"urn:order-pipeline:problem:{kind}")
        assert answer["headers"]["content-type"] == "application/problem+json"
        assert len(answer["body"]["detail"]) > 10
        assert appended(shop) == []
        assert "ERROR" not in {line["level"] for line in logged()}

    def test_answer_names_the_invalid_field(self, post: Post) -> None:
        answer = post(changed(lines=[{"sku": "MUG-BLUE", "quantity": 1}, {"sku": "MUG-BLUE", "quantity": "x"}]))
        assert answer["body"]["field"] == "$.lines[1].quantity"

    def test_all_invalid_fields_are_reported_together(self, post: Post) -> None:
        answer = post(address(name=" ", country="ZZ") | {"lines": [{"sku": "", "quantity": 0}]})
        wrong = ["$.lines[0].sku", "$.lines[0].quantity", "$.shipping_address.name", "$.shipping_address.country"]
        assert [error["field"] for error in answer["body"]["errors"]] == wrong

    @pytest.mark.parametrize("email", ["ann", "ann@localhost", "änn@example.com", "ann@exa mple.com"])
    def test_email_that_could_not_be_sent_is_refused(self, shop: Aws, context: Any, email: str) -> None:
        event = request()
        event["requestContext"]["authorizer"]["email"] = email
        answer = decoded(place_order.handler(event, context))
        assert (answer["statusCode"], answer["body"]["type"]) == (403, "urn:order-pipeline:problem:email-undeliverable")
        assert appended(shop) == []

    def test_unknown_products_are_all_named(self, post: Post) -> None:
        answer = post(changed(lines=[{"sku": sku, "quantity": 1} for sku in ("NOPE", "MUG-BLUE", "RETIRED-RADIO")]))
        assert answer["body"]["skus"] == ["NOPE", "RETIRED-RADIO"]

    @pytest.mark.parametrize("raw", [b"\xff\xfe\x00", b'{"lines": "\xc3\x28"}', json.dumps(BODY).encode("utf-16")])
    def test_invalid_utf_8_is_malformed_json(self, shop: Aws, context: Any, raw: bytes) -> None:
        event = request() | {"body": base64.b64encode(raw).decode(), "isBase64Encoded": True}
        answer = decoded(place_order.handler(event, context))
        assert answer["statusCode"] in {400, 422}
        assert answer["body"]["type"] in {f"urn:order-pipeline:problem:{kind}" for kind in ("malformed-json", "invalid-request")}
        assert appended(shop) == []

    def test_invalid_utf_8_inside_a_valid_order_is_refused(self, shop: Aws, context: Any) -> None:
        raw = json.dumps(BODY).encode().replace(b"Leeds", b"Le\xffds")
        event = request() | {"body": base64.b64encode(raw).decode(), "isBase64Encoded": True}
        assert decoded(place_order.handler(event, context))["statusCode"] == 400
        assert appended(shop) == []

    @pytest.mark.parametrize("body", ["%%%", "abc", "ünïcode"])
    def test_invalid_base64_body_is_refused(self, shop: Aws, context: Any, body: str) -> None:
        event = request() | {"body": body, "isBase64Encoded": True}
        assert place_order.handler(event, context)["statusCode"] == 400

    def test_missing_body_is_refused(self, shop: Aws, context: Any) -> None:
        assert place_order.handler(request() | {"body": None}, context)["statusCode"] == 400

    @pytest.mark.parametrize(
        ("key", "kind"),
        [
            (None, "idempotency-key-missing"),
            ("", "idempotency-key-missing"),
            ("   ", "idempotency-key-missing"),
            ("k" * 256, "idempotency-key-invalid"),
            ("schlüssel", "idempotency-key-invalid"),
            ("a\tb", "idempotency-key-invalid"),
            ("a\x00b", "idempotency-key-invalid"),
        ],
    )
    def test_missing_or_invalid_key_is_refused(self, post: Post, shop: Aws, key: str | None, kind: str) -> None:
        answer = post(key=key)
        assert (answer["statusCode"], answer["body"]["type"]) == (400, f"urn:order-pipeline:problem:{kind}")
        assert appended(shop) == []

    def test_expired_token_is_refused_without_a_call(self, post: Post, shop: Aws) -> None:
        assert post(expires_in=-1)["statusCode"] == 401
        assert appended(shop) == []
        assert not shop.dynamodb.calls

    def test_unreadable_catalogue_is_a_503_and_no_order(self, post: Post, shop: Aws) -> None:
        def lost(_name: str, _given: Any) -> None:
            raise answer_lost()

        shop.dynamodb.before = lost
        assert post()["statusCode"] == 503
        assert appended(shop) == []


def test_token_without_email_cannot_place_an_order(shop: Aws, context: Any) -> None:
    event = request()
    event["requestContext"]["authorizer"]["email"] = ""
    answer = decoded(place_order.handler(event, context))
    assert (answer["statusCode"], answer["body"]["type"].rpartition(":")[2]) == (403, "email-missing")
    assert not appended(shop)
