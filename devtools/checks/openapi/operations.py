"""The operations on points, analytics, reviews, and on the document itself."""

from typing import Any

from analytics.api_models import STAFF_GROUP as STAFF
from devtools.checks.openapi.examples import DECISION, LEADERBOARD, REVIEWS, SALES
from devtools.checks.openapi.parts import answer, problem_answers, ref, request_body
from devtools.checks.openapi.problems import ANALYSING, DECIDING, GENERAL, PAGING, READING, SENDING
from reviews.domain.decisions import REVIEWER_GROUP


def get_points() -> dict[str, Any]:
    return {
        "operationId": "readPoints",
        "tags": ["loyalty"],
        "summary": "Get your loyalty points",
        "description": "The points lag about a second behind your orders.",
        "parameters": [ref("parameters", "CorrelationId")],
        "responses": {"200": answer("Your points.", "PointsAnswer", {"some": {"points": 25}})} | problem_answers(*GENERAL),
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
        "parameters": [*(ref("parameters", name) for name in ("Per", "From", "To", "CorrelationId"))],
        "responses": {"200": answer("Earliest first.", "SalesAnswer", {"days": SALES})} | problem_answers(*ANALYSING, *GENERAL),
    }


def get_leaderboard() -> dict[str, Any]:
    return {
        "operationId": "readLeaderboard",
        "tags": ["analytics"],
        "summary": "Get the best-selling products",
        "description": f"For members of the group {STAFF}. By units in confirmed orders, updated every minute.",
        "parameters": [*(ref("parameters", name) for name in ("Day", "Category", "Top", "CorrelationId"))],
        "responses": {"200": answer("Best first.", "LeaderboardAnswer", {"day": LEADERBOARD})} | problem_answers(*ANALYSING, *GENERAL),
    }


def list_reviews() -> dict[str, Any]:
    return {
        "operationId": "listReviews",
        "tags": ["reviews"],
        "summary": "List the orders in review",
        "description": f"For members of the group {REVIEWER_GROUP}. Oldest first; a decided order may be listed for another moment.",
        "parameters": [ref("parameters", "Limit"), ref("parameters", "Cursor"), ref("parameters", "CorrelationId")],
        "responses": {"200": answer("A page of results.", "OpenReviews", {"page": REVIEWS})} | problem_answers(*PAGING, *GENERAL),
    }


def decide_review() -> dict[str, Any]:
    decision = {"decision": "approve", "note": "known customer"}
    return {
        "operationId": "decideOnOrder",
        "tags": ["reviews"],
        "summary": "Approve or reject a held order",
        "description": (
            f"For members of the group {REVIEWER_GROUP}, except for their own orders. The first decision counts; "
            "repeating it gets the same response."
        ),
        "parameters": [ref("parameters", "CorrelationId")],
        "requestBody": request_body("DecisionRequest", {"approve": decision}),
        "responses": {"200": answer("The recorded decision.", "Decision", {"approved": DECISION})}
        | problem_answers(*SENDING, *READING, *DECIDING, *GENERAL),
    }


def get_openapi() -> dict[str, Any]:
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
        "responses": plain | problem_answers(*(problem for problem in GENERAL if problem.status >= 429)),
    }
