"""`GET /openapi.json`: returns the OpenAPI document, which `make openapi` generates from the API models."""

from __future__ import annotations

import base64
import gzip
import re
from hashlib import sha256
from pathlib import Path

import msgspec

from orderflow.aws.http import ApiEvent, Response, api, header

# The route is public, so the answer is small: without indentation, and compressed once per process.
DOCUMENT = msgspec.json.format(Path(__file__).parents[1].joinpath("openapi.json").read_bytes(), indent=-1)
COMPRESSED = base64.b64encode(gzip.compress(DOCUMENT, mtime=0)).decode()
DIGEST = sha256(DOCUMENT).hexdigest()[:16]
_REFUSED = re.compile(r"q=0(\.0*)?$")


@api
def handler(event: ApiEvent) -> Response:
    """Answer any request with the OpenAPI document, gzip-encoded for clients that accept it, or with 304 where they have it already."""
    # API Gateway goes by Accept when it decides whether to decode a body: without one, its text would arrive as base64.
    compressed = bool(header(event, "Accept")) and _accepts_gzip(header(event, "Accept-Encoding") or "")
    # A tag names one representation (RFC 9110, 8.8.3), and the compressed one is another.
    tag = f'"{DIGEST}-gzip"' if compressed else f'"{DIGEST}"'
    headers = {"cache-control": "public, max-age=300", "etag": tag, "vary": "accept, accept-encoding"}
    if _has(header(event, "If-None-Match") or "", tag):
        return {"statusCode": 304, "headers": headers, "body": ""}
    headers["content-type"] = "application/json"
    if not compressed:
        return {"statusCode": 200, "headers": headers, "body": DOCUMENT.decode()}
    headers["content-encoding"] = "gzip"
    return {"statusCode": 200, "headers": headers, "body": COMPRESSED, "isBase64Encoded": True}


def _accepts_gzip(accepted: str) -> bool:
    """Whether a client names gzip, and not with a weight of zero (RFC 9110, 12.5.3)."""
    codings = (coding.replace(" ", "").lower().partition(";") for coding in accepted.split(","))
    return any(coding in ("gzip", "x-gzip") and not _REFUSED.fullmatch(weight) for coding, _, weight in codings)


def _has(known: str, tag: str) -> bool:
    """Whether the tag is among those of If-None-Match, which compares weakly (RFC 9110, 13.1.2)."""
    return known.strip() == "*" or tag in {one.strip().removeprefix("W/") for one in known.split(",")}
