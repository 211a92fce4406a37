"""The components: schemas of the models, parameters, headers, security schemes."""

from typing import Any, get_args

import msgspec

from analytics.api_models import LEADERBOARD_LIMIT, LeaderboardAnswer, SalesAnswer
from analytics.domain.counting_rules import LEADERBOARD_SIZE
from devtools.checks.openapi.examples import ORDER_ID
from devtools.checks.openapi.parts import ref
from devtools.checks.openapi.problems import PROBLEMS
from loyalty.api_models import PointsAnswer
from orderflow.aws.http import PROBLEM_BASE
from orderflow.aws.paging import DEFAULT_LIMIT, MAX_LIMIT
from orders.api_models import (
    MAX_KEY_LENGTH,
    CancelOrderRequest,
    CreateReturnRequest,
    DisplayState,
    OrderAnswer,
    OrderList,
    PlaceOrderRequest,
    ProductAnswer,
    ProductList,
    ReturnAnswer,
    Timeline,
)
from reviews.api_models import DecisionRequest, OpenReviews
from reviews.domain.decisions import Decision


def components() -> dict[str, Any]:
    """Return the components of the document."""
    return {
        "schemas": schemas(),
        "parameters": parameters(),
        "headers": {
            "CorrelationId": {
                "description": "On every log line and event of this request.",
                "schema": {"type": "string", "format": "uri-reference"},
            },
            "ETag": {
                "description": "The entity tag of the response; send it as `If-None-Match` to get 304 while nothing has changed.",
                "schema": {"type": "string"},
            },
            "RetryAfter": {"description": "Seconds to wait before the same request is repeated.", "schema": {"type": "integer"}},
        },
        "securitySchemes": {
            "jwt": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "An ID token of the issuer that the stack trusts.",
            }
        },
    }


def schemas() -> dict[str, Any]:
    orders = (
        PlaceOrderRequest,
        CancelOrderRequest,
        CreateReturnRequest,
        OrderAnswer,
        OrderList,
        ReturnAnswer,
        Timeline,
        ProductAnswer,
        ProductList,
    )
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
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
                    "required": ["field", "detail"],
                },
                "description": "Every invalid part by its JSONPath (invalid-request).",
            },
            "skus": {"type": "array", "items": {"type": "string"}, "description": "Products that cannot be ordered (unknown-sku)."},
            "total": ref("schemas", "Money") | {"description": "What the order costs now (price-changed)."},
            "lines": {"type": "array", "items": ref("schemas", "Line"), "description": "The lines at their prices now (price-changed)."},
            "state": {"type": "string", "description": "The state of the order (not-held)."},
            "decision": {"type": "string", "enum": ["approve", "reject"], "description": "The recorded decision (already-decided)."},
            "decided_at": {"type": "string", "format": "date-time", "description": "The time of the decision (already-decided)."},
            "timed_out": {"type": "boolean", "description": "Whether the review timed out (already-decided)."},
        },
        "required": ["type", "title", "status", "detail"],
    }
    return dict(sorted({**schemas, "Problem": problem}.items()))


def parameters() -> dict[str, Any]:
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
            "schema": {"type": "string", "enum": list(get_args(DisplayState))},
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
        "IfNoneMatch": {
            "name": "If-None-Match",
            "in": "header",
            "description": "`ETag` of the response that you have.",
            "schema": {"type": "string"},
        },
        "Sku": {
            "name": "sku",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
            "example": "MUG-BLUE",
        },
        "Per": query_parameter("per", "Length of a period.", {"type": "string", "enum": ["minute", "day"], "default": "day"}),
        "From": query_parameter("from", "The first period, a minute or day; by default 60 minutes or 30 days before.", {"type": "string"}),
        "To": query_parameter("to", "The last period, by default the current one; at most 1,440 minutes or 366 days.", {"type": "string"}),
        "Day": query_parameter("day", "Only orders confirmed on this day (UTC).", {"type": "string", "format": "date"}),
        "Category": query_parameter(
            "category", "Only products of this category.", {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,63}$"}
        ),
        "Top": query_parameter(
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


def query_parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}
