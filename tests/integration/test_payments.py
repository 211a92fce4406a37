"""Payments follow dispatches, losses, returns and cancellations, and record the provider's webhooks."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import cached_property
from uuid import uuid4

import pytest

from devtools import web
from devtools.local.api_client import order_body
from devtools.local.carrier import Carrier
from devtools.ops import function_logs
from devtools.target import Target
from devtools.web import Answer
from orderflow.aws.webhooks import signed_headers
from orderflow.domain import events
from orderflow.domain.events import EventData
from orderflow.domain.money import Money
from payments.domain import payment_keys
from payments.provider import Authorized, Voided
from payments.sandbox.provider import SandboxProvider
from tests.integration.deployed_stack import DeployedStack, eventually, postings

# A secret of Standard Webhooks is base64.
ANOTHER_SECRET = "YW5vdGhlciBzZWNyZXQ="
PRICE, OTHER_PRICE = 1250, 490
# A short visibility timeout: the template's 180 s would delay the retry of an early message.
VISIBILITY_SECONDS = 8
SAGA_SECONDS = 60.0


@dataclass
class Provider:
    """The sandbox payment provider of a target and its webhooks."""

    target: Target

    @cached_property
    def sandbox(self) -> SandboxProvider:
        return SandboxProvider(self.target.resources["SandboxPayments"], self.target.client("dynamodb"))

    @cached_property
    def secret(self) -> str:
        name = self.target.resources["PaymentsWebhookSecret"]
        return self.target.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]

    def payment(self, order_id: str) -> Authorized | Voided:
        """The provider's payment of an order."""
        payment = self.sandbox.look_up(payment_keys.payment_key(order_id))
        assert isinstance(payment, Authorized | Voided), payment
        return payment

    def moved(self, order_id: str) -> tuple[int, int]:
        """The captured and the refunded amount of an order (minor units)."""
        payment = self.payment(order_id)
        return payment.captured, payment.refunded

    def send_event(self, order_id: str, kind: str, **more: object) -> bytes:
        """Post a webhook event about an order's payment, check that it is accepted, and return it."""
        message = {"message_id": f"msg_{uuid4().hex}", "type": kind, "payment": payment_keys.payment_key(order_id)}
        body = json.dumps(message | more).encode()
        answer = self.post(body)
        assert answer.status == 202, answer
        return body

    def post(self, body: bytes, secret: str = "", age: int = 0) -> Answer:
        """Post a body, signed `age` seconds ago with the stack's secret or another one."""
        url, host = self.target.function_url("PaymentsWebhookUrl")
        headers = {"Content-Type": "application/json"} | signed_headers(secret or self.secret, "msg_1", body, int(time.time()) - age)
        return web.call("POST", url, headers=headers | host, body=body, timeout=60)


@pytest.fixture
def carrier(stack: DeployedStack) -> Carrier:
    return Carrier(stack.target, timeout=60)


@pytest.fixture
def provider(stack: DeployedStack) -> Provider:
    return Provider(stack.target)


def wait_for_events[T: EventData](
    stack: DeployedStack, order_id: str, kind: type[T], count: int = 1, *, within: float | None = None
) -> list[T]:
    """Wait until the log has `count` events of a type, and return their data."""
    return eventually(
        lambda: [event.data for event in stack.log(order_id) if isinstance(event.data, kind)],
        lambda found: len(found) == count,
        within=within or stack.patience,
        what=f"{count} {kind.__name__} of {order_id}",
    )


def requested(stack: DeployedStack, customer: str, *lines: tuple[str, int], token: str = "tok_approved") -> str:
    """The id of an order of these lines whose shipment is requested."""
    order_id = stack.accept(customer, order_body(*lines, payment=token))
    wait_for_events(stack, order_id, events.ShipmentRequested, within=stack.patience + SAGA_SECONDS)
    return order_id


def posted(stack: DeployedStack, order_id: str, kind: str) -> list[tuple[str, int]]:
    """Wait for the order's only entry of an event type, and return its postings."""
    (entry,) = eventually(
        lambda: [one for one in stack.entries(order_id).values() if one["type"]["S"] == kind],
        within=stack.patience,
        what=f"the entry of {kind}",
    )
    return postings(entry)


def logged_about(stack: DeployedStack, function: str, order_id: str) -> set[str]:
    """Return a function's log lines about an order."""
    lines = function_logs.read(stack.target, [stack.target.resources[function]])
    return {line.fields.get("message", "") for line in lines if order_id in line.text}


def wait_for_report(stack: DeployedStack, order_id: str, what: str) -> None:
    """Wait for a log line of the nightly reconciliation about an order."""
    eventually(lambda: logged_about(stack, "PaymentsReconcile", order_id), lambda lines: what in lines, within=stack.patience, what=what)


def test_each_parcel_is_captured_on_dispatch(stack: DeployedStack, carrier: Carrier, provider: Provider):
    sku, other = stack.product(price=PRICE), stack.product(price=OTHER_PRICE)
    order_id = requested(stack, stack.customer(), (sku, 2), (other, 1))

    first = carrier.dispatch(order_id, [(sku, 1)])
    wait_for_events(stack, order_id, events.PaymentCaptured)
    assert provider.moved(order_id) == (PRICE, 0)
    second = carrier.dispatch(order_id)

    captures = wait_for_events(stack, order_id, events.PaymentCaptured, 2)
    assert [(one.parcel_id, one.amount.amount) for one in captures] == [(first, PRICE), (second, PRICE + OTHER_PRICE)]
    payment = provider.payment(order_id)
    assert isinstance(payment, Authorized)
    assert payment.captured == payment.amount.amount == 2 * PRICE + OTHER_PRICE
    assert {one.capture_id for one in payment.captures} == {one.capture_id for one in captures}


def test_lost_parcel_is_refunded(stack: DeployedStack, carrier: Carrier, provider: Provider):
    sku = stack.product(price=PRICE)
    order_id = requested(stack, stack.customer(), (sku, 2))
    lost, _ = carrier.dispatch(order_id, [(sku, 1)]), carrier.dispatch(order_id)
    wait_for_events(stack, order_id, events.PaymentCaptured, 2)

    carrier.lose(order_id, lost)

    [refund] = wait_for_events(stack, order_id, events.PaymentRefunded)
    assert (refund.cause, refund.amount) == (f"parcel:{lost}", Money(PRICE, "EUR"))
    assert provider.moved(order_id) == (2 * PRICE, PRICE)


def test_received_return_is_refunded_once(stack: DeployedStack, carrier: Carrier, provider: Provider):
    customer, sku = stack.customer(), stack.product(price=PRICE)
    order_id = requested(stack, customer, (sku, 3))
    carrier.deliver(order_id, carrier.dispatch(order_id))
    wait_for_events(stack, order_id, events.ShipmentDelivered, within=stack.patience + SAGA_SECONDS)
    answer = stack.shop.create_return(customer, order_id, {"lines": [{"sku": sku, "quantity": 1}], "reason": "too small"})
    assert answer.status == 201, answer

    carrier.receive_return(order_id, return_id := answer.json()["return_id"])

    [refund] = wait_for_events(stack, order_id, events.PaymentRefunded)
    assert (refund.cause, refund.amount) == (f"return:{return_id}", Money(PRICE, "EUR"))
    assert provider.moved(order_id) == (3 * PRICE, PRICE)


def test_cancelled_rest_of_a_dispatched_order_is_voided(stack: DeployedStack, carrier: Carrier, provider: Provider):
    customer, sku, other = stack.customer(), stack.product(price=PRICE), stack.product(price=OTHER_PRICE)
    order_id = requested(stack, customer, (sku, 2), (other, 1))
    carrier.dispatch(order_id, [(sku, 1)])
    wait_for_events(stack, order_id, events.ShipmentDispatched)

    assert stack.shop.cancel(customer, order_id).status == 202

    wait_for_events(stack, order_id, events.OrderLinesCancelled, within=stack.patience + SAGA_SECONDS)
    [voided] = wait_for_events(stack, order_id, events.PaymentVoided)
    assert voided.amount == Money(PRICE + OTHER_PRICE, "EUR")
    payment = provider.payment(order_id)
    assert isinstance(payment, Voided)
    assert (payment.captured, payment.refunded) == (PRICE, 0)
    assert posted(stack, order_id, "PaymentVoided") == [("holds", PRICE + OTHER_PRICE), ("authorizations", -PRICE - OTHER_PRICE)]


def test_dispute_is_logged_and_posted(stack: DeployedStack, carrier: Carrier, provider: Provider):
    order_id = requested(stack, stack.customer(), (stack.product(price=PRICE), 1))
    carrier.dispatch(order_id)
    wait_for_events(stack, order_id, events.PaymentCaptured)
    amount = {"amount": PRICE, "currency": "EUR"}

    created = provider.send_event(order_id, "dispute.created", dispute_id="dp_1", amount=amount, reason="not received")
    [dispute] = wait_for_events(stack, order_id, events.PaymentDisputed)
    provider.send_event(order_id, "dispute.closed", dispute_id="dp_1", outcome="lost")
    [closed] = wait_for_events(stack, order_id, events.DisputeClosed)
    assert provider.post(created).status == 202
    stack.queue_drained("PaymentsNoticeQueue")

    assert (dispute.amount, dispute.reason, closed.outcome) == (Money(PRICE, "EUR"), "not received", "lost")
    assert posted(stack, order_id, "PaymentDisputed") == [("disputes", PRICE), ("clearing", -PRICE)]
    assert posted(stack, order_id, "DisputeClosed") == [("losses", PRICE), ("disputes", -PRICE)]
    assert len(wait_for_events(stack, order_id, events.PaymentDisputed)) == 1


def test_unsigned_provider_webhook_is_refused(provider: Provider):
    message = {"message_id": "msg_1", "type": "authorization.expired", "payment": payment_keys.payment_key("ord_1")}
    body = json.dumps(message).encode()

    assert provider.post(body, ANOTHER_SECRET).status == 401
    assert "300 seconds" in provider.post(body, age=400).json()["detail"]


def test_early_provider_webhook_is_processed_later(stack: DeployedStack, carrier: Carrier, provider: Provider):
    order_id = requested(stack, stack.customer(), (stack.product(price=PRICE), 1))
    amount = {"amount": PRICE, "currency": "EUR"}

    with stack.with_visibility_timeout("PaymentsNoticeQueue", VISIBILITY_SECONDS):
        provider.send_event(order_id, "dispute.closed", dispute_id="dp_1", outcome="won")
        eventually(
            lambda: logged_about(stack, "PaymentsNotice", order_id),
            lambda lines: "message_failed" in lines,
            within=stack.patience,
            what="the early message failed",
        )
        provider.send_event(order_id, "dispute.created", dispute_id="dp_1", amount=amount, reason="not received")
        wait_for_events(stack, order_id, events.DisputeClosed, within=stack.patience + 5 * VISIBILITY_SECONDS)


def test_dispute_in_another_currency_that_is_lost_on_appeal_is_booked(stack: DeployedStack, carrier: Carrier, provider: Provider):
    order_id = requested(stack, stack.customer(), (stack.product(price=PRICE), 1))
    carrier.dispatch(order_id)
    wait_for_events(stack, order_id, events.PaymentCaptured)

    provider.send_event(order_id, "dispute.created", dispute_id="dp_1", amount={"amount": 1420, "currency": "USD"}, reason="fraudulent")
    [dispute] = wait_for_events(stack, order_id, events.PaymentDisputed)
    provider.send_event(order_id, "dispute.closed", dispute_id="dp_1", outcome="won", at="2026-02-02T09:00:00Z")
    wait_for_events(stack, order_id, events.DisputeClosed)
    provider.send_event(order_id, "dispute.closed", dispute_id="dp_1", outcome="lost", at="2026-03-02T09:00:00Z")
    [changed] = wait_for_events(stack, order_id, events.DisputeOutcomeChanged)

    assert (dispute.amount, dispute.disputed) == (Money(PRICE, "EUR"), Money(1420, "USD"))
    assert (changed.before, changed.after) == ("won", "lost")
    assert posted(stack, order_id, "DisputeOutcomeChanged") == [("losses", PRICE), ("clearing", -PRICE)]


def test_refund_that_fails_later_is_paid_again(stack: DeployedStack, carrier: Carrier, provider: Provider):
    order_id = requested(stack, stack.customer(), (stack.product(price=PRICE), 1), token="tok_refund_fails_later")
    parcel = carrier.dispatch(order_id)
    carrier.lose(order_id, parcel)
    wait_for_events(stack, order_id, events.PaymentRefunded, within=stack.patience + SAGA_SECONDS)
    provider.sandbox.conclude_refunds(payment_keys.payment_key(order_id))

    provider.send_event(order_id, "refund.failed", key=payment_keys.refund_key(order_id, f"parcel:{parcel}"))

    wait_for_events(stack, order_id, events.PaymentRefunded, 2)
    refunds = [event.type for event in stack.log(order_id) if event.type.startswith("PaymentRefund")]
    assert refunds == ["PaymentRefunded", "PaymentRefundReversed", "PaymentRefunded"]
    assert posted(stack, order_id, "PaymentRefundReversed") == [("clearing", PRICE), ("refunds", -PRICE)]
    assert provider.moved(order_id) == (PRICE, PRICE)


def test_reconciliation_finds_no_difference_for_a_matching_order(stack: DeployedStack, carrier: Carrier):
    order_id = requested(stack, stack.customer(), (stack.product(price=PRICE), 1))
    carrier.lose(order_id, carrier.dispatch(order_id))
    wait_for_events(stack, order_id, events.PaymentRefunded, within=stack.patience + SAGA_SECONDS)

    assert stack.invoke("PaymentsReconcile", {})["compared"] >= 1

    assert logged_about(stack, "PaymentsReconcile", order_id) == set()


def test_reconciliation_records_a_capture_missing_in_the_log(stack: DeployedStack, carrier: Carrier, provider: Provider):
    order_id = requested(stack, stack.customer(), (stack.product(price=PRICE), 1))
    with stack.rule_without_targets("PaymentsSettleRule"):
        parcel = carrier.dispatch(order_id)
        wait_for_events(stack, order_id, events.ShipmentDispatched)
        key = payment_keys.capture_key(order_id, parcel)
        taken = provider.sandbox.capture(payment_keys.payment_key(order_id), key, Money(PRICE, "EUR"))
        assert not [event for event in stack.log(order_id) if event.type == "PaymentCaptured"]

        assert stack.invoke("PaymentsReconcile", {})["repaired"] >= 1

    [captured] = wait_for_events(stack, order_id, events.PaymentCaptured)
    assert (captured.capture_id, captured.amount) == (taken.capture_id, Money(PRICE, "EUR"))
    assert provider.moved(order_id) == (PRICE, 0)
    wait_for_report(stack, order_id, "payment_repaired")


def test_reconciliation_reports_a_capture_without_dispatch(stack: DeployedStack, provider: Provider):
    order_id = requested(stack, stack.customer(), (stack.product(price=PRICE), 1))
    provider.sandbox.capture(payment_keys.payment_key(order_id), f"{order_id}:by-hand", Money(PRICE, "EUR"))

    assert stack.invoke("PaymentsReconcile", {})["different"] >= 1

    wait_for_report(stack, order_id, "payment_differs")
    assert "PaymentCaptured" not in {event.type for event in stack.log(order_id)}
