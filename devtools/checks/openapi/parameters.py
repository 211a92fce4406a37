"""The parameters of requests: headers, pages of lists, periods of analytics, ids in paths."""

from typing import Any, get_args

from analytics.api_models import LEADERBOARD_LIMIT
from analytics.domain.counting_rules import LEADERBOARD_SIZE
from devtools.checks.openapi.examples import ORDER_ID
from orderflow.aws.paging import DEFAULT_LIMIT, MAX_LIMIT
from orders.api_models import MAX_KEY_LENGTH, DisplayState


def parameters() -> dict[str, Any]:
    """Return all parameters by the name that operations refer to."""
    return _headers() | _lists() | {"IfNoneMatch": _IF_NONE_MATCH, "Sku": _SKU} | _analytics() | _order_paths()


def _headers() -> dict[str, Any]:
    key = {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[ -~]*[!-~][ -~]*$"}
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
            "schema": key,
            "example": "4f1b8d1c-6a0e-4f0a-9f66-5d1e0a8f2b11",
        },
    }


def _lists() -> dict[str, Any]:
    size = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
    return {
        "State": _query("state", "Only orders in this state.", {"type": "string", "enum": list(get_args(DisplayState))}),
        "Limit": _query("limit", "Maximum number of results on a page.", size),
        "Cursor": _query("cursor", "`next` of the previous page, unchanged.", {"type": "string"}),
    }


def _analytics() -> dict[str, Any]:
    period = {"type": "string", "enum": ["minute", "day"], "default": "day"}
    category = {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,63}$"}
    top = {"type": "integer", "minimum": 1, "maximum": LEADERBOARD_SIZE, "default": LEADERBOARD_LIMIT}
    return {
        "Per": _query("per", "Length of a period.", period),
        "From": _query("from", "The first period, a minute or day; by default 60 minutes or 30 days before.", {"type": "string"}),
        "To": _query("to", "The last period, by default the current one; at most 1,440 minutes or 366 days.", {"type": "string"}),
        "Day": _query("day", "Only orders confirmed on this day (UTC).", {"type": "string", "format": "date"}),
        "Category": _query("category", "Only products of this category.", category),
        "Top": _query("limit", "Maximum number of products.", top),
    }


def _order_paths() -> dict[str, Any]:
    return {
        "OrderId": _path("order_id", "^ord_[a-z0-9]{26}$", ORDER_ID),
        "CreditNote": _path("number", "^CN-[0-9]{4}-[0-9]{6,}$", "CN-2026-000001"),
    }


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _path(name: str, pattern: str, example: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}, "example": example}


_SKU = _path("sku", "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", "MUG-BLUE")
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "`ETag` of the response that you have.",
    "schema": {"type": "string"},
}
