"""The example shop in a browser, on a deployed stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect

from devtools import web
from devtools.local import issuer, shop
from devtools.local.carrier import Carrier
from devtools.page_server import PageServer
from devtools.products import BY_SKU
from orders.api_models import Address
from tests.integration.deployed_stack import DeployedStack, eventually
from tests.support import browser as browsers

PHONE = {"width": 390, "height": 844}
MUG, SOLD_OUT = BY_SKU["MUG-BLUE"], BY_SKU["SOLD-OUT-LAMP"]


pytestmark = pytest.mark.needs("local issuer")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of this machine."""
    yield from browsers.browser_or_skip()


@pytest.fixture(scope="module")
def server(stack: DeployedStack) -> Iterator[PageServer]:
    """The shop's server for the stack."""
    with shop.server(0, stack.target) as listener, browsers.running(listener):
        yield listener


@contextmanager
def shopping(browser: Browser, server: PageServer, **options: Any) -> Iterator[Page]:
    """Open the shop; afterwards assert that no script failed and that only the shop and the API got requests."""
    page = browser.new_page(**options)
    page.set_default_timeout(browsers.TIMEOUT_SECONDS * 1000)
    errors: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None)
    page.on("request", lambda request: asked.append(request.url))
    try:
        page.goto(server.url)
        expect(page.locator("#products li").first).to_be_visible()
        yield page
        assert errors == []
        assert [url for url in asked if not url.startswith((server.url, server.api, "data:", "blob:"))] == []
    finally:
        page.close()


def sign_in(page: Page, customer: str) -> None:
    page.select_option("#customer", customer)
    page.click("#sign-in-form button")
    expect(page.locator("#account")).to_contain_text(customer)


def add(page: Page, name: str = MUG.name) -> None:
    page.get_by_role("button", name=f"Add {name} to the basket").click()


def confirmed_order(page: Page, customer: str) -> None:
    """Sign in, place an order, and wait until it is confirmed."""
    sign_in(page, customer)
    add(page)
    page.click("#place")
    expect(page.locator("#order-state")).to_contain_text("confirmed")


def test_order_is_placed_followed_and_cancelled(browser: Browser, server: PageServer):
    with shopping(browser, server) as page:
        sign_in(page, "bob")
        add(page)
        add(page)
        expect(page.locator("#total")).to_have_text("€25.00")
        page.click("#place")

        expect(page.locator("#message")).to_have_text("Thank you: your order is placed.")
        expect(page.locator("#order-state")).to_contain_text("confirmed")
        expect(page.locator("#timeline")).to_contain_text("payment authorized")
        timeline = page.locator("#timeline li span").all_text_contents()
        assert timeline[:4] == ["order placed", "stock reserved", "order screened", "payment authorized"]
        assert page.evaluate("localStorage.length") == 1

        page.click("#cancel")
        expect(page.locator("#order-state")).to_contain_text("cancelled")


def test_delivered_order_is_returned_and_its_invoice_downloaded(browser: Browser, server: PageServer, stack: DeployedStack):
    with shopping(browser, server) as page:
        confirmed_order(page, "ann")
        expect(page.locator("#return")).to_be_disabled()
        order_id, carrier = page.locator("#order-id").inner_text(), Carrier(stack.target)
        eventually(
            lambda: {event.type for event in stack.log(order_id)},
            lambda types: types >= {"ShipmentRequested", "InvoiceIssued"},
            within=stack.patience,
            what=f"shipment and invoice of {order_id}",
        )
        carrier.deliver(order_id, carrier.dispatch(order_id))
        expect(page.locator("#order-state")).to_contain_text("delivered")
        eventually(
            lambda: [event.type for event in stack.log(order_id)],
            lambda types: "InvoiceIssued" in types,
            within=stack.patience,
            what="the invoice",
        )

        with page.expect_download() as downloading:
            page.click("#invoice")
        page.click("#return")

        expect(page.locator("#message")).to_contain_text("The return is created.")
        expect(page.locator("#return")).to_be_disabled()
        assert MUG.name in Path(downloading.value.path()).read_text("utf-8")


def test_next_order_can_be_placed_while_one_is_followed(browser: Browser, server: PageServer):
    with shopping(browser, server) as page:
        sign_in(page, "rex")
        placed = set[str]()
        for _ in range(2):
            add(page)
            page.click("#place")
            expect(page.locator("#basket-empty")).to_be_visible()
            placed.add(page.locator("#order-id").inner_text())
        assert len(placed) == 2
        expect(page.locator("#orders li").nth(1)).to_be_visible()


def test_changed_price_is_displayed_before_the_order_is_placed(browser: Browser, server: PageServer):
    with shopping(browser, server) as page:
        sign_in(page, "cat")
        add(page)
        # As if the price had changed since the page was loaded.
        page.route("**/orders", lambda route: route.continue_(post_data=_expecting(route.request.post_data_json)), times=1)
        page.click("#place")

        expect(page.locator("#message")).to_contain_text("Price changed: the order costs EUR 12.50 now")
        page.click("#place")
        expect(page.locator("#message")).to_have_text("Thank you: your order is placed.")


def _expecting(body: Any) -> str:
    return json.dumps(body | {"expected_total": {"amount": 1, "currency": "EUR"}})


def test_declined_payment_and_problems_are_explained(browser: Browser, server: PageServer):
    with shopping(browser, server) as page:
        add(page)
        page.click("#place")
        expect(page.locator("#message")).to_have_text("Not signed in: sign in, then place the order")
        sign_in(page, "eve")
        page.fill("[name=country]", "XX")
        page.click("#place")
        expect(page.locator("#message.error")).to_contain_text("Invalid request")
        page.fill("[name=country]", "GB")
        page.fill("[name=payment]", "tok_declined")
        page.click("#place")
        expect(page.locator("#order-state")).to_contain_text("rejected, payment declined")


def test_every_invalid_field_is_named_where_the_customer_looks(browser: Browser, server: PageServer):
    with shopping(browser, server, viewport=PHONE) as page:
        sign_in(page, "bob")
        add(page)
        page.fill("[name=city]", " ")
        page.fill("[name=name]", " ")
        page.click("#place")

        message = page.locator("#message.error")
        expect(message).to_contain_text("name:")
        expect(message).to_contain_text("city:")
        expect(message).not_to_contain_text("$.")
        expect(message).to_be_in_viewport()


def test_expired_token_is_explained_and_replaced_by_signing_in(browser: Browser, server: PageServer, stack: DeployedStack):
    with shopping(browser, server) as page:
        confirmed_order(page, "bob")
        page.evaluate("token => sessionStorage.setItem('token', token)", issuer.token(stack.target, "bob", expires_in=-60))

        expect(page.locator("#message")).to_have_text("Your sign-in has expired: sign in again.")
        expect(page.locator("#sign-in")).to_be_visible()
        sign_in(page, "bob")
        expect(page.locator("#orders li").first).to_be_visible()


def test_page_that_was_open_for_long_signs_in_with_a_fresh_token(browser: Browser, server: PageServer, stack: DeployedStack):
    with shopping(browser, server) as page:
        expired = {"api": server.api, "tokens": {"bob": issuer.token(stack.target, "bob", expires_in=-60)}}
        page.route("**/config.json", lambda route: route.fulfill(json=expired), times=1)
        page.reload()
        expect(page.locator("#customer option")).to_have_text(["bob"])

        sign_in(page, "bob")
        expect(page.locator("#message")).to_have_text("Signed in as bob.")


def test_order_is_followed_further_after_an_outage(browser: Browser, server: PageServer):
    with shopping(browser, server) as page:
        sign_in(page, "bob")
        add(page)
        page.route("**/orders/*/events", lambda route: route.abort())
        page.click("#place")
        expect(page.locator("#message.error")).to_have_text("No connection: the shop does not answer. It is asked again in a moment.")

        page.unroute("**/orders/*/events")
        expect(page.locator("#timeline")).to_contain_text("order confirmed")
        expect(page.locator("#message")).to_have_text("")


def test_url_of_the_api_is_read_again_after_an_outage(browser: Browser, server: PageServer):
    with shopping(browser, server) as page:
        sign_in(page, "bob")
        add(page)
        page.route("**/orders", lambda route: route.abort())
        with page.expect_request("**/config.json"):
            page.click("#place")
        expect(page.locator("#message.error")).to_have_text("No connection: the shop does not answer")


def test_title_of_a_problem_is_displayed_once(browser: Browser, server: PageServer):
    with shopping(browser, server) as page:
        confirmed_order(page, "bob")
        problem = {"title": "Order not found", "detail": "order not found: check the id", "status": 404}
        page.route("**/cancellation", lambda route: route.fulfill(status=404, json=problem, headers={"Access-Control-Allow-Origin": "*"}))
        page.click("#cancel")
        expect(page.locator("#message.error")).to_have_text("Order not found: check the id")


def test_product_sold_out_meanwhile_is_explained(browser: Browser, server: PageServer):
    with shopping(browser, server) as page:
        sign_in(page, "bob")
        expect(page.get_by_role("button", name=f"Add {SOLD_OUT.name} to the basket")).to_be_disabled()
        # A basket of an earlier visit.
        page.evaluate("sku => localStorage.setItem('basket', JSON.stringify([[sku, 1]]))", SOLD_OUT.sku)
        page.reload()
        page.click("#place")
        expect(page.locator("#order-state")).to_contain_text("rejected, out of stock")


def test_shop_works_with_the_keyboard_alone(browser: Browser, server: PageServer):
    with shopping(browser, server) as page:
        button = page.get_by_role("button", name=f"Add {MUG.name} to the basket")
        button.focus()
        page.keyboard.press("Enter")
        expect(page.locator("#basket li")).to_have_count(1)
        page.locator("#customer").focus()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Sign in"
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        page.keyboard.press("Enter")
        expect(page.locator("#account")).to_contain_text("ann")
        page.locator("#place").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#message")).to_have_text("Thank you: your order is placed.")
        assert page.evaluate("document.activeElement.id") == "order-title"
        assert outline == "solid"


def focused(page: Page) -> str:
    """Return the label, id or tag of the element that has the focus."""
    return page.evaluate("(({ariaLabel, id, tagName}) => ariaLabel || id || tagName)(document.activeElement)")


def test_focus_stays_where_the_customer_acts(browser: Browser, server: PageServer):
    with shopping(browser, server) as page:
        add(page)
        for label in (f"One {MUG.name} more", f"One {MUG.name} less"):
            page.get_by_role("button", name=label).focus()
            page.keyboard.press("Enter")
            assert focused(page) == label
        page.locator("#customer").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#message")).to_have_text("Signed in as ann.")
        assert focused(page) == "basket-title"

        page.locator("#place").press("Enter")
        expect(page.locator("#order-state")).to_contain_text("confirmed")
        expect(page.locator("#invoice")).to_be_enabled()
        with page.expect_download():
            page.locator("#invoice").press("Enter")
        assert focused(page) == "invoice"
        page.locator("#cancel").press("Enter")
        expect(page.locator("#order-state")).to_contain_text("cancelled")
        assert focused(page) == "order-title"
        page.get_by_role("button", name="Sign out").press("Enter")
        assert focused(page) == "sign-in-title"


def test_last_unit_of_the_basket_moves_the_focus_to_its_heading(browser: Browser, server: PageServer):
    with shopping(browser, server) as page:
        add(page)
        page.get_by_role("button", name=f"One {MUG.name} less").press("Enter")
        assert focused(page) == "basket-title"


def test_placed_order_is_in_view_on_a_phone(browser: Browser, server: PageServer):
    with shopping(browser, server, viewport=PHONE) as page:
        confirmed_order(page, "bob")
        expect(page.locator("#cancel")).to_be_in_viewport()
        expect(page.locator("#timeline li").nth(2)).to_be_in_viewport()


@pytest.mark.parametrize("saved", ["garbage", "{}", "[1]", '[["MUG-BLUE"]]', '[["MUG-BLUE",-1]]', "null"])
def test_unreadable_basket_of_an_earlier_visit_is_empty(browser: Browser, server: PageServer, saved: str):
    with shopping(browser, server) as page:
        page.evaluate("saved => localStorage.setItem('basket', saved)", saved)
        page.reload()
        expect(page.locator("#products li").first).to_be_visible()
        expect(page.locator("#to-basket")).to_have_text("Basket: 0")


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (502, "", "Error 502: try again later"),
        (503, "<html>", "Error 503: try again later"),
        (201, '{"order_id": ', "Unreadable answer: try again"),
        (429, '{"title": "Too many requests", "status": 429}', "Too many requests: try again later"),
    ],
)
def test_answer_of_a_failing_network_is_explained(browser: Browser, server: PageServer, status: int, body: str, message: str):
    with shopping(browser, server) as page:
        sign_in(page, "cat")
        add(page)
        headers = {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"}
        page.route("**/orders", lambda route: route.fulfill(status=status, body=body, headers=headers), times=1)
        page.click("#place")
        expect(page.locator("#message.error")).to_have_text(message)


def test_address_has_the_limits_of_the_api(browser: Browser, server: PageServer):
    limits = {field.encode_name: field.type for field in msgspec.inspect.type_info(Address).fields}  # pyright: ignore[reportAttributeAccessIssue]
    with shopping(browser, server) as page:
        for name in ("name", "street", "city", "postal_code"):
            assert page.get_attribute(f"[name={name}]", "maxlength") == str(limits[name].max_length)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_shop_fits_a_phone(browser: Browser, server: PageServer, scheme: str):
    with shopping(browser, server, viewport=PHONE, color_scheme=scheme) as page:
        add(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        expect(page.locator("#to-basket")).to_have_text("Basket: 1")
        page.click("#to-basket")
        expect(page.locator("#place")).to_be_in_viewport()
        small = [
            button.inner_text() for button in page.get_by_role("button").all() if (box := button.bounding_box()) and box["height"] < 44
        ]
        assert small == []


def test_shop_answers_this_machine_only(server: PageServer):
    assert web.call("GET", f"{server.url}config.json", headers={"Host": "evil.example.com"}).status == 403
    policy = web.call("GET", server.url).headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
