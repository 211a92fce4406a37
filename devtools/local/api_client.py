"""The API as customers use it, and the emails that it sends."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from devtools import web
from devtools.local import seed
from devtools.target import Target
from devtools.trial import users
from devtools.web import Answer

FINAL_STATES = frozenset({"confirmed", "rejected", "cancelled", "held"})
ADDRESS = {"name": "Ann Lee", "street": "1 High St", "city": "Leeds", "postal_code": "LS1 1AA", "country": "GB"}


def order_body(*lines: tuple[str, int], payment: str = "tok_approved", ship_to: str = "GB", pay_from: str = "GB") -> dict[str, Any]:
    """Return the body of an order: lines of sku and quantity, a payment token, the countries of shipping and payment."""
    return {
        "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines],
        "shipping_address": ADDRESS | {"country": ship_to},
        "payment": {"token": payment, "country": pay_from},
    }


@dataclass
class ApiClient:
    """The API of a target. A call times out after `timeout` seconds and raises OSError or HTTPException without an answer.

    Calls without an answer and with a 5xx are repeated for `patience` seconds. A customer whose token `tokens` does not have is signed in.
    """

    target: Target
    timeout: float = web.TIMEOUT
    patience: float = 0.0
    tokens: dict[str, str] = field(default_factory=dict[str, str])

    def token(self, customer: str) -> str:
        """Return a customer's bearer token, the same one for every call."""
        if customer not in self.tokens:
            self.tokens[customer] = users.sign_in(self.target, customer, seed.GROUPS.get(customer, ())).token
        return self.tokens[customer]

    def call(self, method: str, path: str, customer: str | None, *, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request, with a customer's token or without one; header names have underscores for hyphens."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if customer:
            sent["Authorization"] = f"Bearer {self.token(customer)}"
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        url = self.target.api_url(path)
        return web.with_retries(lambda: web.call(method, url, headers=sent, body=body, timeout=self.timeout), self.patience)

    def place(self, customer: str | None, body: dict[str, Any] | bytes, key: str | None = None) -> Answer:
        """POST /orders with an Idempotency-Key, a new one by default; an empty key sends no header."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {} if key == "" else {"Idempotency_Key": key or str(uuid4())}
        return self.call("POST", "/orders", customer, body=raw, **headers)

    def cancel(self, customer: str, order_id: str, body: dict[str, Any] | bytes | None = None) -> Answer:
        """POST /orders/{order_id}/cancellation."""
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return self.call("POST", f"/orders/{order_id}/cancellation", customer, body=raw)

    def create_return(self, customer: str, order_id: str, body: dict[str, Any], key: str | None = None) -> Answer:
        """POST /orders/{order_id}/returns with an Idempotency-Key, a new one by default."""
        raw = json.dumps(body).encode()
        return self.call("POST", f"/orders/{order_id}/returns", customer, body=raw, Idempotency_Key=key or str(uuid4()))

    def order(self, customer: str, order_id: str) -> Answer:
        """GET /orders/{order_id}."""
        return self.call("GET", f"/orders/{order_id}", customer)

    def events(self, customer: str, order_id: str) -> list[dict[str, Any]]:
        """Return an order's events, oldest first; none while the API does not return them."""
        answer = self.call("GET", f"/orders/{order_id}/events", customer)
        return answer.json().get("events", []) if answer.status == 200 else []


def state_of(events: list[dict[str, Any]]) -> str:
    """Return the state after an order's events: placed, held, confirmed, cancelling, cancelled or `rejected: reason`."""
    for event in reversed(events):
        match event["type"]:
            case "OrderConfirmed" | "CancellationFailed" | "OrderLinesCancelled":
                return "confirmed"
            case "CancellationRequested":
                return "cancelling"
            case "OrderCancelled":
                return "cancelled"
            case "OrderRejected":
                return f"rejected: {event['data'].get('reason', '?')}"
            case "OrderHeldForReview":
                return "held"
            case "OrderReviewApproved" | "OrderReviewRejected":
                return "placed"
            case _:
                pass
    return "placed"


def is_final(state: str) -> bool:
    """Return whether only a customer, reviewer or carrier can change this state."""
    return state.partition(":")[0] in FINAL_STATES


def emails(target: Target) -> list[dict[str, Any]]:
    """Return the emails that the target's SES accepted: each with Source, To (addresses), Subject, BodyText."""
    if target.backend == "embedded":
        inbox = f"{target.endpoint}/_ministack/ses/messages"
        boxes = web.with_retries(lambda: web.call("GET", inbox), web.TIMEOUT).json().get("messages", {})
        return [email for box in boxes.values() for email in box]
    sent = web.call("GET", f"{target.endpoint}/_aws/ses").json().get("messages", [])
    return [_email(message) for message in sent]


def _email(sent: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = sent.get("Body") or {}
    destination: dict[str, Any] = sent.get("Destination") or {}
    return {
        "Source": sent.get("Source", ""),
        "To": destination.get("ToAddresses", []),
        "Subject": sent.get("Subject", ""),
        "BodyText": body.get("text_part", ""),
        "BodyHtml": body.get("html_part"),
    }


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.1) -> bool:
    """Poll until the condition holds or the time is over; return whether it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
