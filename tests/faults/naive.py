"""The control: a pipeline with common mistakes, which the sweep must find.

It works without faults. Its mistakes include: it writes and then publishes, ignores refused bus entries,
reads stock and then writes it, charges before recording, uses a new key for every attempt, numbers events
by counting, and releases stock without a reservation.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from operations.handlers import recover_orders
from orderflow.aws import clients, dynamodb, order_log, order_log_items
from orderflow.aws.http import answer
from orderflow.domain import events
from orderflow.domain.events import STREAM_ONLY_EVENTS, Customer, Event, EventData, OrderPlaced, StockLine
from orderflow.domain.order import Order, fold, stock_lines
from orders import api_models
from orders.catalogue import Catalogue
from orders.domain import pricing
from payments.provider import Authorized, Declined
from payments.sandbox.provider import SandboxProvider
from shipping.sandbox.carrier import SandboxCarrier
from shipping.shipments import shipment_id
from tests.faults.simulation import Functions

DYNAMODB: Any = clients.client("dynamodb")
BUS: Any = clients.client("events")
STREAM: Any = clients.client("kinesis")

PROVIDER = SandboxProvider("SandboxPayments", DYNAMODB)
CARRIER = SandboxCarrier("SandboxShipments", DYNAMODB)


def place(event: Any, _context: Any) -> Any:
    """Price the order, write it, publish it, answer."""
    customer = event["requestContext"]["authorizer"]
    request, _ = api_models.parse_order(event)
    merged = pricing.merge([StockLine(line.sku, line.quantity) for line in request.lines])
    lines, total = pricing.price(merged, Catalogue("Catalogue", DYNAMODB, 60).products(line.sku for line in merged))
    order_id = pricing.order_id(customer["customer_id"], event["headers"]["Idempotency-Key"])
    customer_data = Customer(customer["customer_id"], customer["email"])
    placed = OrderPlaced(customer_data, lines, total, request.shipping_address.to_event_address(), request.payment.country)
    _write(Order(order_id=order_id), placed, "orders", {"payment_token": {"S": request.payment.token}, **_open(order_id)})
    return answer(201, {"order_id": order_id})


def publish(_event: Any, _context: Any) -> Any:
    """Do nothing: each writer publishes its own events."""
    return {}


def reserve(event: Any, _context: Any) -> Any:
    """Read the stock, then write the reduced quantity."""
    order = _load(event)
    rows = {line.sku: _stock(line.sku) for line in order.lines}
    if any(int(rows[line.sku]["available"]["N"]) < line.quantity for line in order.lines):
        shortages = tuple(events.Shortage(line.sku, line.quantity, 0) for line in order.lines)
        _write(order, events.StockReservationFailed(shortages), "inventory")
        return {"outcome": "out_of_stock"}
    for line in order.lines:
        _move(rows[line.sku], line.quantity)
    _reservation(order)
    _write(order, events.StockReserved(stock_lines(order)), "inventory")
    return {"outcome": "reserved"}


def screen(event: Any, _context: Any) -> Any:
    """Approve every order."""
    _write(_load(event), events.OrderScreened("approve", 0, ()), "fraud")
    return {"outcome": "approved"}


def authorize(event: Any, _context: Any) -> Any:
    """Charge, then write the event."""
    order = _load(event)
    token = DYNAMODB.get_item(TableName="OrderLog", Key=_key(order.order_id, 1))["Item"]["payment_token"]["S"]
    match PROVIDER.authorize(f"{order.order_id}:{uuid.uuid4()}", token, order.total):
        case Authorized(authorization_id=authorization_id):
            _write(order, events.PaymentAuthorized(authorization_id, order.total), "payments")
            return {"outcome": "authorized"}
        case Declined(code=code):
            _write(order, events.PaymentDeclined(code, order.total), "payments")
            return {"outcome": "declined"}
        case _:
            raise RuntimeError


def confirm(event: Any, _context: Any) -> Any:
    """Confirm the order."""
    order = _load(event)
    confirmed = events.OrderConfirmed(order.customer, order.lines, order.total, order.shipping_address, order.authorization_id or "")
    _write(order, confirmed, "orders")
    _close(order)
    return {"outcome": "confirmed"}


def fail(event: Any, _context: Any) -> Any:
    """Write that a step failed."""
    _write(_load(event), events.FulfilmentFailed(event["step"], event["error"]), "orders")
    return {"outcome": "failing"}


def void(event: Any, _context: Any) -> Any:
    """Void the authorization in the log."""
    order = _load(event)
    if not order.authorization_id:
        return {"outcome": "nothing_to_void"}
    for item in DYNAMODB.scan(TableName="SandboxPayments")["Items"]:
        if order.authorization_id in item["account"]["S"]:
            PROVIDER.void(item["key"]["S"])
    _write(order, events.PaymentVoided(order.authorization_id, order.total), "payments")
    return {"outcome": "voided"}


def release(event: Any, _context: Any) -> Any:
    """Add the order's lines to the stock."""
    order = _load(event)
    for line in order.lines:
        _move(_stock(line.sku), -line.quantity)
    DYNAMODB.delete_item(TableName="Reservations", Key={"order_id": {"S": order.order_id}})
    _write(order, events.StockReleased(stock_lines(order)), "inventory")
    return {"outcome": "released"}


def reject(event: Any, _context: Any) -> Any:
    """Reject the order."""
    order = _load(event)
    reason = order.failure.reason if order.failure else "fulfilment_failed"
    _write(order, events.OrderRejected(order.customer, order.lines, order.total, reason, ()), "orders")
    _close(order)
    return {"outcome": "rejected"}


def ship(event: Any, _context: Any) -> Any:
    """Request the shipment without checking the order's state."""
    for record in event["Records"]:
        order = _load(json.loads(record["body"])["detail"])
        CARRIER.request(shipment_id(order.order_id), stock_lines(order), order.shipping_address)
        _write(order, events.ShipmentRequested(shipment_id(order.order_id), stock_lines(order)), "shipping")
    return {"batchItemFailures": []}


FUNCTIONS = Functions(
    {
        "OrdersPlace": place,
        "OrdersPublish": publish,
        "InventoryReserve": reserve,
        "FraudScreen": screen,
        "PaymentsAuthorize": authorize,
        "OrdersConfirm": confirm,
        "OrdersFail": fail,
        "PaymentsVoid": void,
        "InventoryRelease": release,
        "OrdersFinalize": reject,
        "ShippingRequest": ship,
        "OperationsRecover": recover_orders.handler,
    }
)


def _load(event: Any) -> Order:
    return fold(event["order_id"], order_log.OrderLog("OrderLog", DYNAMODB).history(event["order_id"]))


def _write(order: Order, data: EventData, source: str, extra_writes: Any = None) -> None:
    version = order.version + 1
    event = Event(
        event_id=f"{order.order_id}:{version}",
        type=type(data).__name__,
        schema_version=1,
        occurred_at=datetime.now(UTC),
        source=source,
        correlation_id="request",
        causation_id=order.last_event_id,
        order_id=order.order_id,
        order_version=version,
        data=data,
    )
    document = events.encode(event).decode()
    DYNAMODB.put_item(TableName="OrderLog", Item={**_key(order.order_id, version), "event": {"S": document}, **(extra_writes or {})})
    if event.type not in STREAM_ONLY_EVENTS:
        BUS.put_events(Entries=[{"EventBusName": "orders", "Source": source, "DetailType": event.type, "Detail": document}])
    STREAM.put_records(StreamName="events", Records=[{"PartitionKey": order.order_id, "Data": document.encode()}])


def _open(order_id: str) -> Any:
    return {"open_shard": {"S": order_log_items.active_shard(order_id)}, "open_since": {"S": dynamodb.timestamp(datetime.now(UTC))}}


def _close(order: Order) -> None:
    DYNAMODB.update_item(TableName="OrderLog", Key=_key(order.order_id, 1), UpdateExpression="REMOVE open_shard, open_since")


def _key(order_id: str, version: int) -> Any:
    return {"order_id": {"S": order_id}, "version": {"N": str(version)}}


def _stock(sku: str) -> Any:
    return DYNAMODB.get_item(TableName="Stock", Key={"sku": {"S": sku}})["Item"]


def _move(row: Any, quantity: int) -> None:
    available, reserved = int(row["available"]["N"]) - quantity, int(row["reserved"]["N"]) + quantity
    DYNAMODB.put_item(TableName="Stock", Item={**row, "available": {"N": str(available)}, "reserved": {"N": str(reserved)}})


def _reservation(order: Order) -> None:
    lines = {"L": [{"M": {"sku": {"S": line.sku}, "quantity": {"N": str(line.quantity)}}} for line in order.lines]}
    DYNAMODB.put_item(TableName="Reservations", Item={"order_id": {"S": order.order_id}, "lines": lines})
