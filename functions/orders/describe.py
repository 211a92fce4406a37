"""`GET /openapi.json`: the description of the API, generated from its models by `make openapi`."""

from __future__ import annotations

from pathlib import Path

from orderflow.http import ApiEvent, Response, api

DOCUMENT = Path(__file__).with_name("openapi.json").read_text("utf-8")


@api
def handler(_event: ApiEvent) -> Response:
    """Answer any request with the OpenAPI document."""
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json", "cache-control": "public, max-age=300"},
        "body": DOCUMENT,
    }
