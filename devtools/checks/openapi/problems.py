"""Every problem (RFC 9457) of the API, by the step that reports it."""

from dataclasses import dataclass
from typing import Any

from orderflow.aws.http import MAX_BODY_BYTES, PROBLEM_BASE
from orderflow.aws.paging import MAX_LIMIT
from orders.api_models import MAX_KEY_LENGTH
from orders.domain.unpaid_limits import MAX_UNITS


@dataclass(frozen=True)
class Problem:
    """A kind of problem: the last part of its type, its HTTP status and title, and an example detail."""

    code: str
    status: int
    title: str
    detail: str
    members: tuple[tuple[str, Any], ...] = ()

    def document(self) -> dict[str, Any]:
        """Return an example."""
        kind = {"type": PROBLEM_BASE + self.code, "title": self.title, "status": self.status, "detail": self.detail}
        return kind | dict(self.members)


GENERAL = (
    Problem("unauthorized", 401, "Unauthorized", "send a valid, unexpired bearer token"),
    Problem("forbidden", 403, "Forbidden", "the token does not allow this"),
    Problem("too-many-requests", 429, "Too many requests", "wait a moment, then repeat the request with the same Idempotency-Key"),
    Problem("internal", 500, "Internal error", "something failed here; quote 3f1c0c1e-2f7a-4f0e-9b6e-0d6f3f0b7c11 when asking"),
    Problem("unavailable", 503, "Unavailable", "the service is overloaded; repeat the same request in a moment"),
)
WITHOUT_TOKEN = tuple(problem for problem in GENERAL if problem.status not in {401, 403})
KEYED = (
    Problem(
        "idempotency-key-missing",
        400,
        "Idempotency-Key missing",
        "send an Idempotency-Key header, the same one whenever you repeat this request",
    ),
    Problem(
        "idempotency-key-invalid",
        400,
        "Idempotency-Key invalid",
        f"an Idempotency-Key has 1 to {MAX_KEY_LENGTH} printable ASCII characters",
    ),
)
SENDING = (
    Problem("malformed-body", 400, "Malformed body", "the body is not base64: Incorrect padding"),
    Problem("malformed-json", 400, "Malformed JSON", "the body must be JSON in UTF-8: JSON is malformed: invalid character (byte 1)"),
    Problem("body-too-large", 413, "Body too large", f"a body may have {MAX_BODY_BYTES} bytes at most"),
    Problem(
        "invalid-request",
        422,
        "Invalid request",
        "$.lines[0].quantity: expected `int` >= 1",
        (
            ("field", "$.lines[0].quantity"),
            (
                "errors",
                [
                    {"field": "$.lines[0].quantity", "detail": "expected `int` >= 1"},
                    {"field": "$.payment.token", "detail": "expected `str` of length >= 1"},
                ],
            ),
        ),
    ),
)
QUANTITIES = (Problem("quantity-too-large", 422, "Quantity too large", "1500 units of MUG-BLUE were requested; the limit is 999"),)
PLACING = (
    *KEYED,
    *SENDING,
    Problem("quantity-too-large", 422, "Quantity too large", f"150 units of MUG-BLUE were requested; the limit is {MAX_UNITS}"),
    Problem(
        "unpaid-limit-reached",
        409,
        "Unpaid limit reached",
        f"at most {MAX_UNITS} of a product may be unpaid: MUG-BLUE (80 unpaid, 40 more requested); order fewer, wait until your "
        "orders are paid, or cancel some",
        (("unpaid_orders", ["ord_aaaaaaaaaaaaaaaaaaaaaaaaaa"]), ("declined_orders", []), ("skus", ["MUG-BLUE"])),
    ),
    Problem(
        "price-changed",
        409,
        "Price changed",
        "the order costs EUR 29.90 now; confirm the new price and send it as expected_total",
        (
            ("total", {"amount": 2990, "currency": "EUR"}),
            ("lines", [{"sku": "MUG-BLUE", "name": "Blue mug", "quantity": 2, "unit_price": {"amount": 1495, "currency": "EUR"}}]),
        ),
    ),
    Problem("email-missing", 403, "Email missing", "sign in with a token that has a verified email address for the emails about the order"),
    Problem(
        "email-undeliverable",
        403,
        "Email undeliverable",
        "email about the order could not be sent: the part after the @ is not a domain name",
    ),
    Problem("unknown-sku", 422, "Unknown sku", "not in the catalogue: MUG-GREEN", (("skus", ["MUG-GREEN"]),)),
    Problem("mixed-currencies", 422, "Mixed currencies", "one order has one currency, not EUR and USD"),
    Problem("nothing-to-pay", 422, "Nothing to pay", "the order costs EUR 0.00; add a product that costs something"),
    Problem(
        "price-not-chargeable",
        422,
        "Price not chargeable",
        "VASE at MGA 100.50: providers charge multiples of MGA 1.00",
        (("skus", ["VASE"]),),
    ),
    Problem(
        "idempotency-key-reused",
        422,
        "Idempotency-Key reused",
        "this Idempotency-Key belongs to an order with other contents; use a new key for a new order",
    ),
)
CANCELLING = (
    Problem("not-cancellable", 409, "Not cancellable", "everything of this order was dispatched; you can return it after delivery"),
)
RETURNING = (
    Problem(
        "not-returnable",
        409,
        "Not returnable",
        "only delivered lines that are not in another return can be returned",
    ),
)
REUSED = (
    Problem(
        "idempotency-key-reused",
        422,
        "Idempotency-Key reused",
        "this Idempotency-Key belongs to a return with other contents; use a new key for a new return",
    ),
)
PARAMETER = Problem("parameter-invalid", 400, "Parameter invalid", f"limit: a whole number from 1 to {MAX_LIMIT}", (("field", "limit"),))
PAGING = (
    PARAMETER,
    Problem(
        "cursor-invalid",
        400,
        "Cursor invalid",
        "send the `next` of the page before, with the same token and filter, or no cursor for the first page",
    ),
)
ANALYSING = (Problem("parameter-invalid", 400, "Parameter invalid", "per: minute or day", (("field", "per"),)),)
READING = (Problem("order-not-found", 404, "Order not found", "order not found: check the id, and that the token is its customer's"),)
FINDING = (Problem("product-not-found", 404, "Product not found", "product not found: GET /products lists the products for sale"),)
# Responses of API Gateway for unknown routes, and of the webhooks' function URLs: they belong to no route.
ELSEWHERE = (
    Problem("signature-invalid", 401, "Signature invalid", "the signature is not of this body and time under our secret"),
    Problem("no-such-route", 404, "No such route", "/openapi.json lists the routes"),
    Problem("method-not-allowed", 405, "Method not allowed", "send messages by POST"),
)
