"""The components: schemas of the models, parameters, headers, security schemes."""

from datetime import timedelta
from typing import Any

import msgspec

from analytics.api_models import LeaderboardAnswer, SalesAnswer
from devtools.checks.openapi.invoices import CREDITING, INVOICING
from devtools.checks.openapi.parameters import parameters
from devtools.checks.openapi.parts import ref
from devtools.checks.openapi.problems import CANCELLING, ELSEWHERE, FINDING, GENERAL, PAGING, PLACING, READING, RETURNING
from devtools.checks.openapi.reviews import DECIDING
from loyalty.api_models import PointsAnswer
from orderflow.aws.http import PROBLEM_BASE
from orders.api_models import (
    CancelOrderRequest,
    CreateReturnRequest,
    OrderAnswer,
    OrderList,
    PlaceOrderRequest,
    ProductAnswer,
    ProductList,
    ReturnAnswer,
    Timeline,
)
from orders.domain.unpaid_limits import DECLINES_COUNT
from reviews.api_models import DecisionRequest, OpenReviews
from reviews.domain.decisions import Decision

PROBLEMS = (*PLACING, *PAGING, *READING, *FINDING, *INVOICING, *CREDITING, *CANCELLING, *RETURNING, *DECIDING, *GENERAL, *ELSEWHERE)


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
    return dict(sorted({**schemas, "Problem": problem_schema()}.items()))


def problem_schema() -> dict[str, Any]:
    return {
        "title": "Problem",
        "description": "The error of a request (RFC 9457). Some types have further members.",
        "type": "object",
        "properties": _members() | _further_members(),
        "required": ["type", "title", "status", "detail"],
    }


def _members() -> dict[str, Any]:
    return {
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
    }


def _further_members() -> dict[str, Any]:
    return {
        "skus": _texts("Products that cannot be ordered (unknown-sku, price-not-chargeable, unpaid-limit-reached)."),
        "unpaid_orders": _texts("Ids of orders that count because they are not paid yet (unpaid-limit-reached)."),
        "declined_orders": _texts(
            f"Ids of orders whose payment was declined, which count until {DECLINES_COUNT // timedelta(hours=1)} hours after they were "
            "placed (unpaid-limit-reached)."
        ),
        "total": ref("schemas", "Money") | {"description": "The present price of the order (price-changed)."},
        "lines": {"type": "array", "items": ref("schemas", "Line"), "description": "The lines at their prices now (price-changed)."},
        "state": {"type": "string", "description": "The state of the order (not-held)."},
        "decision": {"type": "string", "enum": ["approve", "reject"], "description": "The recorded decision (already-decided)."},
        "decided_at": {"type": "string", "format": "date-time", "description": "The time of the decision (already-decided)."},
        "timed_out": {"type": "boolean", "description": "Whether the review timed out (already-decided)."},
    }


def _texts(description: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}, "description": description}
