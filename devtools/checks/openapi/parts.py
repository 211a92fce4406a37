"""Parts that operations share: bodies, answers, problems, references."""

from typing import Any

from devtools.checks.openapi.problems import Problem

# Their answers say when to repeat the request.
RETRIABLE = (429, 503)


def request_body(schema: str, examples: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    content = {"schema": ref("schemas", schema), "examples": {name: {"value": value} for name, value in examples.items()}}
    return {"required": required, "content": {"application/json": content}}


def answer(description: str, schema: str, examples: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "headers": {"X-Correlation-Id": ref("headers", "CorrelationId")},
        "content": {
            "application/json": {
                "schema": ref("schemas", schema),
                "examples": {name: {"value": value} for name, value in examples.items()},
            }
        },
    }


def found(description: str, schema: str, examples: dict[str, Any]) -> dict[str, Any]:
    """Return the answers of a GET that has an entity tag: 200, and 304 for a client that has the representation already."""
    current = answer(description, schema, examples)
    current["headers"]["ETag"] = ref("headers", "ETag")
    unchanged = {
        "description": "Unchanged since the response with the entity tag in `If-None-Match`.",
        "headers": {"X-Correlation-Id": ref("headers", "CorrelationId"), "ETag": ref("headers", "ETag")},
    }
    return {"200": current, "304": unchanged}


def problem_answers(*problems: Problem) -> dict[str, Any]:
    """Return one answer per status, with an example for each problem of that status."""
    answers: dict[str, Any] = {}
    for status in sorted({problem.status for problem in problems}):
        of_status = [problem for problem in problems if problem.status == status]
        answers[str(status)] = {
            "description": "; ".join(problem.title for problem in of_status),
            "content": {
                "application/problem+json": {
                    "schema": ref("schemas", "Problem"),
                    "examples": {problem.code: {"value": problem.document()} for problem in of_status},
                }
            },
        }
        if status in RETRIABLE:
            answers[str(status)]["headers"] = {"Retry-After": ref("headers", "RetryAfter")}
    return answers


def ref(section: str, name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/{section}/{name}"}
