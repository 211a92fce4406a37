"""One order's trace: request, saga, consumers and emails under one trace id; each request of the carrier starts another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ledger.handlers import post_entries
from loyalty.handlers import award_points
from notifications.handlers import send_emails
from tests.fakes.aws.ses import FakeSes
from tests.faults.invariants import violations
from tests.faults.paths import PATHS, Stage, begin, finish
from tests.faults.simulation import STEPS, Functions, Handler, Simulation
from tests.support.runtime import CONTEXT
from tests.support.xray import xray_daemon

if TYPE_CHECKING:
    import pytest

TRACE_ID = "1-581cf771-a006649127e371903a2de979"
CARRIER_TRACE = "1-581cf772-a006649127e371903a2de979"
DELIVERED = next(path for path in PATHS if path.name == "delivered in two parcels")
# Functions with a sampled trace header, whose segments Lambda sends.
TRACED_BY_LAMBDA = {"OrdersPlace", "ShippingWebhook", *STEPS}
FURTHER = {
    "NotificationsMail": (send_emails.handler, {"OrderConfirmed", "ShipmentDispatched"}),
    "LedgerPost": (post_entries.handler, {"PaymentAuthorized", "PaymentCaptured"}),
    "LoyaltyAward": (award_points.handler, {"OrderConfirmed"}),
}


def invoked_as_on_aws(functions: Functions, monkeypatch: pytest.MonkeyPatch) -> Functions:
    """Return the functions with Lambda's trace header: a sampled one for requests and steps, none for the others."""

    def traced(name: str, handler: Handler) -> Handler:
        def invoke(event: Any, context: Any) -> Any:
            trace_id = CARRIER_TRACE if name == "ShippingWebhook" else TRACE_ID
            header = f"Root={trace_id};Parent=70de5b6f19ff9a0a;Sampled={int(name in TRACED_BY_LAMBDA)}"
            monkeypatch.setenv("_X_AMZN_TRACE_ID", header)
            monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", name)
            return handler(event, context)

        return invoke

    return Functions({name: traced(name, handler) for name, handler in functions.handlers.items()})


def consume(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> FakeSes:
    """Deliver the published events to the consumers that the simulation lacks; return the emails."""
    emails = FakeSes()
    simulation.aws.lend(ses=emails)
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "")
    for name, (handler, types) in FURTHER.items():
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", name)
        for entry in (one for one in simulation.aws.events.entries if one["DetailType"] in types):
            body = json.dumps({"detail-type": entry["DetailType"], "detail": json.loads(entry["Detail"])}, separators=(",", ":"))
            record = {"messageId": "1", "receiptHandle": "r", "body": body, "attributes": {"ApproximateReceiveCount": "1"}}
            assert handler({"Records": [record | {"eventSource": "aws:sqs"}]}, CONTEXT) == {"batchItemFailures": []}
    return emails


def test_trace_follows_an_order_over_stream_bus_and_queues(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = stage.simulation(DELIVERED)
    simulation.functions = invoked_as_on_aws(stage.functions, monkeypatch)
    with xray_daemon(monkeypatch) as segments:
        begin(simulation, DELIVERED)
        finish(simulation, DELIVERED)
        emails = consume(simulation, monkeypatch)
        found = segments()
    assert violations(simulation) == []
    names = {trace_id: {segment["name"] for segment in found if segment["trace_id"] == trace_id} for trace_id in (TRACE_ID, CARRIER_TRACE)}
    assert {segment["trace_id"] for segment in found} == set(names)
    assert names[TRACE_ID] == {"OrdersPublish", "ShippingRequest", "NotificationsMail", "LedgerPost", "LoyaltyAward"}
    assert names[CARRIER_TRACE] == {"OrdersPublish", "PaymentsSettle", "InventorySettle", "NotificationsMail", "LedgerPost"}
    assert len([segment for segment in found if segment["name"] == "NotificationsMail"]) == len(emails.sent) > 1
    # The parent of every segment is Lambda's segment or another one.
    ids = {segment["id"] for segment in found}
    assert {segment["parent_id"] for segment in found} <= ids | {"70de5b6f19ff9a0a"}
    [placed, *_] = simulation.aws.events.entries
    assert (placed["DetailType"], placed["TraceHeader"].partition(";")[0]) == ("OrderPlaced", f"Root={TRACE_ID}")


def test_order_that_is_not_sampled_sends_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = stage.simulation(DELIVERED)
    with xray_daemon(monkeypatch) as segments:
        begin(simulation, DELIVERED)
        consume(simulation, monkeypatch)
        assert segments() == []
    assert not any("TraceHeader" in entry for entry in simulation.aws.events.entries)
