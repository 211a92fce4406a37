"""What the carrier tells: kept when it is signed, recorded once whatever comes twice, and left to a person where it cannot be."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orderflow.commands import RequestReturn
from orderflow.webhooks import HEADER, Secret, sign
from shipping import messages, record, webhook
from shipping.shipments import UnknownShipment, order_of, shipment_id
from tests.conftest import ENVIRONMENT, ROOT
from tests.support.orders import START
from tests.support.prepared import PREPARED, advance, place, prepare

EVENTS = ROOT / "events" / "shipping"
CONFIRMED = ("inventory.reserve", "fraud.screen", "payments.authorize", "orders.confirm")
LOG = record.LOG
ONE = [{"sku": "MUG-BLUE", "quantity": 1}]
TWO = [{"sku": "MUG-BLUE", "quantity": 2}]
type Tell = Callable[..., bool]


def samples(function: str) -> list[Path]:
    return sorted(path for path in (EVENTS / function).glob("*.json") if not path.stem.endswith(".answer"))


def message(kind: str, **more: Any) -> dict[str, Any]:
    return {"message_id": "msg_1", "type": kind, "shipment_id": shipment_id("ord_1"), "at": "2026-01-16T09:00:00Z", **more}


@pytest.fixture
def post(aws: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Any]:
    monkeypatch.setattr(webhook, "SECRET", Secret("name", aws.secretsmanager))

    def call(body: bytes) -> Any:
        headers = {HEADER: sign("secret", body, int(time.time()))}
        event: Any = {"headers": headers, "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        return webhook.handler(event | {"requestContext": {"requestId": "r"}}, context)

    return call


@pytest.fixture
def tell(aws: Any, context: Any) -> Tell:
    def call(kind: str, **more: Any) -> bool:
        body = json.dumps(message(kind, **more))
        one = {"messageId": "m", "body": body, "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs"}
        return not record.handler({"Records": [one]}, context)["batchItemFailures"]

    return call


def confirmed() -> None:
    place(LOG)
    advance(LOG, "ord_1", *CONFIRMED)


def types() -> list[str]:
    return [event.type for event in LOG.history("ord_1")[len(CONFIRMED) + 1 :]]


class TestDoor:
    @pytest.mark.parametrize("path", samples("webhook"), ids=lambda path: path.stem)
    def test_every_sample_has_its_answer(self, path: Path, aws: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(webhook, "SECRET", Secret("name", aws.secretsmanager))
        answer: Any = webhook.handler(json.loads(path.read_text()), context)
        expected = json.loads(path.with_suffix(".answer.json").read_text())
        assert (answer["statusCode"], json.loads(answer["body"])) == (expected["statusCode"], expected["body"])
        assert aws.sqs.sent == {}

    def test_a_signed_message_is_kept_as_it_was_sent_in_one_call(self, post: Callable[[bytes], Any], aws: Any) -> None:
        post(json.dumps(message("picked")).encode())
        aws.sqs.calls.clear()
        aws.secretsmanager.calls.clear()

        answer = post(json.dumps(message("delivered", parcel_id="parcel_1")).encode())

        assert (answer["statusCode"], json.loads(answer["body"])) == (202, {"message_id": "msg_1"})
        assert (aws.sqs.calls, aws.secretsmanager.calls) == ({"SendMessage": 1}, {})
        assert aws.sqs.sent[ENVIRONMENT["SHIPPING_RECORD_QUEUE_URL"]][-1] == message("delivered", parcel_id="parcel_1")

    def test_readings_have_a_queue_of_their_own(self, post: Callable[[bytes], Any], aws: Any) -> None:
        post(json.dumps(message("in_transit")).encode())
        assert list(aws.sqs.sent) == [ENVIRONMENT["SHIPPING_TRACK_QUEUE_URL"]]

    @pytest.mark.parametrize(("body", "status"), [(b"no json", 400), (b"\xff", 400), (b"[]", 422), (b'{"type": "picked"}', 422)])
    def test_what_is_no_message_is_refused(self, post: Callable[[bytes], Any], aws: Any, body: bytes, status: int) -> None:
        assert post(body)["statusCode"] == status
        assert aws.sqs.sent == {}


class TestRecord:
    @pytest.mark.parametrize("path", samples("record"), ids=lambda path: path.stem)
    def test_every_sample_has_its_answer(self, path: Path, aws: Any, context: Any) -> None:
        text = path.read_text()
        for order_id in (one for one in PREPARED if one in text):
            prepare(LOG, order_id)
        assert record.handler(json.loads(text), context) == json.loads(path.with_suffix(".answer.json").read_text())

    def test_parcels_leave_and_arrive(self, tell: Tell) -> None:
        confirmed()
        assert tell("picked")
        assert tell("dispatched", parcel_id="parcel_1", lines=ONE)
        assert tell("dispatched", parcel_id="parcel_2", lines=ONE)
        assert tell("delivered", parcel_id="parcel_1")
        assert tell("lost", parcel_id="parcel_2")
        assert types() == ["ShipmentDispatched", "ShipmentDispatched", "ShipmentDelivered", "ShipmentLost"]

    def test_a_message_that_comes_twice_changes_nothing(self, tell: Tell) -> None:
        confirmed()
        for _ in range(2):
            assert tell("dispatched", parcel_id="parcel_1", lines=TWO)
        for _ in range(2):
            assert tell("delivered", parcel_id="parcel_1")
        assert tell("dispatched", parcel_id="parcel_1", lines=TWO)
        assert types() == ["ShipmentDispatched", "ShipmentDelivered"]

    def test_a_delivery_before_its_dispatch_comes_again(self, tell: Tell) -> None:
        confirmed()
        assert not tell("delivered", parcel_id="parcel_1")
        assert tell("dispatched", parcel_id="parcel_1", lines=TWO)
        assert tell("delivered", parcel_id="parcel_1")
        assert types() == ["ShipmentDispatched", "ShipmentDelivered"]

    def test_what_cannot_be_is_refused(self, tell: Tell) -> None:
        confirmed()
        assert not tell("dispatched", parcel_id="parcel_1", lines=[{"sku": "MUG-BLUE", "quantity": 3}])
        assert tell("dispatched", parcel_id="parcel_1", lines=ONE)
        assert not tell("dispatched", parcel_id="parcel_1", lines=TWO)
        assert tell("lost", parcel_id="parcel_1")
        assert not tell("delivered", parcel_id="parcel_1")
        assert not tell("returned", return_id="ret_1")
        assert types() == ["ShipmentDispatched", "ShipmentLost"]

    def test_nothing_leaves_after_a_recall(self, tell: Tell) -> None:
        confirmed()
        advance(LOG, "ord_1", "customer.cancels", "shipping.recall")
        assert not tell("dispatched", parcel_id="parcel_1", lines=TWO)

    def test_a_return_that_was_announced_comes_back(self, tell: Tell) -> None:
        confirmed()
        tell("dispatched", parcel_id="parcel_1", lines=TWO)
        tell("delivered", parcel_id="parcel_1")
        lines = LOG.load("ord_1").parcels[0].lines
        LOG.record(LOG.load("ord_1"), RequestReturn("ret_1", lines, "too small", START), source="orders")

        assert tell("returned", return_id="ret_1")
        assert tell("returned", return_id="ret_1")
        assert types()[-2:] == ["ReturnRequested", "ReturnReceived"]

    @pytest.mark.parametrize("shipment", ["", "shipment", ":shipment", "ord_1:parcel", "somebody-elses"])
    def test_a_shipment_that_is_not_ours_is_refused(self, shipment: str) -> None:
        with pytest.raises(UnknownShipment):
            order_of(shipment)


def test_the_docs_show_every_message_as_it_is_read() -> None:
    text = (ROOT / "docs" / "webhooks.md").read_text("utf-8").partition("## What the payment provider tells")[0]
    shown = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    rows = re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE)
    assert [one["type"] for one in shown] == rows
    for one in shown:
        raw = json.dumps(one).encode()
        read = messages.readings.decode(raw) if one["type"] == messages.READING else messages.told.decode(raw)
        assert read.message_id == one["message_id"]
