"""HTTP answers of the API: JSON, and problem details (RFC 9457) for errors."""

from __future__ import annotations

import base64
import functools
import time
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import msgspec
from msgspec import Struct

from orderflow.aws.observability import correlation_of, logger, measure, observed, refused
from orderflow.domain import documents, metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.typing import LambdaContext


class Authorizer(TypedDict, total=False):
    """What the authorizer passes on about the caller; API Gateway makes strings of all values."""

    customer_id: str
    email: str
    groups: str
    expires_at: str


class Http(TypedDict):
    """How a function URL was called."""

    method: str


class RequestContext(TypedDict):
    """The part of a request's context that is used here; only that of a function URL has `http`."""

    requestId: str
    authorizer: NotRequired[Authorizer | None]
    http: NotRequired[Http]


class ApiEvent(TypedDict):
    """The request of a proxy integration, as far as it is used here.

    A function URL's event has the same headers, body and requestId.
    """

    resource: str
    path: NotRequired[str]
    headers: dict[str, str] | None
    pathParameters: NotRequired[dict[str, str] | None]
    queryStringParameters: NotRequired[dict[str, str] | None]
    body: NotRequired[str | None]
    isBase64Encoded: NotRequired[bool]
    requestContext: RequestContext


PROBLEM_BASE = "urn:order-pipeline:problem:"
MAX_BODY_BYTES = 64 * 1024


class Response(TypedDict):
    """The answer of a proxy integration."""

    statusCode: int
    headers: dict[str, str]
    body: str
    isBase64Encoded: NotRequired[bool]


class Problem(Exception):
    """An answer that says what was wrong with a request.

    `code` names the kind of problem and never changes; `detail` says what to do about this one;
    `members` are further fields of the document. With a `reason` its log line is a warning that names it.
    """

    def __init__(self, status: int, code: str, title: str, detail: str, **members: Any) -> None:
        """Describe one problem."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.reason = ""
        self.headers: dict[str, str] = {}
        self.document = {"type": PROBLEM_BASE + code, "title": title, "status": status, "detail": detail, **members}


class Caller(Struct, frozen=True):
    """Who is calling, as the authorizer found it in the token."""

    customer_id: str
    email: str
    groups: frozenset[str]


def answer(status: int, body: Any, **headers: str) -> Response:
    """Return `body` as a JSON answer; `headers` are given with underscores for hyphens."""
    return _response(status, body, "application/json", {name.replace("_", "-"): value for name, value in headers.items()})


def caller(event: ApiEvent) -> Caller:
    """Return who is calling.

    API Gateway caches what the authorizer said, so a token may have expired since: that is checked
    again here.

    Raises:
        Problem: 401 for an unknown caller or an expired token.
    """
    known = event["requestContext"].get("authorizer") or Authorizer()
    customer_id = known.get("customer_id")
    if not customer_id or float(known.get("expires_at") or 0) <= time.time():
        raise Problem(401, "unauthorized", "Unauthorized", "send a valid, unexpired bearer token")
    groups = (known.get("groups") or "").split(",")
    return Caller(customer_id, known.get("email") or "", frozenset(filter(None, groups)))


def header(event: ApiEvent, name: str) -> str | None:
    """Return the value of a request header, its name in any case."""
    for key, value in (event.get("headers") or {}).items():
        if key.lower() == name.lower():
            return value
    return None


def only_post(event: ApiEvent) -> None:
    """Refuse what a function URL, which takes any method, hands on beside POST; each of API Gateway's routes is of one method.

    Raises:
        Problem: 405.
    """
    http = event["requestContext"].get("http")
    if http and http["method"] != "POST":
        refused = Problem(405, "method-not-allowed", "Method not allowed", "send messages by POST")
        refused.headers["allow"] = "POST"
        raise refused


def body_of(event: ApiEvent) -> bytes:
    """Return a request's body as it was sent; empty where there is none.

    Raises:
        Problem: 400 for what arrives as base64 and is none.
    """
    body: str = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return body.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except ValueError as error:
        raise Problem(400, "malformed-body", "Malformed body", f"the body is not base64: {error}") from None


def decoded[A](body: bytes, kind: type[A]) -> A:
    """Return the document of type `kind` that a body holds, as `document_of` and `shaped` do, and raise what they raise."""
    return shaped(document_of(body), kind)


def document_of(body: bytes) -> Any:
    """Return the parsed document that a body holds.

    Raises:
        Problem: 413 over 64 KB, 400 for invalid UTF-8 or JSON (`orderflow.domain.documents`).
    """
    if len(body) > MAX_BODY_BYTES:
        raise Problem(413, "body-too-large", "Body too large", f"a body may have {MAX_BODY_BYTES} bytes at most")
    try:
        return documents.parse(body.decode())
    except (documents.Malformed, UnicodeDecodeError) as error:
        raise Problem(400, "malformed-json", "Malformed JSON", f"the body must be JSON in UTF-8: {error}") from None


def shaped[A](document: Any, kind: type[A]) -> A:
    """Return a parsed document as a `kind`, its texts trimmed and in NFC.

    Raises:
        Problem: 422 for another shape, or characters that are no text. `errors` has every field that is wrong, by its JSONPath;
            `field` and `detail` are of the first.
    """
    try:
        return documents.converted(documents.cleaned(document), kind, documents.unreadable(document))
    except documents.Invalid as invalid:
        errors = [{"field": field, "detail": what} for field, what in invalid.errors]
        field, what = invalid.errors[0]
        raise Problem(422, "invalid-request", "Invalid request", f"{field}: {what}", field=field, errors=errors) from None


def api(handler: Callable[[ApiEvent], Response]) -> Callable[[ApiEvent, LambdaContext], Response]:
    """Make a Lambda handler of a function from the event of API Gateway, or of a function URL, to an answer.

    A `Problem` becomes its document. Any other exception becomes a 500 with only the correlation id; the
    log line has the details.
    """

    @functools.wraps(handler)
    def respond(event: ApiEvent, _context: LambdaContext) -> Response:
        correlation_id = correlation_of(event) or ""
        try:
            response = handler(event)
        except Problem as problem:
            fields = {"reason": problem.reason} if problem.reason else {}
            refused(warn=bool(problem.reason), problem=problem.document["type"], outcome=problem.status, **fields)
            response = _problem(problem)
            if "http" in event["requestContext"]:
                measure(metrics.WEBHOOK_REFUSALS, 1, reason=problem.code)
        except Exception:  # noqa: BLE001 - the client gets an answer, the log the exception
            logger.exception("failed")
            response = _problem(Problem(500, "internal", "Internal error", f"something failed here; quote {correlation_id} when asking"))
        response["headers"]["x-correlation-id"] = correlation_id
        return response

    return observed(respond)


def _problem(problem: Problem) -> Response:
    return _response(problem.status, problem.document, "application/problem+json", problem.headers)


def _response(status: int, body: Any, content_type: str, headers: dict[str, str]) -> Response:
    return {
        "statusCode": status,
        "headers": {"content-type": content_type, "cache-control": "no-store", **headers},
        "body": msgspec.json.encode(body).decode(),
    }
