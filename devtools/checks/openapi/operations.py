"""The operations on products, points, analytics, and on the document itself."""

from typing import Any

from analytics.api_models import STAFF_GROUP as STAFF
from devtools.checks.openapi.examples import LEADERBOARD, PRODUCT, PRODUCTS, SALES
from devtools.checks.openapi.parts import found, problem_answers, ref
from devtools.checks.openapi.problems import ANALYSING, FINDING, GENERAL, PARAMETER, WITHOUT_TOKEN


def get_points() -> dict[str, Any]:
    return {
        "operationId": "readPoints",
        "tags": ["loyalty"],
        "summary": "Get your loyalty points",
        "description": "The points lag about a second behind your orders.",
        "parameters": [ref("parameters", "IfNoneMatch"), ref("parameters", "CorrelationId")],
        "responses": found("Your points.", "PointsAnswer", {"some": {"points": 25}}) | problem_answers(*GENERAL),
    }


def get_sales() -> dict[str, Any]:
    return {
        "operationId": "readSales",
        "tags": ["analytics"],
        "summary": "Get sales figures by minute or day",
        "description": (
            f"For members of the group {STAFF}. Minutes and days are in UTC (2026-01-15T10:30, 2026-01-15); empty ones are omitted. The "
            "last two minutes may still grow, and any minute may when events arrive late."
        ),
        "parameters": [*(ref("parameters", name) for name in ("Per", "From", "To", "IfNoneMatch", "CorrelationId"))],
        "responses": found("Earliest first.", "SalesAnswer", {"days": SALES}) | problem_answers(*ANALYSING, *GENERAL),
    }


def get_leaderboard() -> dict[str, Any]:
    return {
        "operationId": "readLeaderboard",
        "tags": ["analytics"],
        "summary": "Get the best-selling products",
        "description": f"For members of the group {STAFF}. By units in confirmed orders, updated every minute.",
        "parameters": [*(ref("parameters", name) for name in ("Day", "Category", "Top", "IfNoneMatch", "CorrelationId"))],
        "responses": found("Best first.", "LeaderboardAnswer", {"day": LEADERBOARD}) | problem_answers(*ANALYSING, *GENERAL),
    }


def get_openapi() -> dict[str, Any]:
    plain = {
        "200": {
            "description": "This document, gzip-encoded for clients that accept it.",
            "headers": {"ETag": ref("headers", "ETag")},
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        "304": {"description": "Unchanged since the response with the entity tag in `If-None-Match`."},
    }
    return {
        "operationId": "readDescription",
        "tags": ["description"],
        "summary": "Get this document",
        "security": [],
        "responses": plain | problem_answers(*WITHOUT_TOKEN),
    }


def list_products() -> dict[str, Any]:
    return {
        "operationId": "listProducts",
        "tags": ["products"],
        "summary": "List the products for sale",
        "description": (
            "In no particular order, without a token. A page can have fewer products than `limit`: continue while there is a `next`."
        ),
        "security": [],
        "parameters": [*(ref("parameters", name) for name in ("Limit", "Cursor", "IfNoneMatch", "CorrelationId"))],
        "responses": found("A page of results.", "ProductList", {"page": PRODUCTS}) | problem_answers(PARAMETER, *WITHOUT_TOKEN),
    }


def get_product() -> dict[str, Any]:
    return {
        "operationId": "getProduct",
        "tags": ["products"],
        "summary": "Get a product",
        "security": [],
        "parameters": [ref("parameters", "IfNoneMatch"), ref("parameters", "CorrelationId")],
        "responses": found("The product.", "ProductAnswer", {"mug": PRODUCT}) | problem_answers(*FINDING, *WITHOUT_TOKEN),
    }
