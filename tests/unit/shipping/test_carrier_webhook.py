"""Carrier events: signature, recording, retries from the queue, and times."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from orderflow.aws.webhooks import Secret
from orderflow.domain.commands import RequestReturn, decide
from orderflow.domain.events import CustomerId, ShipmentReportContradicted, StockLine
from shipping.domain import carrier_events
from shipping.handlers import receive_webhook, retry_carrier_events
from shipping.shipments import UnknownShipment, order_id_of, shipment_id
from tests.conftest import ENVIRONMENT, ROOT
from tests.fakes.aws.dynamodb import Crash, throttled
from tests.support import webhooks
from tests.support.clock import recorded_at
from tests.support.orders import START
from tests.support.prepared import PREPARED, SAGA_STEPS, advance, place, prepare

EVENTS = ROOT / "events" / "shipping"
LOG = retry_carrier_events.LOG
ONE = [{"sku": "MUG-BLUE", "quantity": 1}]
TWO = [{"sku": "MUG-BLUE", "quantity": 2}]
type Deliver = Callable[..., bool]
type Post = Callable[[bytes], Any]
type Lines = Callable[[], list[dict[str, Any]]]


def samples(function: str) -> list[Path]:
    return sorted(path for path in (EVENTS / function).glob("*.json") if not path.stem.endswith(".answer"))


def message(kind: str, **more: Any) -> dict[str, Any]:
    return {"message_id": "msg_1", "type": kind, "shipment_id": shipment_id("ord_1"), "at": "2026-01-16T09:00:00Z"} | more


def carrier_event(kind: str, **more: Any) -> bytes:
    return json.dumps(message(kind, **more)).encode()


def failing(operation: str) -> Callable[[str, Any], None]:
    """Return a hook that throttles every call of this operation."""

    def before(called: str, _: Any) -> None:
        if called == operation:
            raise throttled(operation)

    return before


@pytest.fixture
def post(aws: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> Post:
    monkeypatch.setattr(receive_webhook, "SECRET", Secret("name", aws.secretsmanager))

    def call(body: bytes) -> Any:
        event: Any = {"headers": webhooks.headers(body), "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        return receive_webhook.handler(event | {"requestContext": {"requestId": "r"}}, context)

    return call


@pytest.fixture
def deliver(aws: Any, context: Any) -> Deliver:
    def call(kind: str, receives: int = 1, **more: Any) -> bool:
        body = json.dumps(message(kind, **more))
        attributes = {"ApproximateReceiveCount": str(receives)}
        one = {"messageId": "m", "receiptHandle": "r", "body": body, "attributes": attributes, "eventSource": "aws:sqs"}
        return not retry_carrier_events.handler({"Records": [one]}, context)["batchItemFailures"]

    return call


def confirmed() -> None:
    place(LOG)
    advance(LOG, "ord_1", *SAGA_STEPS)


def types() -> list[str]:
    return [event.type for event in LOG.history("ord_1")[len(SAGA_STEPS) + 1 :]]


class TestReceiveWebhook:
    @pytest.mark.parametrize("path", samples("receive_webhook"), ids=lambda path: path.stem)
    def test_every_sample_has_its_answer(self, path: Path, aws: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(receive_webhook, "SECRET", Secret("name", aws.secretsmanager))
        answer: Any = receive_webhook.handler(json.loads(path.read_text()), context)
        expected = json.loads(path.with_suffix(".answer.json").read_text())
        assert (answer["statusCode"], json.loads(answer["body"])) == (expected["statusCode"], expected["body"])
        assert aws.sqs.sent == {}

    def test_signed_event_is_recorded_by_one_read_and_one_write(self, post: Post, aws: Any) -> None:
        confirmed()
        post(carrier_event("dispatched", parcel_id="parcel_1", lines=TWO))
        aws.dynamodb.calls.clear()
        aws.secretsmanager.calls.clear()

        answer = post(carrier_event("delivered", parcel_id="parcel_1"))

        assert (answer["statusCode"], json.loads(answer["body"])) == (202, {"message_id": "msg_1"})
        assert (aws.dynamodb.calls, aws.sqs.calls, aws.secretsmanager.calls) == ({"Query": 1, "PutItem": 1}, {}, {})
        assert types() == ["ShipmentDispatched", "ShipmentDelivered"]

    def test_dispatch_of_goods_with_a_range_begins_their_watch(self, post: Post, deliver: Deliver, aws: Any) -> None:
        place(LOG, lines={"CHEESE-BRIE": 1, "MUG-BLUE": 2})
        advance(LOG, "ord_1", *SAGA_STEPS)
        brie = [{"sku": "CHEESE-BRIE", "quantity": 1}]
        post(carrier_event("dispatched", parcel_id="parcel_1", lines=brie))
        assert deliver("dispatched", parcel_id="parcel_1", lines=brie)
        assert deliver("dispatched", parcel_id="parcel_2", lines=TWO)
        assert set(aws.sqs.sent) == {receive_webhook.TRACK_QUEUE_URL}
        sent = aws.sqs.sent[receive_webhook.TRACK_QUEUE_URL]
        assert [message["parcel_id"] for message in sent] == ["parcel_1", "parcel_1"]

    @pytest.mark.parametrize("queue", [receive_webhook.TRACK_QUEUE_URL])
    def test_watch_begins_though_its_message_could_not_be_sent(self, post: Post, deliver: Deliver, aws: Any, queue: str) -> None:
        place(LOG, lines={"CHEESE-BRIE": 1})
        advance(LOG, "ord_1", *SAGA_STEPS)
        dispatch = {"parcel_id": "parcel_1", "lines": [{"sku": "CHEESE-BRIE", "quantity": 1}]}

        def refuse(operation: str, request: Any) -> None:
            if operation == "SendMessage" and request["QueueUrl"] == queue:
                raise throttled(operation)

        aws.sqs.before = refuse
        assert post(carrier_event("dispatched", **dispatch))["statusCode"] == 202
        assert not deliver("dispatched", **dispatch)
        aws.sqs.before = None
        assert deliver("dispatched", receives=2, **dispatch)
        assert types() == ["ShipmentDispatched"]
        assert len(aws.sqs.sent[queue]) == 1

    def test_repeated_event_changes_nothing(self, post: Post, aws: Any) -> None:
        confirmed()
        body = carrier_event("dispatched", parcel_id="parcel_1", lines=TWO)
        assert [post(body)["statusCode"] for _ in range(3)] == [202, 202, 202]
        assert (types(), aws.sqs.calls) == (["ShipmentDispatched"], {})

    @pytest.mark.parametrize(
        "body",
        [
            carrier_event("delivered", parcel_id="parcel_1"),
            carrier_event("returned", return_id="ret_1"),
            carrier_event("dispatched", parcel_id="parcel_1"),
            carrier_event("stolen", parcel_id="parcel_1"),
            carrier_event("lost", parcel_id="parcel_1", shipment_id=shipment_id("ord_2")),
            carrier_event("lost", parcel_id="parcel_1", shipment_id="foreign"),
        ],
        ids=["early", "not-allowed", "incomplete", "unknown-type", "unknown-order", "unknown-shipment"],
    )
    def test_event_that_cannot_be_recorded_is_queued_unchanged(self, post: Post, aws: Any, body: bytes) -> None:
        confirmed()
        assert post(body)["statusCode"] == 202
        assert aws.sqs.sent == {ENVIRONMENT["SHIPPING_RECORD_QUEUE_URL"]: [json.loads(body)]}
        assert types() == []

    @pytest.mark.parametrize("operation", ["Query", "PutItem"])
    def test_failing_order_log_leaves_the_event_to_the_queue(self, post: Post, aws: Any, operation: str) -> None:
        confirmed()
        aws.dynamodb.before = failing(operation)
        assert post(carrier_event("dispatched", parcel_id="parcel_1", lines=TWO))["statusCode"] == 202
        assert len(aws.sqs.sent[ENVIRONMENT["SHIPPING_RECORD_QUEUE_URL"]]) == 1

    def test_event_is_refused_if_neither_log_nor_queue_has_it(self, post: Post, aws: Any) -> None:
        confirmed()
        aws.dynamodb.before, aws.sqs.before = failing("Query"), failing("SendMessage")
        assert post(carrier_event("dispatched", parcel_id="parcel_1", lines=TWO))["statusCode"] == 503
        aws.dynamodb.before = aws.sqs.before = None
        assert (types(), aws.sqs.sent) == ([], {})

    def test_unsigned_event_makes_no_call_and_one_log_line(self, post: Post, aws: Any, context: Any, logged: Lines) -> None:
        confirmed()
        aws.dynamodb.calls.clear()
        event: Any = {"headers": {}, "body": carrier_event("dispatched", parcel_id="parcel_1", lines=TWO).decode()}
        assert receive_webhook.handler(event | {"requestContext": {"requestId": "r"}}, context)["statusCode"] == 401
        assert (aws.dynamodb.calls, aws.sqs.calls, aws.secretsmanager.calls) == ({}, {}, {})
        [line] = logged()
        assert (line["level"], line["reason"]) == ("WARNING", "the headers webhook-id, webhook-timestamp and webhook-signature are missing")
        assert "parcel_1" not in json.dumps(line)

    def test_function_url_requests_are_accepted(self, post: Post, aws: Any, context: Any) -> None:
        confirmed()
        event: Any = json.loads((EVENTS / "receive_webhook" / "unsigned.json").read_text())
        event["body"] = carrier_event("dispatched", parcel_id="parcel_1", lines=TWO).decode()
        event["headers"] |= webhooks.headers(event["body"].encode())
        assert receive_webhook.handler(event, context)["statusCode"] == 202
        assert types() == ["ShipmentDispatched"]

    def test_tracking_readings_go_to_their_own_queue(self, post: Post, aws: Any) -> None:
        post(carrier_event("in_transit"))
        assert list(aws.sqs.sent) == [ENVIRONMENT["SHIPPING_TRACK_QUEUE_URL"]]
        assert aws.dynamodb.calls == {}

    def test_characters_that_sqs_refuses_are_replaced(self, post: Post, aws: Any) -> None:
        body = json.dumps(message("delivered", driver="Z\x00o\ufffe\ud800"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        escaped = json.dumps(message("delivered", parcel_id="p", driver="Z\x00o\uffff\ud800")).encode()
        assert post(body)["statusCode"] == 400  # half a surrogate pair is no UTF-8
        assert post(escaped)["statusCode"] == 202
        [[stored]] = aws.sqs.sent.values()
        assert stored["driver"] == "Z\ufffdo\ufffd\ufffd"

    def test_characters_that_sqs_refuses_are_replaced_in_readings(self, post: Post, aws: Any) -> None:
        assert post(json.dumps(message("in_transit", driver="Z\x00o\uffff\ud800")).encode())["statusCode"] == 202
        [stored] = aws.sqs.sent[ENVIRONMENT["SHIPPING_TRACK_QUEUE_URL"]]
        assert stored["driver"] == "Z\ufffdo\ufffd\ufffd"

    @pytest.mark.parametrize("quantity", ["2.0", "2e0"])
    def test_whole_quantities_are_accepted_in_any_notation(self, post: Post, aws: Any, quantity: str) -> None:
        confirmed()
        body = carrier_event("dispatched", parcel_id="parcel_1", lines=TWO).replace(b'"quantity": 2', b'"quantity": ' + quantity.encode())
        assert quantity.encode() in body
        assert post(body)["statusCode"] == 202
        assert types() == ["ShipmentDispatched"]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b'{"message_id": ' + b"[" * 20_000, 400),
            (carrier_event("picked").replace(b"{", b'{"type": "lost", ', 1), 400),
            (b"no json", 400),
            (b"\xff", 400),
            (b'{"message_id": "1", "type": "picked", "x": "\xff"}', 400),
            (b"[]", 422),
            (b'{"type": "picked"}', 422),
        ],
    )
    def test_malformed_event_is_refused(self, post: Post, aws: Any, body: bytes, status: int) -> None:
        assert post(body)["statusCode"] == status
        assert aws.sqs.sent == {}


class TestEventTime:
    """An event has the carrier's time, also if late; an implausible time does not prevent its recording."""

    def test_late_delivery_event_counts_from_the_delivery(self, post: Post) -> None:
        now = datetime.now(UTC)
        with recorded_at(now - timedelta(days=10)):
            confirmed()
        left, arrived = now - timedelta(days=9), now - timedelta(days=8)
        post(carrier_event("dispatched", parcel_id="parcel_1", lines=TWO, at=left.isoformat()))
        post(carrier_event("delivered", parcel_id="parcel_1", at=arrived.astimezone(timezone(timedelta(hours=9))).isoformat()))

        last = LOG.history("ord_1")[-1]
        assert (last.occurred_at, last.occurred_at.utcoffset()) == (arrived, timedelta())
        assert last.recorded_at
        assert now <= last.recorded_at <= datetime.now(UTC)
        assert LOG.load("ord_1").parcels[0].delivered_at == arrived

    def test_return_window_starts_at_the_delivery(self, post: Post) -> None:
        now = datetime.now(UTC)
        with recorded_at(now - timedelta(days=10)):
            confirmed()
        post(carrier_event("dispatched", parcel_id="parcel_1", lines=TWO, at=(now - timedelta(days=9)).isoformat()))
        post(carrier_event("delivered", parcel_id="parcel_1", at=(now - timedelta(days=8)).isoformat()))

        order = LOG.load("ord_1")
        for days, allowed in ((7, False), (9, True)):
            command = RequestReturn("ret_1", order.parcels[0].lines, "too small", now - timedelta(days=days))
            assert isinstance(decide(order, command), tuple) is allowed

    def test_queued_event_keeps_its_time(self, deliver: Deliver) -> None:
        now = datetime.now(UTC)
        with recorded_at(now - timedelta(days=2)):
            confirmed()
        assert deliver("dispatched", parcel_id="parcel_1", lines=TWO, at=(now - timedelta(days=1)).isoformat())
        assert LOG.history("ord_1")[-1].occurred_at == now - timedelta(days=1)

    @pytest.mark.parametrize(
        "at",
        [
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59.999999-12:00",
            "0000-01-01T00:00:00Z",
            "1970-01-01T00:00:00Z",
            "2016-12-31T23:59:60Z",
            "2026-01-16T09:00:00",
            "yesterday",
            "",
        ],
    )
    def test_implausible_time_becomes_the_time_of_receipt(self, post: Post, aws: Any, caplog: pytest.LogCaptureFixture, at: str) -> None:
        confirmed()
        before = datetime.now(UTC)
        assert post(carrier_event("dispatched", parcel_id="parcel_1", lines=TWO, at=at))["statusCode"] == 202
        last = LOG.history("ord_1")[-1]
        assert (last.type, last.recorded_at, aws.sqs.sent) == ("ShipmentDispatched", None, {})
        assert before <= last.occurred_at <= datetime.now(UTC)
        assert any(record.getMessage().startswith("reported_time") for record in caplog.records)


class TestRetryCarrierEvents:
    @pytest.mark.parametrize("path", samples("retry_carrier_events"), ids=lambda path: path.stem)
    def test_every_sample_has_its_answer(self, path: Path, aws: Any, context: Any) -> None:
        text = path.read_text()
        for order_id in (one for one in PREPARED if one in text):
            prepare(LOG, order_id)
        assert retry_carrier_events.handler(json.loads(text), context) == json.loads(path.with_suffix(".answer.json").read_text())

    def test_dispatches_and_deliveries_are_recorded(self, deliver: Deliver) -> None:
        confirmed()
        assert deliver("picked")
        assert deliver("dispatched", parcel_id="parcel_1", lines=ONE)
        assert deliver("dispatched", parcel_id="parcel_2", lines=ONE)
        assert deliver("delivered", parcel_id="parcel_1")
        assert deliver("lost", parcel_id="parcel_2")
        assert types() == ["ShipmentDispatched", "ShipmentDispatched", "ShipmentDelivered", "ShipmentLost"]

    def test_event_delivered_twice_changes_nothing(self, deliver: Deliver) -> None:
        confirmed()
        for _ in range(2):
            assert deliver("dispatched", parcel_id="parcel_1", lines=TWO)
        for _ in range(2):
            assert deliver("delivered", parcel_id="parcel_1")
        assert deliver("dispatched", parcel_id="parcel_1", lines=TWO)
        assert types() == ["ShipmentDispatched", "ShipmentDelivered"]

    @pytest.mark.parametrize(("lines", "again"), [(TWO, ONE + ONE), (ONE + ONE, TWO)])
    def test_dispatch_reported_again_with_split_lines_changes_nothing(self, deliver: Deliver, lines: list[Any], again: list[Any]) -> None:
        confirmed()
        assert deliver("dispatched", parcel_id="parcel_1", lines=lines)
        assert deliver("dispatched", message_id="msg_2", parcel_id="parcel_1", lines=again)
        assert types() == ["ShipmentDispatched"]

    @pytest.mark.parametrize("stored", [" parcel_1", "parcel_1\n", "parce\u0301l_1", "parcel\uffff1"])
    def test_parcel_recorded_under_an_untrimmed_id_is_found(self, deliver: Deliver, post: Post, stored: str) -> None:
        confirmed()
        # Versions up to 1.0 stored ids untrimmed, as do messages that were queued before the deployment.
        assert deliver("dispatched", parcel_id=stored, lines=ONE)
        for body in (carrier_event("dispatched", parcel_id=stored, lines=ONE), carrier_event("delivered", parcel_id=stored)):
            assert post(body)["statusCode"] == 202
        assert deliver("delivered", parcel_id=stored)
        assert types() == ["ShipmentDispatched", "ShipmentDelivered"]

    def test_delivery_before_its_dispatch_is_retried(self, deliver: Deliver) -> None:
        confirmed()
        assert not deliver("delivered", parcel_id="parcel_1")
        assert deliver("dispatched", parcel_id="parcel_1", lines=TWO)
        assert deliver("delivered", parcel_id="parcel_1")
        assert types() == ["ShipmentDispatched", "ShipmentDelivered"]

    def test_each_retry_waits_longer(self, deliver: Deliver, aws: Any) -> None:
        confirmed()
        seconds: list[int] = []
        for receives in range(1, 11):
            assert not deliver("delivered", receives=receives, parcel_id="parcel_1")
            seconds.append(aws.sqs.hidden.pop("r"))
        assert seconds == sorted(seconds)
        assert seconds[0] <= 5
        # After the last receive the message is dead-lettered.
        assert 540 <= sum(seconds[:-1]) <= 660

    def test_event_is_retried_even_if_the_delay_fails(self, deliver: Deliver, aws: Any) -> None:
        confirmed()
        aws.sqs.before = failing("ChangeMessageVisibility")
        assert not deliver("delivered", parcel_id="parcel_1")
        aws.sqs.before = None

    def test_recorded_event_is_not_delayed(self, deliver: Deliver, aws: Any) -> None:
        confirmed()
        assert deliver("dispatched", parcel_id="parcel_1", lines=TWO)
        assert aws.sqs.calls == {}

    def test_dispatch_of_more_than_the_order_has_is_recorded_once(self, deliver: Deliver) -> None:
        confirmed()
        for _ in range(2):
            assert deliver("dispatched", parcel_id="parcel_1", lines=[{"sku": "MUG-BLUE", "quantity": 3}])
        contradiction = LOG.history("ord_1")[-1].data
        assert types() == ["ShipmentReportContradicted"]
        assert contradiction == ShipmentReportContradicted(CustomerId("ann"), "parcel_1", (StockLine("MUG-BLUE", 3),), None, "dispatched")
        assert not LOG.load("ord_1").parcels

    def test_dispatch_with_other_lines_is_recorded_beside_the_parcel(self, deliver: Deliver) -> None:
        confirmed()
        assert deliver("dispatched", parcel_id="parcel_1", lines=ONE)
        for _ in range(2):
            assert deliver("dispatched", parcel_id="parcel_1", lines=TWO)
        assert deliver("delivered", parcel_id="parcel_1")
        assert types() == ["ShipmentDispatched", "ShipmentReportContradicted", "ShipmentDelivered"]
        assert LOG.load("ord_1").parcels[0].lines == (StockLine("MUG-BLUE", 1),)

    def test_end_of_an_unexpected_parcel_is_recorded_once(self, deliver: Deliver) -> None:
        confirmed()
        assert deliver("dispatched", parcel_id="parcel_9", lines=[{"sku": "MUG-RED", "quantity": 1}])
        for _ in range(2):
            assert deliver("delivered", parcel_id="parcel_9")
        reports = [event.data.reported for event in LOG.history("ord_1") if isinstance(event.data, ShipmentReportContradicted)]
        assert reports == ["dispatched", "delivered"]

    def test_return_that_was_not_created_is_refused(self, deliver: Deliver) -> None:
        confirmed()
        assert not deliver("returned", return_id="ret_1")
        assert types() == []

    @pytest.mark.parametrize(("recorded", "reported"), [("lost", "delivered"), ("delivered", "lost")])
    def test_contradicting_report_is_recorded_once(self, deliver: Deliver, recorded: str, reported: str) -> None:
        confirmed()
        assert deliver("dispatched", parcel_id="parcel_1", lines=TWO)
        for report in (recorded, reported, reported, recorded):
            assert deliver(report, parcel_id="parcel_1")
        assert types() == ["ShipmentDispatched", f"Shipment{recorded.title()}", "ShipmentReportContradicted"]

    @pytest.mark.parametrize("moment", ["before", "after"])
    @pytest.mark.parametrize("report", ["delivered", "dispatched"])
    def test_contradicting_report_is_recorded_once_despite_a_crash(self, deliver: Deliver, aws: Any, report: str, moment: str) -> None:
        confirmed()
        assert deliver("dispatched", parcel_id="parcel_1", lines=TWO)
        assert deliver("lost", parcel_id="parcel_1")
        lines = {"lines": ONE} if report == "dispatched" else {}

        def crash(operation: str, _request: Any) -> None:
            if operation in {"PutItem", "TransactWriteItems"}:
                raise Crash

        setattr(aws.dynamodb, moment, crash)
        with pytest.raises(Crash):
            deliver(report, parcel_id="parcel_1", **lines)
        setattr(aws.dynamodb, moment, None)
        assert deliver(report, parcel_id="parcel_1", **lines)
        assert types() == ["ShipmentDispatched", "ShipmentLost", "ShipmentReportContradicted"]

    def test_dispatch_after_a_recall_is_recorded_and_charges_nothing(self, deliver: Deliver) -> None:
        confirmed()
        advance(LOG, "ord_1", "customer.cancels", "shipping.handlers.recall_shipment")
        assert deliver("dispatched", parcel_id="parcel_1", lines=TWO)
        order = LOG.load("ord_1")
        assert (types()[-1], order.state, order.parcels_in_transit) == ("ShipmentReportContradicted", "cancelling", 0)

    def test_requested_return_is_recorded_once(self, deliver: Deliver) -> None:
        confirmed()
        deliver("dispatched", parcel_id="parcel_1", lines=TWO)
        deliver("delivered", parcel_id="parcel_1")
        lines = LOG.load("ord_1").parcels[0].lines
        LOG.record(LOG.load("ord_1"), RequestReturn("ret_1", lines, "too small", START), source="orders")

        assert deliver("returned", return_id="ret_1")
        assert deliver("returned", return_id="ret_1")
        assert types()[-2:] == ["ReturnRequested", "ReturnReceived"]

    @pytest.mark.parametrize("shipment", ["", "shipment", ":shipment", "ord_1:parcel", "foreign"])
    def test_unknown_shipment_is_refused(self, shipment: str) -> None:
        with pytest.raises(UnknownShipment):
            order_id_of(shipment)


def test_docs_show_every_webhook_event() -> None:
    text = (ROOT / "docs" / "webhooks.md").read_text("utf-8").partition("## Payment webhook events")[0]
    documented = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    rows = re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE)
    assert [one["type"] for one in documented] == rows
    for one in documented:
        raw = json.dumps(one).encode()
        read = (
            carrier_events.tracked_decoder.decode(raw)
            if one["type"] == carrier_events.READING
            else carrier_events.carrier_event_decoder.decode(raw)
        )
        assert read.message_id == one["message_id"]
