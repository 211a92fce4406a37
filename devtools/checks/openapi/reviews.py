"""The operations on reviews, and their problems."""

from typing import Any

from devtools.checks.openapi.examples import DECIDED_AT, DECISION, REVIEWS
from devtools.checks.openapi.parts import answer, found, problem_answers, ref, request_body
from devtools.checks.openapi.problems import GENERAL, PAGING, READING, SENDING, Problem
from reviews.domain.decisions import REVIEWER_GROUP

DECIDING = (
    Problem("own-order", 403, "Own order", "another reviewer must decide on your order"),
    Problem("not-held", 409, "Not held", "the order is cancelled; only a held order can be decided", (("state", "cancelled"),)),
    Problem(
        "already-decided",
        409,
        "Already decided",
        "the decision is reject; a decision cannot be changed",
        (("decision", "reject"), ("decided_at", DECIDED_AT), ("timed_out", False)),
    ),
)


def list_reviews() -> dict[str, Any]:
    return {
        "operationId": "listReviews",
        "tags": ["reviews"],
        "summary": "List the orders in review",
        "description": f"For members of the group {REVIEWER_GROUP}. Oldest first; a decided order may be listed for another moment.",
        "parameters": [
            ref("parameters", "Limit"),
            ref("parameters", "Cursor"),
            ref("parameters", "IfNoneMatch"),
            ref("parameters", "CorrelationId"),
        ],
        "responses": found("A page of results.", "OpenReviews", {"page": REVIEWS}) | problem_answers(*PAGING, *GENERAL),
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
