"""Shipment requests, carrier webhooks, recalls and tracking of confirmed orders."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest

from devtools import web
from devtools.local.api_client import order_body
from devtools.local.carrier import Carrier
from orderflow.aws.order_log import OrderLog
from orderflow.aws.webhooks import signed_headers
from orderflow.domain import events
from orderflow.domain.commands import RequestCancellation
from shipping.carrier import CarrierRefused
from shipping.shipments import shipment_id
from shipping.tracking_store import ParcelKey, TrackingStore
from tests.integration.deployed_stack import DeployedStack, eventually

# A secret of Standard Webhooks is base64.
ANOTHER_SECRET = "YW5vdGhlciBzZWNyZXQ="
# An early message is retried after two seconds, then after four, and so on.
RETRY_SECONDS = 60.0


@pytest.fixture
def carrier(stack: DeployedStack) -> Carrier:
    return Carrier(stack.target, timeout=60)


def types(stack: DeployedStack, order_id: str) -> list[str]:
    return [event.type for event in stack.log(order_id)]


def has(stack: DeployedStack, order_id: str, *wanted: str, within: float | None = None) -> list[events.Event]:
    """Wait until the log has events of all wanted types, and return the log."""
    return eventually(
        lambda: stack.log(order_id),
        lambda log: set(wanted) <= {event.type for event in log},
        within=within or stack.patience,
        what=f"{', '.join(wanted)} of {order_id}",
    )


def requested(stack: DeployedStack, *lines: tuple[str, int]) -> str:
    """The id of an order of these lines whose shipment is requested."""
    order_id = stack.accept(stack.customer(), order_body(*lines))
    has(stack, order_id, "ShipmentRequested")
    return order_id


def cancel(stack: DeployedStack, order_id: str) -> None:
    log = OrderLog(stack.table("OrderLog"), stack.dynamodb)
    log.record(log.load(order_id), RequestCancellation("operator", "test"), source="orders")


def test_order_is_delivered_in_two_parcels(stack: DeployedStack, carrier: Carrier):
    sku, other = stack.product(), stack.product()
    order_id = requested(stack, (sku, 2), (other, 1))

    first = carrier.dispatch(order_id, [(sku, 1)])
    has(stack, order_id, "ShipmentDispatched")
    second = carrier.dispatch(order_id)
    eventually(lambda: types(stack, order_id).count("ShipmentDispatched"), lambda n: n == 2, within=stack.patience, what="two parcels")
    carrier.deliver(order_id, first)
    carrier.deliver(order_id, second)

    eventually(lambda: types(stack, order_id).count("ShipmentDelivered"), lambda n: n == 2, within=stack.patience, what="two arrivals")
    state = OrderLog(stack.table("OrderLog"), stack.dynamodb).load(order_id)
    assert state.state == "delivered"
    assert [parcel.parcel_id for parcel in state.parcels] == [first, second]


def test_unsigned_carrier_webhook_is_refused(stack: DeployedStack, carrier: Carrier):
    order_id = requested(stack, (stack.product(), 1))
    carrier.dispatch(order_id)
    [body] = carrier.sent
    # The webhook records the event before it answers.
    assert types(stack, order_id).count("ShipmentDispatched") == 1

    assert carrier.post(body, {}).status == 401
    assert carrier.post(body, signed_headers(ANOTHER_SECRET, "msg_1", body, int(time.time()))).status == 401
    assert "300 seconds" in carrier.post(body, signed_headers(carrier.secret, "msg_1", body, int(time.time()) - 400)).json()["detail"]
    assert carrier.post(b"x" * 70_000).status == 413
    assert carrier.post(body).status == 202
    assert types(stack, order_id).count("ShipmentDispatched") == 1
    for output in ("CarrierWebhookUrl", "PaymentsWebhookUrl"):
        url, host = stack.target.function_url(output)
        refused = web.call("GET", url, headers=host, timeout=60)
        assert (refused.status, refused.headers["allow"]) == (405, "POST")
        assert web.call("POST", f"{url}any/path", headers=host, body=body, timeout=60).status == 401


def test_repeated_carrier_webhook_changes_nothing(stack: DeployedStack, carrier: Carrier):
    order_id = requested(stack, (stack.product(), 1))
    carrier.dispatch(order_id)
    has(stack, order_id, "ShipmentDispatched")

    for _ in range(3):
        assert carrier.post(carrier.sent[0]).status == 202
    stack.queue_drained("ShippingRecordQueue")

    assert types(stack, order_id).count("ShipmentDispatched") == 1


def test_early_delivery_is_recorded_after_its_dispatch(stack: DeployedStack, carrier: Carrier):
    sku = stack.product()
    order_id = requested(stack, (sku, 1))
    parcel = carrier.dispatch(order_id, send_event=False)

    carrier.deliver(order_id, parcel)
    carrier.post_event(order_id, "dispatched", parcel_id=parcel, lines=[{"sku": sku, "quantity": 1}])

    log = has(stack, order_id, "ShipmentDelivered", within=stack.patience + RETRY_SECONDS)
    recorded = [event.type for event in log if event.source == "shipping"]
    assert recorded == ["ShipmentRequested", "ShipmentDispatched", "ShipmentDelivered"]


def test_cancelled_confirmed_order_is_not_shipped(stack: DeployedStack, carrier: Carrier):
    sku = stack.product(10)
    order_id = requested(stack, (sku, 2))

    cancel(stack, order_id)

    has(stack, order_id, "OrderCancelled", within=stack.patience + 60)
    assert stack.stock(sku) == (10, 0)
    assert stack.charges(order_id) == []
    with pytest.raises(CarrierRefused, match="recalled"):
        carrier.dispatch(order_id)


def test_cancellation_fails_when_the_parcel_has_left(stack: DeployedStack, carrier: Carrier):
    order_id = requested(stack, (stack.product(), 1))
    parcel = carrier.dispatch(order_id, send_event=False)

    cancel(stack, order_id)

    log = has(stack, order_id, "CancellationFailed", within=stack.patience + 60)
    [dispatched] = [event.data for event in log if isinstance(event.data, events.ShipmentDispatched)]
    assert dispatched.parcel_id == parcel
    assert carrier.post(_dispatched(order_id, dispatched)).status == 202
    stack.queue_drained("ShippingRecordQueue")
    assert types(stack, order_id).count("ShipmentDispatched") == 1


def _dispatched(order_id: str, data: events.ShipmentDispatched) -> bytes:
    lines = [{"sku": line.sku, "quantity": line.quantity} for line in data.lines]
    message = {"message_id": "msg_late", "type": "dispatched", "shipment_id": shipment_id(order_id), "at": "2026-01-16T09:00:00Z"}
    return json.dumps(message | {"parcel_id": data.parcel_id, "lines": lines}).encode()


def test_delivery_has_the_time_reported_by_the_carrier(stack: DeployedStack, carrier: Carrier):
    order_id = requested(stack, (stack.product(), 1))
    parcel = carrier.dispatch(order_id)
    has(stack, order_id, "ShipmentDispatched")
    arrived = datetime.now(UTC)
    has(stack, order_id, "PaymentCaptured")

    Carrier(stack.target, timeout=60, at=arrived.isoformat()).deliver(order_id, parcel)

    (delivered,) = [event for event in has(stack, order_id, "ShipmentDelivered") if event.type == "ShipmentDelivered"]
    assert delivered.occurred_at == arrived
    assert delivered.appended_at > arrived


def test_readings_are_aggregated_outside_the_log(stack: DeployedStack, carrier: Carrier):
    order_id = requested(stack, (stack.product(), 1))
    parcel = carrier.dispatch(order_id)
    has(stack, order_id, "ShipmentDispatched")
    tracks = TrackingStore(stack.table("Tracking"), stack.dynamodb)

    carrier.send_readings(order_id, parcel, range(30, 60))

    track = eventually(
        lambda: tracks.load(ParcelKey(shipment_id(order_id), parcel)).track,
        lambda found: found is not None and found.temperature == 59,
        within=stack.patience,
        what="the last reading",
    )
    assert track
    assert (track.highest, track.position.lat) == (59, 53.7997)
    assert 1 <= track.readings <= 30
    assert "ShipmentDelivered" not in types(stack, order_id)
    assert len([one for one in types(stack, order_id) if one.startswith("Shipment")]) == 2


@pytest.fixture
def alerts(stack: DeployedStack) -> Iterator[str]:
    """Subscribe a queue to the topic of the operators and return its URL."""
    sqs, sns = stack.target.client("sqs"), stack.target.client("sns")
    topic = stack.target.resources["Alarms"]
    url = sqs.create_queue(QueueName=f"alerts-{uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
    policy = {"Version": "2012-10-17", "Statement": [statement | {"Condition": {"ArnEquals": {"aws:SourceArn": topic}}}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    subscribed = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    yield url
    sns.unsubscribe(SubscriptionArn=subscribed["SubscriptionArn"])
    sqs.delete_queue(QueueUrl=url)


def received(stack: DeployedStack, url: str, order_id: str) -> list[str]:
    """Receive the alerts about an order, and delete them."""
    sqs = stack.target.client("sqs")
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
    for message in found:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [message["Body"] for message in found if order_id in message["Body"]]


def conditions(stack: DeployedStack, order_id: str, count: int) -> list[tuple[str, str]]:
    """Wait until the log has this many events about conditions, and return their types and causes."""

    def found() -> list[tuple[str, str]]:
        data = [one.data for one in stack.log(order_id)]
        changes = [one for one in data if isinstance(one, events.ParcelConditionAlerted | events.ParcelConditionResolved)]
        return [(type(one).__name__, one.cause) for one in changes]

    return eventually(found, lambda known: len(known) >= count, within=stack.patience, what=f"{count} changes of conditions")


def test_spoiled_parcel_is_alerted_resolved_and_returned(stack: DeployedStack, carrier: Carrier, alerts: str):
    customer, sku = stack.customer(), stack.product()
    stack.chill(sku, 20, 80)
    order_id = stack.accept(customer, order_body((sku, 2)))
    has(stack, order_id, "ShipmentRequested")
    parcel = carrier.dispatch(order_id)
    now, warm = datetime.now(UTC), "temperature_out_of_range"

    def send(temperature: int, minutes_ago: int) -> None:
        at = (now - timedelta(minutes=minutes_ago)).isoformat()
        Carrier(stack.target, timeout=60, at=at).send_readings(order_id, parcel, [temperature] * 3, timedelta(minutes=30))

    send(124, 100)
    alerted = [("ParcelConditionAlerted", warm), ("ParcelConditionAlerted", "goods_spoiled")]
    assert conditions(stack, order_id, 2) == alerted
    send(50, 1)
    assert conditions(stack, order_id, 3) == [*alerted, ("ParcelConditionResolved", warm)]
    messages: list[str] = []
    receive = partial(received, stack, alerts, order_id)
    eventually(lambda: messages.extend(receive()) or messages, lambda found: len(found) >= 3, within=stack.patience, what="three alerts")
    assert len(messages) == 3
    eventually(
        lambda: [mail["Subject"] for mail in stack.sent(order_id)],
        lambda subjects: f"Goods of your order {order_id} have spoiled" in subjects,
        within=stack.patience,
        what="the email",
    )
    spoiled = {"lines": [{"sku": sku, "quantity": 2}], "reason_code": "spoiled"}
    assert stack.shop.create_return(customer, order_id, spoiled).status == 409
    carrier.deliver(order_id, parcel)
    has(stack, order_id, "ShipmentDelivered")
    assert stack.shop.create_return(customer, order_id, spoiled).json()["reason_code"] == "spoiled"


def test_silent_parcel_is_alerted_and_resolved_by_its_next_reading(stack: DeployedStack, carrier: Carrier):
    order_id = requested(stack, (stack.product(), 1))
    parcel = carrier.dispatch(order_id)
    Carrier(stack.target, timeout=60, at=(datetime.now(UTC) - timedelta(hours=14)).isoformat()).send_readings(order_id, parcel, [50])
    stack.queue_drained("ShippingTrackQueue")

    stack.invoke("ShippingCheck", {})
    assert conditions(stack, order_id, 1) == [("ParcelConditionAlerted", "silent")]
    carrier.send_readings(order_id, parcel, [50])

    assert conditions(stack, order_id, 2)[1:] == [("ParcelConditionResolved", "silent")]
