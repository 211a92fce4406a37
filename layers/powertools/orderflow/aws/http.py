"""HTTP requests and responses of the API: JSON bodies, and problem details (RFC 9457) for errors."""

from __future__ import annotations

import base64
import functools
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import msgspec
from msgspec import Struct

from orderflow.aws import settings
from orderflow.aws.dynamodb import TransactionConflict
from orderflow.aws.observability import correlation_id_of, instrumented, log_refusal, logger, measure
from orderflow.domain import documents, metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.typing import LambdaContext


class Authorizer(TypedDict, total=False):
    """The authorizer's context about the caller; API Gateway converts all values to strings."""

    customer_id: str
    email: str
    groups: str
    expires_at: str


class Http(TypedDict):
    """The HTTP part of a function URL's request context."""

    method: str


class RequestContext(TypedDict):
    """The used fields of a request's context; only a function URL sends `http`."""

    requestId: str
    authorizer: NotRequired[Authorizer | None]
    http: NotRequired[Http]


class ApiEvent(TypedDict):
    """The used fields of a proxy integration's event.

    The event of a function URL has the same headers, body and requestId.
    """

    resource: str
    path: NotRequired[str]
    httpMethod: NotRequired[str]
    headers: dict[str, str] | None
    pathParameters: NotRequired[dict[str, str] | None]
    queryStringParameters: NotRequired[dict[str, str] | None]
    body: NotRequired[str | None]
    isBase64Encoded: NotRequired[bool]
    requestContext: RequestContext


PROBLEM_BASE = "urn:order-pipeline:problem:"
MAX_BODY_BYTES = 64 * 1024
ALLOWED_ORIGIN = settings.optional("ALLOWED_ORIGIN", "*")
_EXPOSED_HEADERS = "ETag, Location, Retry-After, X-Correlation-Id"
_NOT_STORED = "no-store"
# The codes of errors that DynamoDB, S3 and AppConfig answer under load (https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html).
_OVERLOAD = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "SlowDown",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
# The base classes of botocore's errors if a service does not answer.
_NO_ANSWER = frozenset({"ConnectionError", "HTTPClientError"})


class Response(TypedDict):
    """The response of a proxy integration."""

    statusCode: int
    headers: dict[str, str]
    body: str
    isBase64Encoded: NotRequired[bool]


class Problem(Exception):
    """An error response (RFC 9457).

    `code` identifies the kind of problem and is part of the API's contract; `detail` explains this one and how to solve it;
    `members` are further fields of the document. With a `reason`, the log line is a warning that contains it.
    """

    def __init__(self, status: int, code: str, title: str, detail: str, **members: Any) -> None:
        """Create the problem with this HTTP status."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.reason = ""
        self.headers: dict[str, str] = {}
        self.document = {"type": PROBLEM_BASE + code, "title": title, "status": status, "detail": detail, **members}


class Caller(Struct, frozen=True):
    """The authenticated caller: customer id, email and groups of the token."""

    customer_id: str
    email: str
    groups: frozenset[str]


def answer(status: int, body: Any, **headers: str) -> Response:
    """Return a response with a JSON body; names of `headers` have underscores instead of hyphens."""
    return _response(status, body, "application/json", {name.replace("_", "-"): value for name, value in headers.items()})


def caller(event: ApiEvent) -> Caller:
    """Return the authenticated caller.

    API Gateway caches the authorizer's answer, so the token's expiry is checked again here.

    Raises:
        Problem: 401 without an authenticated caller, or for an expired token.
    """
    known = event["requestContext"].get("authorizer") or Authorizer()
    customer_id = known.get("customer_id")
    if not customer_id or float(known.get("expires_at") or 0) <= time.time():
        raise Problem(401, "unauthorized", "Unauthorized", "send a valid, unexpired bearer token")
    groups = (known.get("groups") or "").split(",")
    return Caller(customer_id, known.get("email") or "", frozenset(filter(None, groups)))


def header(event: ApiEvent, name: str) -> str | None:
    """Return the value of a request header, or None; names are case-insensitive."""
    for key, value in (event.get("headers") or {}).items():
        if key.lower() == name.lower():
            return value
    return None


def require_post(event: ApiEvent) -> None:
    """Require the method POST: a function URL accepts any method, a route of API Gateway only its own.

    Raises:
        Problem: 405 for another method.
    """
    http = event["requestContext"].get("http")
    if http and http["method"] != "POST":
        problem = Problem(405, "method-not-allowed", "Method not allowed", "send messages by POST")
        problem.headers["allow"] = "POST"
        raise problem


def body_bytes(event: ApiEvent) -> bytes:
    """Return a request's raw body, empty if it has none.

    Raises:
        Problem: 400 for invalid base64, and for bytes that are not UTF-8: API Gateway replaces them by U+FFFD.
    """
    body: str = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        if "\ufffd" in body and "http" not in event["requestContext"]:
            raise Problem(400, "malformed-json", "Malformed JSON", "the body must be JSON in UTF-8, without U+FFFD")
        return body.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except ValueError as error:
        raise Problem(400, "malformed-body", "Malformed body", f"the body is not base64: {error}") from None


def parse_model[A](body: bytes, kind: type[A]) -> A:
    """Return the JSON document of a body as a `kind`. Raises as `parse_document` and `to_model`."""
    return to_model(parse_document(body), kind)


def parse_document(body: bytes) -> Any:
    """Return the parsed JSON document of a body.

    Raises:
        Problem: 413 over 64 KB, 400 for invalid UTF-8 or JSON (`orderflow.domain.documents`).
    """
    if len(body) > MAX_BODY_BYTES:
        raise Problem(413, "body-too-large", "Body too large", f"a body may have {MAX_BODY_BYTES} bytes at most")
    try:
        return documents.parse(body.decode())
    except (documents.Malformed, UnicodeDecodeError) as error:
        raise Problem(400, "malformed-json", "Malformed JSON", f"the body must be JSON in UTF-8: {error}") from None


def to_model[A](document: Any, kind: type[A]) -> A:
    """Return a parsed document as a `kind`, its texts trimmed and in NFC.

    Raises:
        Problem: 422 for invalid fields, or characters that are not allowed in texts. `errors` lists every invalid field by its JSONPath;
            `field` and `detail` name the first.
    """
    try:
        return documents.converted(documents.cleaned(document), kind, documents.unreadable(document))
    except documents.Invalid as invalid:
        errors = [{"field": field, "detail": what} for field, what in invalid.errors]
        field, what = invalid.errors[0]
        raise Problem(422, "invalid-request", "Invalid request", f"{field}: {what}", field=field, errors=errors) from None


def api(handler: Callable[[ApiEvent], Response]) -> Callable[[ApiEvent, LambdaContext], Response]:
    """Turn a function that answers events of API Gateway, or of a function URL, into a Lambda handler.

    A `Problem` becomes its document. Any other exception becomes a 500 that contains only the correlation id, or a 503 with
    Retry-After if a dependency was overloaded or did not answer; the log line has the details. A GET that finds something gets an
    ETag, and 304 if the client has it already.
    """

    @functools.wraps(handler)
    def respond(event: ApiEvent, _context: LambdaContext) -> Response:
        correlation_id = correlation_id_of(event) or ""
        try:
            response = handler(event)
        except Problem as problem:
            fields = {"reason": problem.reason} if problem.reason else {}
            log_refusal(warn=bool(problem.reason), problem=problem.document["type"], outcome=problem.status, **fields)
            response = _problem(problem)
            if "http" in event["requestContext"]:
                measure(metrics.WEBHOOK_REFUSALS, 1, reason=problem.code)
        except Exception as error:  # noqa: BLE001 - the client gets an answer, the log the exception
            logger.exception("request_failed")
            response = _problem(_fault(error, correlation_id))
        response = _revalidated(event, response)
        response["headers"] |= _cors_headers(event) | {"x-correlation-id": correlation_id}
        return response

    return instrumented(respond)


def known_to_client(event: ApiEvent, tag: str) -> bool:
    """Return whether the request's If-None-Match has the entity tag; tags are compared weakly (RFC 9110, 13.1.2)."""
    known = header(event, "If-None-Match") or ""
    return known.strip() == "*" or tag.removeprefix("W/") in {one.strip().removeprefix("W/") for one in known.split(",")}


def _revalidated(event: ApiEvent, response: Response) -> Response:
    headers = response["headers"]
    if event.get("httpMethod") != "GET" or response["statusCode"] != 200 or headers.get("cache-control") != _NOT_STORED:  # noqa: PLR2004
        return response
    # Weak, because API Gateway may compress the body.
    tag = f'W/"{sha256(response["body"].encode()).hexdigest()[:16]}"'
    headers |= {"etag": tag, "cache-control": "private, no-cache"}
    if known_to_client(event, tag):
        del headers["content-type"]
        return {"statusCode": 304, "headers": headers, "body": ""}
    return response


def _cors_headers(event: ApiEvent) -> dict[str, str]:
    """Return the headers by which a browser lets a page of the allowed origin read the answer; empty for other clients."""
    if header(event, "Origin") is None:
        return {}
    return {"access-control-allow-origin": ALLOWED_ORIGIN, "access-control-expose-headers": _EXPOSED_HEADERS}


def _fault(error: Exception, correlation_id: str) -> Problem:
    if isinstance(error, TransactionConflict) or _is_overload(error):
        unavailable = Problem(503, "unavailable", "Unavailable", "the service is overloaded; repeat the same request in a moment")
        unavailable.headers["retry-after"] = "1"
        return unavailable
    return Problem(500, "internal", "Internal error", f"something failed here; quote {correlation_id} when asking")


def _is_overload(error: Exception) -> bool:
    # Errors of botocore, which a function without clients does not import.
    response: dict[str, Any] = getattr(error, "response", None) or {}
    kinds = {kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "botocore.exceptions"}
    return response.get("Error", {}).get("Code") in _OVERLOAD or not _NO_ANSWER.isdisjoint(kinds)


def _problem(problem: Problem) -> Response:
    return _response(problem.status, problem.document, "application/problem+json", problem.headers)


def _response(status: int, body: Any, content_type: str, headers: dict[str, str]) -> Response:
    return {
        "statusCode": status,
        "headers": {"content-type": content_type, "cache-control": _NOT_STORED, **headers},
        "body": msgspec.json.encode(body).decode(),
    }
