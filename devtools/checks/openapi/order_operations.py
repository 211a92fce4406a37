"""The operations on orders and returns."""

from typing import Any

from devtools.checks.openapi.examples import DELIVERED, LIST, MUG, ORDER, REJECTED, REQUEST, RETURN, TIMELINE
from devtools.checks.openapi.parts import answer, found, problem_answers, ref, request_body
from devtools.checks.openapi.problems import (
    CANCELLING,
    GENERAL,
    KEYED,
    PAGING,
    PLACING,
    QUANTITIES,
    READING,
    RETURNING,
    REUSED,
    SENDING,
)
from orderflow.aws.http import MAX_BODY_BYTES


def place_order() -> dict[str, Any]:
    created = answer("The order was accepted, now or by an earlier request with this key.", "OrderAnswer", {"placed": ORDER})
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
            "Prices come from the catalogue; with `expected_total`, an order that costs another amount is refused. Repeating a request "
            "with the same Idempotency-Key and body gets the same response. "
            f"A body has at most {MAX_BODY_BYTES} bytes; lines of one product are merged."
        ),
        "parameters": [ref("parameters", "IdempotencyKey"), ref("parameters", "CorrelationId")],
        "requestBody": request_body("PlaceOrderRequest", {"order": REQUEST}),
        "responses": {"201": created} | problem_answers(*PLACING, *GENERAL),
    }


def list_orders() -> dict[str, Any]:
    return {
        "operationId": "listOrders",
        "tags": ["orders"],
        "summary": "List your orders",
        "description": (
            "Newest first. The list lags about a second behind the orders. A page of a filtered list may have fewer orders than "
            "`limit`, even none, although more follow: continue while there is a `next`."
        ),
        "parameters": [*(ref("parameters", name) for name in ("State", "Limit", "Cursor", "IfNoneMatch", "CorrelationId"))],
        "responses": found("A page of results.", "OrderList", {"page": LIST}) | problem_answers(*PAGING, *GENERAL),
    }


def get_order() -> dict[str, Any]:
    examples = {"placed": ORDER, "rejected": REJECTED, "delivered": DELIVERED}
    return {
        "operationId": "readOrder",
        "tags": ["orders"],
        "summary": "Get an order",
        "description": "Another customer's order gets the same response as an unknown one.",
        "parameters": [ref("parameters", "IfNoneMatch"), ref("parameters", "CorrelationId")],
        "responses": found("The order.", "OrderAnswer", examples) | problem_answers(*READING, *GENERAL),
    }


def get_timeline() -> dict[str, Any]:
    return {
        "operationId": "readOrderEvents",
        "tags": ["orders"],
        "summary": "Get the timeline of an order",
        "parameters": [ref("parameters", "IfNoneMatch"), ref("parameters", "CorrelationId")],
        "responses": found("Its events, oldest first.", "Timeline", {"reserved": TIMELINE}) | problem_answers(*READING, *GENERAL),
    }


def cancel_order() -> dict[str, Any]:
    cancelling = answer(
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
        "parameters": [ref("parameters", "CorrelationId")],
        "requestBody": request_body("CancelOrderRequest", {"reason": {"reason": "changed my mind"}}, required=False),
        "responses": {"202": cancelling} | problem_answers(*SENDING, *READING, *CANCELLING, *GENERAL),
    }


def create_return() -> dict[str, Any]:
    lines = {"lines": [MUG], "reason": "too small"}
    return {
        "operationId": "sendBack",
        "tags": ["orders"],
        "summary": "Create a return of delivered lines",
        "description": (
            "The price is refunded once the return is received. Repeating a request with the same Idempotency-Key and body gets the same "
            "response. Lines of one product are merged."
        ),
        "parameters": [ref("parameters", "IdempotencyKey"), ref("parameters", "CorrelationId")],
        "requestBody": request_body("CreateReturnRequest", {"mug": lines}),
        "responses": {"201": answer("The return was created, now or by an earlier request with this key.", "ReturnAnswer", {"mug": RETURN})}
        | problem_answers(*KEYED, *SENDING, *QUANTITIES, *REUSED, *READING, *RETURNING, *GENERAL),
    }
