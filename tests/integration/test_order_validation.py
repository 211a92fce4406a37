"""The API refuses malformed requests with a problem document and appends nothing to the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from devtools.local import issuer
from devtools.local.api_client import order_body
from devtools.web import Answer
from tests.integration.deployed_stack import DeployedStack

VALID = order_body(("MUG-BLUE", 1))
LIMIT = 64 * 1024


def _with(**changed: Any) -> dict[str, Any]:
    return VALID | changed


def _quantity(quantity: object) -> dict[str, Any]:
    return _with(lines=[{"sku": "MUG-BLUE", "quantity": quantity}])


def _address(**changed: str) -> dict[str, Any]:
    return _with(shipping_address=VALID["shipping_address"] | changed)


class Case(NamedTuple):
    """A request with the status and problem it must get."""

    body: dict[str, Any] | bytes
    status: int
    problem: str


CASES = {
    "nothing": Case(b"", 400, "malformed-json"),
    "no JSON": Case(b'{"lines": [', 400, "malformed-json"),
    "not UTF-8": Case(
        json.dumps(_address(name="Ren\N{LATIN SMALL LETTER E WITH ACUTE}"), ensure_ascii=False).encode("latin-1"), 400, "malformed-json"
    ),
    "null": Case(b"null", 422, "invalid-request"),
    "a list": Case(b"[]", 422, "invalid-request"),
    "body over 64 KB": Case(json.dumps(VALID).encode() + b" " * LIMIT, 413, "body-too-large"),
    "no line": Case(_with(lines=[]), 422, "invalid-request"),
    "99 lines": Case(order_body(*((f"SKU-{n}", 1) for n in range(99))), 422, "invalid-request"),
    "quantity 0": Case(_quantity(0), 422, "invalid-request"),
    "quantity -1": Case(_quantity(-1), 422, "invalid-request"),
    "quantity 1000": Case(_quantity(1000), 422, "invalid-request"),
    "quantity 1.5": Case(_quantity(1.5), 422, "invalid-request"),
    "quantity as text": Case(_quantity("1"), 422, "invalid-request"),
    "quantity true": Case(_quantity(True), 422, "invalid-request"),
    "quantity null": Case(_quantity(None), 422, "invalid-request"),
    "quantity beyond 64 bits": Case(_quantity(10**30), 422, "invalid-request"),
    "lines of one sku over 100 together": Case(order_body(("MUG-BLUE", 100), ("MUG-BLUE", 1)), 422, "quantity-too-large"),
    "unknown sku": Case(order_body(("NO-SUCH-THING", 1)), 422, "unknown-sku"),
    "product no longer sold": Case(order_body(("RETIRED-RADIO", 1)), 422, "unknown-sku"),
    "sku of strange characters": Case(order_body(("MUG BLUE\n", 1)), 422, "invalid-request"),
    "overlong sku": Case(order_body(("X" * 65, 1)), 422, "invalid-request"),
    "mixed currency": Case(order_body(("MUG-BLUE", 1), ("TSHIRT-USD", 1)), 422, "mixed-currencies"),
    "a price of the client's": Case(_with(lines=[{"sku": "MUG-BLUE", "quantity": 1, "unit_price": 1}]), 422, "invalid-request"),
    "unknown field": Case(_with(discount=100), 422, "invalid-request"),
    "overlong name": Case(_address(name="x" * 101), 422, "invalid-request"),
    "empty street": Case(_address(street=""), 422, "invalid-request"),
    "no such country": Case(_address(country="England"), 422, "invalid-request"),
    "no payment": Case({name: VALID[name] for name in ("lines", "shipping_address")}, 422, "invalid-request"),
    "overlong payment token": Case(order_body(("MUG-BLUE", 1), payment="t" * 256), 422, "invalid-request"),
}
KEYS = {
    "missing": ("", "idempotency-key-missing"),
    "blank": (" ", "idempotency-key-missing"),
    "of 256 characters": ("k" * 256, "idempotency-key-invalid"),
    "with a tab": ("a\tb", "idempotency-key-invalid"),
}


@pytest.fixture(scope="module")
def refused_customer(stack: DeployedStack) -> Iterator[str]:
    """A customer whose requests are all refused; the log must hold none of them afterwards."""
    customer = stack.customer("refused_customer")
    yield customer
    found = stack.scan(
        "OrderLog",
        FilterExpression="contains(#event, :customer)",
        ExpressionAttributeNames={"#event": "event"},
        ExpressionAttributeValues={":customer": {"S": customer}},
    )
    assert [item["order_id"]["S"] for item in found] == []


def _is_problem(answer: Answer, status: int, problem: str) -> None:
    document = answer.json()
    assert (answer.status, document.get("type")) == (status, f"urn:order-pipeline:problem:{problem}"), answer
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]


@pytest.mark.parametrize("name", CASES)
def test_malformed_order_is_refused(stack: DeployedStack, refused_customer: str, name: str):
    case = CASES[name]

    _is_problem(stack.shop.place(refused_customer, case.body), case.status, case.problem)


@pytest.mark.parametrize("name", KEYS)
def test_invalid_idempotency_key_is_refused(stack: DeployedStack, refused_customer: str, name: str):
    key, problem = KEYS[name]

    _is_problem(stack.shop.place(refused_customer, VALID, key), 400, problem)


def _signed(stack: DeployedStack, customer: str, **changed: Any) -> str:
    return issuer.sign(issuer.signing_key(), issuer.issuer(stack.target), customer, **changed)


def _forged(stack: DeployedStack, customer: str) -> str:
    """A token signed with another key under our key id."""
    claims = jwt.decode(_signed(stack, customer), options={"verify_signature": False})
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": issuer.key_id(issuer.signing_key())})


TOKENS = {
    "none": lambda stack, customer: None,
    "expired": lambda stack, customer: _signed(stack, customer, expires_in=-60),
    "of another issuer": lambda stack, customer: _signed(stack, customer, iss="https://issuer.example"),
    "for another audience": lambda stack, customer: _signed(stack, customer, aud="another-api"),
    "forged": _forged,
    "unsigned": lambda stack, customer: jwt.encode({"sub": customer}, "", algorithm="none"),
    "not a token": lambda stack, customer: "x",
}


SIGNED = {"expired", "of another issuer", "for another audience", "forged"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.needs("local issuer")] if name in SIGNED else ()) for name in TOKENS]
)
def test_request_without_valid_token_is_unauthorized(stack: DeployedStack, refused_customer: str, name: str):
    token = TOKENS[name](stack, refused_customer)
    headers = {"Idempotency_Key": str(uuid4())} | ({"Authorization": f"Bearer {token}"} if token else {})

    answer = stack.shop.call("POST", "/orders", None, body=json.dumps(VALID).encode(), **headers)

    assert answer.status == 401


@pytest.mark.parametrize("path", ["/orders/{}", "/orders/{}/events"])
def test_order_of_another_customer_answers_like_an_unknown_one(stack: DeployedStack, path: str):
    owner, stranger = stack.customer("owner"), stack.customer("stranger")
    order_id = stack.buy(owner, stack.product())

    foreign = stack.shop.call("GET", path.format(order_id), stranger)
    unknown = stack.shop.call("GET", path.format("ord_" + "a" * 26), stranger)

    _is_problem(foreign, 404, "order-not-found")
    assert foreign.body == unknown.body
    assert stack.shop.call("GET", path.format(order_id), owner).status == 200


def test_lines_of_one_sku_are_merged(stack: DeployedStack):
    customer, sku, other = stack.customer(), *stack.products(2)

    answer = stack.shop.place(customer, order_body((sku, 1), (other, 1), (sku, 2)))

    assert answer.status == 201
    assert [(line["sku"], line["quantity"]) for line in answer.json()["lines"]] == [(sku, 3), (other, 1)]
    assert answer.json()["total"] == {"amount": 4 * 1250, "currency": "EUR"}
    assert stack.outcome(customer, answer.json()["order_id"]) == "confirmed"
    assert stack.stock(sku) == (97, 3)


def test_longest_idempotency_key_is_accepted(stack: DeployedStack):
    answer = stack.shop.place(stack.customer(), order_body((stack.product(), 1)), "k" * 255)

    assert answer.status == 201
    assert answer.headers["location"] == f"orders/{answer.json()['order_id']}"


def test_body_of_64_kb_is_accepted(stack: DeployedStack):
    body = json.dumps(order_body((stack.product(), 1))).encode()

    answer = stack.shop.place(stack.customer(), body + b" " * (LIMIT - len(body)))

    assert answer.status == 201


def test_openapi_document_is_public(stack: DeployedStack):
    answer = stack.shop.call("GET", "/openapi.json", None)

    assert answer.status == 200
    assert stack.shop.call("GET", "/openapi.json", None, If_None_Match=answer.headers["etag"]).status == 304
    assert set(answer.json()["paths"]) >= {"/orders", "/orders/{order_id}", "/orders/{order_id}/events"}
