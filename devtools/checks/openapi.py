"""`python -m devtools.checks.openapi [--check]`: the API's OpenAPI document, made of the models that the functions decode with.

What the models cannot say stands here: routes, headers, who may call, and every problem that an answer can be.
"""

import json
from argparse import Namespace
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from analytics.api_models import LEADERBOARD_LIMIT, LeaderboardAnswer, SalesAnswer
from analytics.api_models import STAFF_GROUP as STAFF
from analytics.domain.counting_rules import LEADERBOARD_SIZE
from devtools import cli
from devtools.target import ROOT
from loyalty.api_models import PointsAnswer
from orderflow.aws.http import MAX_BODY_BYTES, PROBLEM_BASE
from orders.api_models import (
    DEFAULT_LIMIT,
    MAX_KEY_LENGTH,
    MAX_LIMIT,
    CancelOrderRequest,
    OrderAnswer,
    OrderList,
    PlaceOrderRequest,
    ReturnAnswer,
    SendBackRequest,
    ShownState,
    Timeline,
)
from orders.domain.unpaid_limits import MAX_UNITS
from reviews.api_models import DecisionRequest, OpenReviews
from reviews.domain.decisions import REVIEWER_GROUP, Decision

DOCUMENT = ROOT / "functions" / "orders" / "openapi.json"

ORDER_ID = "ord_ibazlc3eqvbfdeoiwt32n4tofu"
REQUEST = {
    "lines": [{"sku": "MUG-BLUE", "quantity": 2}],
    "shipping_address": {"name": "Ann Lee", "street": "1 High St", "city": "Leeds", "postal_code": "LS1 1AA", "country": "GB"},
    "payment": {"token": "tok_approved", "country": "GB"},
}
LINE = {"sku": "MUG-BLUE", "name": "Blue mug", "quantity": 2, "unit_price": {"amount": 1250, "currency": "EUR"}}
ORDER = {
    "order_id": ORDER_ID,
    "state": "placed",
    "lines": [LINE],
    "total": {"amount": 2500, "currency": "EUR"},
    "placed_at": "2026-01-15T10:30:00.123456Z",
}
MUG = {"sku": "MUG-BLUE", "quantity": 1}
RETURN = {
    "return_id": "ret_2xq6wn4jv7hcd5t3yb2zkoemru",
    "state": "requested",
    "lines": [MUG],
    "requested_at": "2026-01-20T09:00:00.123456Z",
    "reason": "too small",
}
DELIVERED = ORDER | {
    "state": "delivered",
    "parcels": [
        {"parcel_id": "parcel_1", "lines": [MUG | {"quantity": 2}], "state": "delivered", "delivered_at": "2026-01-17T12:00:00.123456Z"}
    ],
    "returns": [RETURN],
    "captured": {"amount": 2500, "currency": "EUR"},
}
LIST = {
    "orders": [
        {
            "order_id": ORDER_ID,
            "state": "confirmed",
            "total": {"amount": 2500, "currency": "EUR"},
            "items": 2,
            "placed_at": "2026-01-15T10:30:00.123456Z",
            "updated_at": "2026-01-15T10:30:01.234567Z",
        }
    ],
    "next": "mVtK8v0H3mKQm7n2MjAyNi0wMS0xNVQxMDozMDowMC4xMjM0NTZaI29yZF9pYmF6bGMz",
}
REJECTED = ORDER | {"state": "rejected", "reason": "out_of_stock", "details": ["MUG-BLUE"]}
TIMELINE = {
    "order_id": ORDER_ID,
    "events": [
        {
            "version": 2,
            "type": "StockReserved",
            "occurred_at": "2026-01-15T10:30:00.456789Z",
            "source": "inventory",
            "event_id": f"{ORDER_ID}:2",
            "causation_id": f"{ORDER_ID}:1",
            "data": {"lines": [{"sku": "MUG-BLUE", "quantity": 2}]},
        }
    ],
}


@dataclass(frozen=True)
class Problem:
    """A kind of problem: the last part of its type, its HTTP status and title, and an example of what it says."""

    code: str
    status: int
    title: str
    detail: str
    members: tuple[tuple[str, Any], ...] = ()

    def document(self) -> dict[str, Any]:
        """Return an example of it."""
        kind = {"type": PROBLEM_BASE + self.code, "title": self.title, "status": self.status, "detail": self.detail}
        return kind | dict(self.members)


GENERAL = (
    Problem("unauthorized", 401, "Unauthorized", "send a valid, unexpired bearer token"),
    Problem("forbidden", 403, "Forbidden", "the token does not allow this"),
    Problem("too-many-requests", 429, "Too many requests", "wait a moment, then repeat the request with the same Idempotency-Key"),
    Problem("internal", 500, "Internal error", "something failed here; quote 3f1c0c1e-2f7a-4f0e-9b6e-0d6f3f0b7c11 when asking"),
)
KEYED = (
    Problem(
        "idempotency-key-missing",
        400,
        "Idempotency-Key missing",
        "send an Idempotency-Key header, the same one whenever you repeat this request",
    ),
    Problem(
        "idempotency-key-invalid",
        400,
        "Idempotency-Key invalid",
        f"an Idempotency-Key has 1 to {MAX_KEY_LENGTH} printable ASCII characters",
    ),
)
SENDING = (
    Problem("malformed-body", 400, "Malformed body", "the body is not base64: Incorrect padding"),
    Problem("malformed-json", 400, "Malformed JSON", "the body must be JSON in UTF-8: JSON is malformed: invalid character (byte 1)"),
    Problem("body-too-large", 413, "Body too large", f"a body may have {MAX_BODY_BYTES} bytes at most"),
    Problem(
        "invalid-request",
        422,
        "Invalid request",
        "$.lines[0].quantity: expected `int` >= 1",
        (("field", "$.lines[0].quantity"),),
    ),
)
QUANTITIES = (Problem("quantity-too-large", 422, "Quantity too large", "MUG-BLUE is asked for 1500 times; 999 is the most"),)
PLACING = (
    *KEYED,
    *SENDING,
    Problem("quantity-too-large", 422, "Quantity too large", f"MUG-BLUE is asked for 150 times; {MAX_UNITS} is the most"),
    Problem(
        "unpaid-limit-reached",
        409,
        "Unpaid limit reached",
        f"at most {MAX_UNITS} of a product may be unpaid: MUG-BLUE (80 unpaid, 40 more asked for); ask for fewer, wait until your "
        "orders are paid, or cancel some",
        (("unpaid_orders", ["ord_aaaaaaaaaaaaaaaaaaaaaaaaaa"]), ("skus", ["MUG-BLUE"])),
    ),
    Problem("email-missing", 403, "Email missing", "sign in with a token that names a verified email address: order mail goes there"),
    Problem(
        "email-undeliverable",
        403,
        "Email undeliverable",
        "email about the order could not be sent: the part after the @ is no domain name",
    ),
    Problem("unknown-sku", 422, "Unknown sku", "not in the catalogue: MUG-GREEN", (("skus", ["MUG-GREEN"]),)),
    Problem("mixed-currencies", 422, "Mixed currencies", "one order has one currency, not EUR and USD"),
    Problem("nothing-to-pay", 422, "Nothing to pay", "the order costs EUR 0.00; add a product that costs something"),
    Problem(
        "price-not-chargeable",
        422,
        "Price not chargeable",
        "VASE at MGA 100.50: providers charge multiples of MGA 1.00",
        (("skus", ["VASE"]),),
    ),
    Problem(
        "idempotency-key-reused",
        422,
        "Idempotency-Key reused",
        "this Idempotency-Key belongs to an order with other contents; use a new key for a new order",
    ),
)
CANCELLING = (Problem("not-cancellable", 409, "Not cancellable", "everything of this order has left; what arrives can be sent back"),)
RETURNING = (
    Problem(
        "not-returnable",
        409,
        "Not returnable",
        "only what was delivered, and is not coming back already, can be returned",
    ),
)
REUSED = (
    Problem(
        "idempotency-key-reused",
        422,
        "Idempotency-Key reused",
        "this Idempotency-Key belongs to a return with other contents; use a new key for a new return",
    ),
)
LISTING = (
    Problem("parameter-invalid", 400, "Parameter invalid", f"limit: a whole number from 1 to {MAX_LIMIT}", (("field", "limit"),)),
    Problem(
        "cursor-invalid",
        400,
        "Cursor invalid",
        "send the `next` of the page before, with the same token and filter, or no cursor for the first page",
    ),
)
SALES = {
    "per": "day",
    "sales": [
        {
            "period": "2026-01-15",
            "orders": 120,
            "outcomes": [
                {"outcome": "confirmed", "orders": 114, "basis_points": 9500},
                {"outcome": "payment_declined", "orders": 6, "basis_points": 500},
            ],
            "revenue": [{"amount": 285000, "currency": "EUR"}],
            "refunds": [{"amount": 1250, "currency": "EUR"}],
            "stock_outs": 0,
            "cancelled_later": 3,
        }
    ],
}
LEADERBOARD = {"products": [{"sku": "MUG-BLUE", "units": 42}, {"sku": "FILTER-100", "units": 17}], "day": "2026-01-15"}
ANALYSING = (Problem("parameter-invalid", 400, "Parameter invalid", "per: minute or day", (("field", "per"),)),)
DECIDED_AT = "2026-01-15T12:00:00.123456Z"
DECISION = {"order_id": ORDER_ID, "decision": "approve", "reviewer": "rex", "note": "known customer", "decided_at": DECIDED_AT}
REVIEWS = {
    "reviews": [
        {
            "order_id": ORDER_ID,
            "opened_at": "2026-01-15T10:30:01.123456Z",
            "total": {"amount": 289900, "currency": "EUR"},
            "score": 60,
            "reasons": ["amount_large"],
        }
    ],
    "next": "WyJvcmRfMSIsIjIwMjYtMDEtMTUiXQ",
}
DECIDING = (
    Problem("own-order", 403, "Own order", "another reviewer has to decide on your order"),
    Problem("not-held", 409, "Not held", "the order is cancelled; only a held order can be decided", (("state", "cancelled"),)),
    Problem(
        "already-decided",
        409,
        "Already decided",
        "the decision is reject; a decision cannot be changed",
        (("decision", "reject"), ("decided_at", DECIDED_AT), ("timed_out", False)),
    ),
)
READING = (Problem("order-not-found", 404, "Order not found", "you have no order of this id"),)
INVOICING = (Problem("invoice-not-found", 404, "Invoice not found", "an order has its invoice soon after it was confirmed"),)
CREDITING = (Problem("credit-note-not-found", 404, "Credit note not found", "the order's events name its credit notes"),)
# Responses of API Gateway for unknown routes, and of the webhooks' function URLs: they belong to no route.
ELSEWHERE = (
    Problem("signature-invalid", 401, "Signature invalid", "the signature is not of this body and time under our secret"),
    Problem("no-such-route", 404, "No such route", "see /openapi.json for what there is"),
    Problem("method-not-allowed", 405, "Method not allowed", "send messages by POST"),
)
PROBLEMS = (*PLACING, *LISTING, *READING, *INVOICING, *CREDITING, *CANCELLING, *RETURNING, *DECIDING, *GENERAL, *ELSEWHERE)


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Order pipeline",
            "version": "1.0.0",
            "description": "Place orders and follow their fulfilment. Amounts are integer minor units, times are RFC 3339 in UTC.",
        },
        "servers": [{"url": ".", "description": "The stage that served this document."}],
        "security": [{"jwt": []}],
        "tags": [
            {"name": "orders"},
            {"name": "reviews"},
            {"name": "loyalty"},
            {"name": "analytics"},
            {"name": "description"},
        ],
        "paths": {
            "/orders": {"get": _list(), "post": _place()},
            "/orders/{order_id}": {"parameters": [_ref("parameters", "OrderId")], "get": _read()},
            "/orders/{order_id}/events": {"parameters": [_ref("parameters", "OrderId")], "get": _timeline()},
            "/orders/{order_id}/cancellation": {"parameters": [_ref("parameters", "OrderId")], "post": _cancel()},
            "/orders/{order_id}/returns": {"parameters": [_ref("parameters", "OrderId")], "post": _send_back()},
            "/orders/{order_id}/invoice": {"parameters": [_ref("parameters", "OrderId")], "get": _invoice()},
            "/orders/{order_id}/credit-notes/{number}": {
                "parameters": [_ref("parameters", "OrderId"), _ref("parameters", "CreditNote")],
                "get": _credit_note(),
            },
            "/points": {"get": _points()},
            "/analytics/sales": {"get": _sales()},
            "/analytics/leaderboard": {"get": _leaderboard()},
            "/reviews": {"get": _list_reviews()},
            "/reviews/{order_id}/decision": {"parameters": [_ref("parameters", "OrderId")], "post": _decide()},
            "/openapi.json": {"get": _describe()},
        },
        "components": {
            "schemas": _schemas(),
            "parameters": _parameters(),
            "headers": {
                "CorrelationId": {
                    "description": "On every log line and event of this request.",
                    "schema": {"type": "string", "format": "uri-reference"},
                }
            },
            "securitySchemes": {
                "jwt": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An ID token of the issuer that the stack trusts.",
                }
            },
        },
    }


def _place() -> dict[str, Any]:
    created = _answer("The order was accepted, now or by an earlier request with this key.", "OrderAnswer", {"placed": ORDER})
    created["headers"]["Location"] = {
        "description": "The URL of the order, relative to this request's URL.",
        "required": True,
        "schema": {"type": "string"},
    }
    return {
        "operationId": "placeOrder",
        "tags": ["orders"],
        "summary": "Place an order",
        "description": (
            "Prices come from the catalogue. Repeating a request with the same Idempotency-Key and body gets the same response. "
            f"A body has at most {MAX_BODY_BYTES} bytes; lines of one product are merged."
        ),
        "parameters": [_ref("parameters", "IdempotencyKey"), _ref("parameters", "CorrelationId")],
        "requestBody": _request("PlaceOrderRequest", {"order": REQUEST}),
        "responses": {"201": created} | _problems(*PLACING, *GENERAL),
    }


def _list() -> dict[str, Any]:
    return {
        "operationId": "listOrders",
        "tags": ["orders"],
        "summary": "List your orders",
        "description": (
            "Newest first. The list lags about a second behind the orders. A page of a filtered list may have fewer orders than "
            "`limit`, even none, although more follow: continue while there is a `next`."
        ),
        "parameters": [*(_ref("parameters", name) for name in ("State", "Limit", "Cursor", "CorrelationId"))],
        "responses": {"200": _answer("A page of results.", "OrderList", {"page": LIST})} | _problems(*LISTING, *GENERAL),
    }


def _read() -> dict[str, Any]:
    examples = {"placed": ORDER, "rejected": REJECTED, "delivered": DELIVERED}
    return {
        "operationId": "readOrder",
        "tags": ["orders"],
        "summary": "Get an order",
        "description": "Another customer's order gets the same response as an unknown one.",
        "parameters": [_ref("parameters", "CorrelationId")],
        "responses": {"200": _answer("The order.", "OrderAnswer", examples)} | _problems(*READING, *GENERAL),
    }


def _timeline() -> dict[str, Any]:
    return {
        "operationId": "readOrderEvents",
        "tags": ["orders"],
        "summary": "Get the timeline of an order",
        "parameters": [_ref("parameters", "CorrelationId")],
        "responses": {"200": _answer("Its events, oldest first.", "Timeline", {"reserved": TIMELINE})} | _problems(*READING, *GENERAL),
    }


def _cancel() -> dict[str, Any]:
    cancelling = _answer(
        "The order is being cancelled, or was cancelled before.", "OrderAnswer", {"cancelling": ORDER | {"state": "cancelling"}}
    )
    return {
        "operationId": "cancelOrder",
        "tags": ["orders"],
        "summary": "Cancel the undispatched part of an order",
        "description": (
            "The order becomes `cancelling` and then `cancelled`, or continues with the parcels that were dispatched. The authorization "
            "and the reservation of the rest are released. Repeating the request has no further effect."
        ),
        "parameters": [_ref("parameters", "CorrelationId")],
        "requestBody": _request("CancelOrderRequest", {"reason": {"reason": "changed my mind"}}, required=False),
        "responses": {"202": cancelling} | _problems(*SENDING, *READING, *CANCELLING, *GENERAL),
    }


def _send_back() -> dict[str, Any]:
    lines = {"lines": [MUG], "reason": "too small"}
    return {
        "operationId": "sendBack",
        "tags": ["orders"],
        "summary": "Create a return of delivered lines",
        "description": (
            "The price is refunded once the return is received. Repeating a request with the same Idempotency-Key and body gets the same "
            "response. Lines of one product are merged."
        ),
        "parameters": [_ref("parameters", "IdempotencyKey"), _ref("parameters", "CorrelationId")],
        "requestBody": _request("SendBackRequest", {"mug": lines}),
        "responses": {
            "201": _answer("The return was created, now or by an earlier request with this key.", "ReturnAnswer", {"mug": RETURN})
        }
        | _problems(*KEYED, *SENDING, *QUANTITIES, *REUSED, *READING, *RETURNING, *GENERAL),
    }


def _invoice() -> dict[str, Any]:
    return {
        "operationId": "readInvoice",
        "tags": ["orders"],
        "summary": "Get the invoice of an order",
        "parameters": [_ref("parameters", "CorrelationId")],
        "responses": {"200": _page("The invoice")} | _problems(*READING, *INVOICING, *GENERAL),
    }


def _credit_note() -> dict[str, Any]:
    return {
        "operationId": "readCreditNote",
        "tags": ["orders"],
        "summary": "Get a credit note of an order",
        "parameters": [_ref("parameters", "CorrelationId")],
        "responses": {"200": _page("The credit note")} | _problems(*READING, *CREDITING, *GENERAL),
    }


def _page(what: str) -> dict[str, Any]:
    return {
        "description": f"{what} as an HTML page without external resources.",
        "headers": {"X-Correlation-Id": _ref("headers", "CorrelationId")},
        "content": {"text/html": {"schema": {"type": "string"}}},
    }


def _points() -> dict[str, Any]:
    return {
        "operationId": "readPoints",
        "tags": ["loyalty"],
        "summary": "Get your loyalty points",
        "description": "The points lag about a second behind your orders.",
        "parameters": [_ref("parameters", "CorrelationId")],
        "responses": {"200": _answer("Your points.", "PointsAnswer", {"some": {"points": 25}})} | _problems(*GENERAL),
    }


def _sales() -> dict[str, Any]:
    return {
        "operationId": "readSales",
        "tags": ["analytics"],
        "summary": "Get sales figures by minute or day",
        "description": (
            f"For members of the group {STAFF}. Minutes and days are in UTC (2026-01-15T10:30, 2026-01-15); empty ones are omitted. The "
            "last two minutes may still grow, and any minute may when events arrive late."
        ),
        "parameters": [*(_ref("parameters", name) for name in ("Per", "From", "To", "CorrelationId"))],
        "responses": {"200": _answer("Earliest first.", "SalesAnswer", {"days": SALES})} | _problems(*ANALYSING, *GENERAL),
    }


def _leaderboard() -> dict[str, Any]:
    return {
        "operationId": "readLeaderboard",
        "tags": ["analytics"],
        "summary": "Get the best-selling products",
        "description": f"For members of the group {STAFF}. By units in confirmed orders, updated every minute.",
        "parameters": [*(_ref("parameters", name) for name in ("Day", "Category", "Top", "CorrelationId"))],
        "responses": {"200": _answer("Best first.", "LeaderboardAnswer", {"day": LEADERBOARD})} | _problems(*ANALYSING, *GENERAL),
    }


def _list_reviews() -> dict[str, Any]:
    return {
        "operationId": "listReviews",
        "tags": ["reviews"],
        "summary": "List the orders in review",
        "description": f"For members of the group {REVIEWER_GROUP}. Oldest first; a decided order may be listed for another moment.",
        "parameters": [_ref("parameters", "Limit"), _ref("parameters", "Cursor"), _ref("parameters", "CorrelationId")],
        "responses": {"200": _answer("A page of results.", "OpenReviews", {"page": REVIEWS})} | _problems(*LISTING, *GENERAL),
    }


def _decide() -> dict[str, Any]:
    decision = {"decision": "approve", "note": "known customer"}
    return {
        "operationId": "decideOnOrder",
        "tags": ["reviews"],
        "summary": "Approve or reject a held order",
        "description": (
            f"For members of the group {REVIEWER_GROUP}, except for their own orders. The first decision counts; "
            "repeating it gets the same response."
        ),
        "parameters": [_ref("parameters", "CorrelationId")],
        "requestBody": _request("DecisionRequest", {"approve": decision}),
        "responses": {"200": _answer("The recorded decision.", "Decision", {"approved": DECISION})}
        | _problems(*SENDING, *READING, *DECIDING, *GENERAL),
    }


def _describe() -> dict[str, Any]:
    plain = {
        "200": {
            "description": "This document, gzip-encoded for clients that accept it.",
            "headers": {"ETag": {"description": "For If-None-Match.", "schema": {"type": "string"}}},
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        "304": {"description": "The client has the current document: If-None-Match has its ETag."},
    }
    return {
        "operationId": "readDescription",
        "tags": ["description"],
        "summary": "Get this document",
        "security": [],
        "responses": plain | _problems(*(problem for problem in GENERAL if problem.status >= 429)),
    }


def _request(schema: str, examples: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    content = {"schema": _ref("schemas", schema), "examples": {name: {"value": value} for name, value in examples.items()}}
    return {"required": required, "content": {"application/json": content}}


def _answer(description: str, schema: str, examples: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "headers": {"X-Correlation-Id": _ref("headers", "CorrelationId")},
        "content": {
            "application/json": {
                "schema": _ref("schemas", schema),
                "examples": {name: {"value": value} for name, value in examples.items()},
            }
        },
    }


def _problems(*problems: Problem) -> dict[str, Any]:
    """Return one answer per status, with an example for each problem of that status."""
    answers: dict[str, Any] = {}
    for status in sorted({problem.status for problem in problems}):
        of_status = [problem for problem in problems if problem.status == status]
        answers[str(status)] = {
            "description": "; ".join(problem.title for problem in of_status),
            "content": {
                "application/problem+json": {
                    "schema": _ref("schemas", "Problem"),
                    "examples": {problem.code: {"value": problem.document()} for problem in of_status},
                }
            },
        }
    return answers


def _schemas() -> dict[str, Any]:
    orders = (PlaceOrderRequest, CancelOrderRequest, SendBackRequest, OrderAnswer, OrderList, ReturnAnswer, Timeline)
    models = (*orders, DecisionRequest, OpenReviews, Decision, PointsAnswer, SalesAnswer, LeaderboardAnswer)
    _, schemas = msgspec.json.schema_components(models, ref_template="#/components/schemas/{name}")
    problem = {
        "title": "Problem",
        "description": "The error of a request (RFC 9457). Some types have further members.",
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": sorted(PROBLEM_BASE + problem.code for problem in PROBLEMS)},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string", "description": "The violation and the remedy."},
            "field": {"type": "string", "description": "JSONPath of the invalid part (invalid-request), or the name of the parameter."},
            "skus": {"type": "array", "items": {"type": "string"}, "description": "Products that cannot be ordered (unknown-sku)."},
            "state": {"type": "string", "description": "The state of the order (not-held)."},
            "decision": {"type": "string", "enum": ["approve", "reject"], "description": "The recorded decision (already-decided)."},
            "decided_at": {"type": "string", "format": "date-time", "description": "The time of the decision (already-decided)."},
            "timed_out": {"type": "boolean", "description": "Whether the review timed out (already-decided)."},
        },
        "required": ["type", "title", "status", "detail"],
    }
    return dict(sorted({**schemas, "Problem": problem}.items()))


def _parameters() -> dict[str, Any]:
    return {
        "CorrelationId": {
            "name": "X-Correlation-Id",
            "in": "header",
            "description": "Your id of this request, returned and set on every log line and event. Generated if absent.",
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"},
        },
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "description": "Your unique key of the order or return, printable ASCII. Send the same key when you repeat the request.",
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[ -~]*[!-~][ -~]*$"},
            "example": "4f1b8d1c-6a0e-4f0a-9f66-5d1e0a8f2b11",
        },
        "State": {
            "name": "state",
            "in": "query",
            "description": "Only orders in this state.",
            "schema": {"type": "string", "enum": list(get_args(ShownState))},
        },
        "Limit": {
            "name": "limit",
            "in": "query",
            "description": "Maximum number of results on a page.",
            "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        },
        "Cursor": {
            "name": "cursor",
            "in": "query",
            "description": "`next` of the previous page, unchanged.",
            "schema": {"type": "string"},
        },
        "Per": _query("per", "Length of a period.", {"type": "string", "enum": ["minute", "day"], "default": "day"}),
        "From": _query("from", "The first period, a minute or day; by default 60 minutes or 30 days before.", {"type": "string"}),
        "To": _query("to", "The last period, by default the current one; at most 1,440 minutes or 366 days.", {"type": "string"}),
        "Day": _query("day", "Only orders confirmed on this day (UTC).", {"type": "string", "format": "date"}),
        "Category": _query("category", "Only products of this category.", {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,63}$"}),
        "Top": _query(
            "limit",
            "Maximum number of products.",
            {"type": "integer", "minimum": 1, "maximum": LEADERBOARD_SIZE, "default": LEADERBOARD_LIMIT},
        ),
        "OrderId": {
            "name": "order_id",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^ord_[a-z0-9]{26}$"},
            "example": ORDER_ID,
        },
        "CreditNote": {
            "name": "number",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^CN-[0-9]{4}-[0-9]{6,}$"},
            "example": "CN-2026-000001",
        },
    }


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _ref(section: str, name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/{section}/{name}"}


def rendered() -> str:
    """Return the document as it is committed: the same text whenever the models are the same."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Namespace) -> None:
    """Write the document, or with --check fail if the committed one is outdated."""
    shown = DOCUMENT.relative_to(ROOT)
    text = rendered()
    if not arguments.check:
        DOCUMENT.write_text(text, "utf-8")
        print(f"wrote {shown}")
    elif not DOCUMENT.exists() or DOCUMENT.read_text("utf-8") != text:
        raise cli.UserError(f"{shown} is not what the models say; run `make openapi` and commit it")
