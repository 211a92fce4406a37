"""`POST /orders`: one order per idempotency key, in one transaction, also for repeated requests."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urljoin

import pytest

from devtools.billing.units import KB, size_of
from orderflow.aws.http import MAX_BODY_BYTES
from orderflow.domain.events import OrderPlaced
from orderflow.domain.money import Money
from orders.catalogue import Catalogue
from orders.handlers import place_order
from tests.fakes.aws.dynamodb import Crash, answer_lost, crash_at
from tests.support import orders, samples
from tests.unit.orders.conftest import BODY, Lines, Post, appended, changed, order_id, product, request

if TYPE_CHECKING:
    from tests.fakes.aws.environment import Aws


class TestAccepted:
    def test_answer_is_the_order_with_prices_from_the_catalogue(self, post: Post) -> None:
        answer = post()
        assert answer["statusCode"] == 201
        assert answer["headers"]["location"] == f"orders/{order_id()}"
        body = answer["body"]
        assert body.pop("placed_at").endswith("Z")
        assert body == {
            "order_id": order_id(),
            "state": "placed",
            "lines": [
                {"sku": "MUG-BLUE", "name": "Blue mug", "quantity": 2, "unit_price": {"amount": 1250, "currency": "EUR"}},
                {"sku": "FILTER-100", "name": "Paper filters, 100", "quantity": 1, "unit_price": {"amount": 490, "currency": "EUR"}},
            ],
            "total": {"amount": 2990, "currency": "EUR"},
        }

    @pytest.mark.parametrize(
        "api",
        [
            "https://abc123.execute-api.eu-west-1.amazonaws.com/prod",
            "https://shop.example.com",
            "https://shop.example.com/api/v1",
            "http://127.0.0.1:4566/_aws/execute-api/abc123/local",
        ],
    )
    def test_location_resolves_wherever_the_api_is_served(self, post: Post, api: str) -> None:
        assert urljoin(f"{api}/orders", post()["headers"]["location"]) == f"{api}/orders/{order_id()}"

    def test_location_resolves_where_the_path_ends_with_a_slash(self, shop: Aws, context: Any) -> None:
        # API Gateway takes `/orders/` for `/orders`.
        answer: Any = place_order.handler(request() | {"path": "/orders/"}, context)
        assert urljoin("https://shop.example.com/orders/", answer["headers"]["location"]) == f"https://shop.example.com/orders/{order_id()}"

    def test_event_has_the_owner_and_no_secret(self, post: Post, shop: Aws) -> None:
        post()
        (item,) = appended(shop)
        event = json.loads(item["event"]["S"])
        assert event["data"]["customer"] == {"id": "ann", "email": "ann@example.com"}
        assert event["data"]["payment_country"] == "GB"
        assert event["correlation_id"] == request()["headers"]["X-Correlation-Id"]
        assert "tok_" not in item["event"]["S"]

    def test_when_warm_an_order_makes_one_call_to_aws(self, post: Post, shop: Aws) -> None:
        post(key="warms-up")
        shop.dynamodb.calls.clear()
        assert post(key="warm")["statusCode"] == 201
        assert dict(shop.dynamodb.calls) == {"TransactWriteItems": 1}
        assert not shop.events.calls + shop.sqs.calls + shop.stepfunctions.calls

    def test_usual_order_is_billed_as_one_kilobyte(self, post: Post, shop: Aws) -> None:
        kinds = [{**product(sku), "category": {"S": "coffee-and-tableware"}} for sku in ("MUG-BLUE", "FILTER-100")]
        shop.dynamodb.seed("Catalogue", *kinds)
        post()
        (item,) = appended(shop)
        assert "coffee-and-tableware" in item["event"]["S"]
        assert size_of(item) <= KB

    def test_log_lines_hold_no_personal_or_payment_data(self, post: Post, logged: Lines) -> None:
        post()
        post(changed(payment={"token": "tok_declined", "country": "GB"}))
        text = json.dumps(logged())
        assert not any(secret in text for secret in ("tok_", "High St", "ann@example.com", "Ann Lee"))

    def test_every_line_names_the_order_and_the_request(self, post: Post, logged: Lines) -> None:
        post()
        done = logged()[-1]
        assert (done["order_id"], done["outcome"]) == (order_id(), 201)
        assert all(line["correlation_id"] == request()["headers"]["X-Correlation-Id"] for line in logged())

    def test_duplicate_lines_are_merged(self, post: Post) -> None:
        twice = [{"sku": "MUG-BLUE", "quantity": 40}, {"sku": "FILTER-100", "quantity": 1}, {"sku": "MUG-BLUE", "quantity": 60}]
        lines = post(changed(lines=twice))["body"]["lines"]
        assert [(line["sku"], line["quantity"]) for line in lines] == [("MUG-BLUE", 100), ("FILTER-100", 1)]

    def test_order_at_the_expected_total_is_accepted(self, post: Post) -> None:
        answer = post(changed(expected_total={"amount": 2990, "currency": "EUR"}))
        assert (answer["statusCode"], answer["body"]["total"]["amount"]) == (201, 2990)

    def test_changed_price_is_a_409_with_the_new_one_and_no_order(self, post: Post, shop: Aws) -> None:
        answer = post(changed(expected_total={"amount": 2790, "currency": "EUR"}))
        assert (answer["statusCode"], answer["body"]["type"]) == (409, "urn:order-pipeline:problem:price-changed")
        assert answer["body"]["total"] == {"amount": 2990, "currency": "EUR"}
        assert [line["unit_price"]["amount"] for line in answer["body"]["lines"]] == [1250, 490]
        assert appended(shop) == []

    def test_new_price_can_be_confirmed_with_the_same_key(self, post: Post) -> None:
        post(changed(expected_total={"amount": 2790, "currency": "EUR"}))
        assert post(changed(expected_total={"amount": 2990, "currency": "EUR"}))["statusCode"] == 201

    def test_repeated_order_is_answered_after_its_price_changed(self, post: Post, shop: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = changed(expected_total={"amount": 2990, "currency": "EUR"})
        first = post(expected)
        shop.dynamodb.seed("Catalogue", {**product("MUG-BLUE"), "unit_price": {"N": "1300"}})
        monkeypatch.setattr(place_order.PLACEMENT, "catalogue", Catalogue("Catalogue", shop.dynamodb.client, 60))
        again = post(expected)
        assert (again["statusCode"], again["body"]) == (201, first["body"])

    @pytest.mark.parametrize("lines", [1, 50])
    def test_largest_number_of_lines_is_accepted(self, post: Post, lines: int) -> None:
        requested = [{"sku": f"SKU-{number:03}", "quantity": 100} for number in range(lines)]
        assert len(post(changed(lines=requested))["body"]["lines"]) == lines

    def test_base64_body_is_accepted(self, shop: Aws, context: Any) -> None:
        event = request()
        event |= {"body": base64.b64encode(event["body"].encode()).decode(), "isBase64Encoded": True}
        assert place_order.handler(event, context)["statusCode"] == 201

    def test_body_of_64_kilobytes_is_accepted(self, post: Post) -> None:
        body = json.dumps(BODY)
        assert post(body + " " * (MAX_BODY_BYTES - len(body)))["statusCode"] == 201

    def test_names_in_any_script_are_accepted(self, post: Post, shop: Aws) -> None:
        address = {"name": "Åse Øst 吉田 👋", "street": "Ω-Straße 1", "city": "Łódź", "postal_code": "00-001", "country": "PL"}
        assert post(changed(shipping_address=address))["statusCode"] == 201
        assert json.loads(appended(shop)[0]["event"]["S"])["data"]["shipping_address"] == address

    @pytest.mark.parametrize("key", ["k", "k" * 255, "a b~!#", "019a-7f"])
    def test_every_allowed_key_is_accepted(self, post: Post, key: str) -> None:
        assert post(key=key)["statusCode"] == 201


class TestRepeated:
    def test_same_request_has_the_same_answer_and_one_order(self, post: Post, shop: Aws) -> None:
        first = post()
        assert [post() for _ in range(3)] == [first] * 3
        assert len(appended(shop)) == 1

    def test_whitespace_and_member_order_do_not_matter(self, post: Post) -> None:
        first = post()
        assert post(json.dumps(dict(reversed(BODY.items())), indent=3)) == first

    def test_other_contents_under_the_same_key_are_refused(self, post: Post, shop: Aws) -> None:
        post()
        before = appended(shop)
        for other in (
            changed(lines=BODY["lines"][:1]),
            changed(payment={"token": "tok_declined", "country": "GB"}),
            changed(shipping_address=BODY["shipping_address"] | {"city": "York"}),
        ):
            answer = post(other)
            assert (answer["statusCode"], answer["body"]["type"]) == (422, "urn:order-pipeline:problem:idempotency-key-reused")
        assert appended(shop) == before

    def test_repeated_request_keeps_its_price_after_a_price_change(self, post: Post, shop: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        first = post()
        shop.dynamodb.seed("Catalogue", product("MUG-BLUE") | {"unit_price": {"N": "9999"}})
        place_order.PLACEMENT.catalogue._known.clear()
        assert post() == first

    @pytest.mark.parametrize("change", [{"active": {"BOOL": False}}, {"currency": {"S": "USD"}}])
    def test_repeated_request_is_answered_after_a_product_is_retired(self, post: Post, shop: Aws, change: dict[str, Any]) -> None:
        first = post()
        shop.dynamodb.seed("Catalogue", product("MUG-BLUE") | change)
        place_order.PLACEMENT.catalogue._known.clear()
        assert post() == first
        assert post(changed(lines=[*BODY["lines"][:1], {"sku": "SKU-001", "quantity": 1}]))["statusCode"] == 422

    def test_two_customers_may_use_the_same_key(self, post: Post, shop: Aws) -> None:
        assert post()["body"]["order_id"] != post(customer="bob")["body"]["order_id"]
        assert len(appended(shop)) == 2

    def test_repeated_request_after_a_crash_gets_its_order(self, post: Post, shop: Aws) -> None:
        shop.dynamodb.after = crash_at("TransactWriteItems")
        with pytest.raises(Crash):
            post()

        def lost(name: str, _: Any) -> None:
            if name == "TransactWriteItems":
                raise answer_lost()

        shop.dynamodb.after = lost
        assert post(key="key-2")["statusCode"] == 503
        shop.dynamodb.after = None
        assert [post()["statusCode"], post(key="key-2")["statusCode"]] == [201, 201]
        assert len(appended(shop)) == 2


class TestCatalogue:
    """Other systems write the catalogue, so an invalid row counts as unsold instead of making an unreadable event."""

    UNUSABLE: ClassVar[dict[str, dict[str, Any]]] = {
        "a price in fractions of a cent": {"unit_price": {"N": "12.5"}},
        "a price as text": {"unit_price": {"S": "1250"}},
        "a negative price": {"unit_price": {"N": "-1250"}},
        "a price of 30 digits": {"unit_price": {"N": "9" * 30}},
        "no price": {"unit_price": {"NULL": True}},
        "a lowercase currency": {"currency": {"S": "eur"}},
        "a currency in words": {"currency": {"S": "euro"}},
        "a category in words": {"category": {"S": "Kitchen ware"}},
        "a boolean as text": {"active": {"S": "true"}},
        "an empty range of temperatures": {"temperature_range": {"M": {"lowest": {"N": "80"}, "highest": {"N": "20"}}}},
        "half a range of temperatures": {"temperature_range": {"M": {"lowest": {"N": "80"}}}},
        "a blank name": {"name": {"S": " \u200b"}},
    }

    def test_line_has_the_temperatures_that_its_product_endures(self, post: Post, shop: Aws) -> None:
        endures = {"temperature_range": {"M": {"lowest": {"N": "20"}, "highest": {"N": "80"}}}}
        shop.dynamodb.seed("Catalogue", product("MUG-BLUE") | endures)
        mugs, filters = post()["body"]["lines"]
        assert mugs["temperature_range"] == {"lowest": 20, "highest": 80}
        assert "temperature_range" not in filters

    @pytest.mark.parametrize("case", UNUSABLE)
    def test_invalid_catalogue_row_is_logged_and_not_sold(self, post: Post, shop: Aws, logged: Lines, case: str) -> None:
        shop.dynamodb.seed("Catalogue", product("MUG-BLUE") | self.UNUSABLE[case])
        answer = post()
        assert (answer["statusCode"], answer["body"]["type"]) == (422, "urn:order-pipeline:problem:unknown-sku")
        assert answer["body"]["skus"] == ["MUG-BLUE"]
        [line] = [line for line in logged() if line["message"] == "catalogue_row_unusable"]
        assert (line["level"], line["sku"]) == ("ERROR", "MUG-BLUE")

    def test_row_without_an_attribute_is_not_sold(self, post: Post, shop: Aws) -> None:
        for name in ("name", "unit_price", "currency", "active"):
            shop.dynamodb.seed("Catalogue", {key: value for key, value in product("MUG-BLUE").items() if key != name})
            place_order.PLACEMENT.catalogue._known.clear()
            assert post()["statusCode"] == 422

    def test_product_name_is_cleaned_for_every_consumer(self, post: Post, shop: Aws) -> None:
        shop.dynamodb.seed("Catalogue", product("MUG-BLUE") | {"name": {"S": " Blue\x00 mu\uffffg \u202eX\n"}})
        post()
        (item,) = appended(shop)
        assert json.loads(item["event"]["S"])["data"]["lines"][0]["name"] == "Blue\ufffd mu\ufffdg \ufffdX"


class TestRepeatedAfterADeployment:
    """A repeated request that an earlier version accepted is answered as before, even if it would be refused today."""

    FORMERLY_ACCEPTED: ClassVar[dict[str, Any]] = {
        "a country that does not exist": {"country": "UK"},
        "a blank name": {"name": "  "},
        "a noncharacter": {"city": "Leeds\uffff"},
        "a blank postal code": {"postal_code": " "},
    }

    @staticmethod
    def placed_by_version_1(shop: Aws, body: Any) -> None:
        """Append an order with the fingerprint of version 1.0, made of the fields as sent, in the model's order."""
        document = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        fingerprint = base64.urlsafe_b64encode(hashlib.sha256(document).digest()[:24]).decode()
        data = OrderPlaced(orders.ANN, (orders.MUGS,), Money(2500, "EUR"), orders.ADDRESS, "GB")
        place_order.LOG.place(order_id(), data, correlation_id="c", fingerprint=fingerprint)

    @pytest.mark.parametrize("case", FORMERLY_ACCEPTED)
    def test_request_refused_today_gets_its_former_answer(self, post: Post, shop: Aws, case: str) -> None:
        body = changed(shipping_address=BODY["shipping_address"] | self.FORMERLY_ACCEPTED[case])
        assert post(body)["statusCode"] == 422
        self.placed_by_version_1(shop, body)
        assert (post(body)["statusCode"], post(body)["body"]["order_id"]) == (201, order_id())
        assert post(changed(shipping_address=body["shipping_address"] | {"city": "York"}))["statusCode"] == 422

    @pytest.mark.parametrize("email", ["", "ann@localhost"])
    def test_repeated_request_with_a_now_refused_email_is_answered(self, shop: Aws, context: Any, email: str) -> None:
        event = request()
        event["requestContext"]["authorizer"]["email"] = email
        assert place_order.handler(event, context)["statusCode"] == 403
        self.placed_by_version_1(shop, BODY)
        assert place_order.handler(event, context)["statusCode"] == 201


@pytest.mark.parametrize("name", samples.names("orders/place_order"))
def test_samples_have_their_answers(name: str, shop: Aws, context: Any) -> None:
    first = place_order.handler(samples.sample("orders/place_order/accepted"), context)
    assert first["statusCode"] == 201
    assert samples.agrees(place_order.handler(samples.sample(name), context), samples.expected(name))
    assert len(appended(shop)) == 1
