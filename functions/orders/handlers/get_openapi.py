"""`GET /openapi.json`: returns the OpenAPI document, which `make openapi` generates from the API models."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec

from orderflow.aws.http import ApiEvent, Response, api, known_to_client

# Without indentation: the route is public, so its answer is small. API Gateway compresses it.
DOCUMENT = msgspec.json.format(Path(__file__).parents[1].joinpath("openapi.json").read_bytes(), indent=-1).decode()
# Weak, because it names the compressed and the plain document (RFC 9110, 8.8.1).
TAG = f'W/"{sha256(DOCUMENT.encode()).hexdigest()[:16]}"'


@api
def handler(event: ApiEvent) -> Response:
    """Answer any request with the OpenAPI document, or with 304 if the client has it already."""
    headers = {"cache-control": "public, max-age=300", "etag": TAG}
    if known_to_client(event, TAG):
        return {"statusCode": 304, "headers": headers, "body": ""}
    return {"statusCode": 200, "headers": headers | {"content-type": "application/json"}, "body": DOCUMENT}
