"""Invariants of the pipeline's state after a run, with any faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from orderflow.aws.order_log_items import active_shard
from orderflow.domain import events
from orderflow.domain.events import STREAM_ONLY_EVENTS, Event
from orderflow.domain.order import Order, fold, marker, remaining
from orders.domain.unpaid_limits import MAX_ORDERS, MAX_UNITS, is_unpaid, units
from payments.provider import Authorized, Movements
from payments.sandbox.rules import Account, has_uncaptured_amount
from reviews.domain.decisions import Decision, find_decision
from shipping.sandbox.rules import SandboxShipment
from shipping.shipments import shipment_id
from tests.conftest import ENVIRONMENT
from tests.faults.simulation import STOCK, Simulation
from tests.support.stock_shards import levels

ONCE = {
    "OrderPlaced",
    "StockReserved",
    "StockReleased",
    "PaymentAuthorized",
    "PaymentVoided",
    "OrderConfirmed",
    "OrderRejected",
    "OrderCancelled",
    "OrderLinesCancelled",
    "ShipmentRequested",
    "ShipmentRecalled",
}
FINAL_EVENTS = {"OrderRejected", "OrderCancelled"}
CANCELLED = {"OrderCancelled", "OrderLinesCancelled"}

RESTING_STATES = {"confirmed", "rejected", "cancelled", "held", "dispatched", "delivered", "lost", "partly_returned"}
HOLDING = {"confirmed", "partly_dispatched"}

_accounts = msgspec.json.Decoder(Account)
_shipment_decoder = msgspec.json.Decoder(SandboxShipment)


class Violation(NamedTuple):
    """A violated invariant with details."""

    rule: str
    what: str


def violations(simulation: Simulation) -> list[Violation]:
    """Return all violations in the state after a run."""
    logs = _logs(simulation)
    found = [*_log(simulation, logs), *_api(simulation, logs)]
    orders = {order_id: order for order_id, log in logs.items() if (order := _folded(order_id, log))}
    found += [
        *_ends(simulation, orders),
        *_payments(simulation, orders),
        *_stock(simulation, orders),
        *_bus(simulation, logs),
        *_reviews(simulation, logs, orders),
    ]
    found += [*_shipments(simulation, orders), *_tokens(simulation, orders), *_unpaid(simulation, orders)]
    return [*found, *_executions(simulation)]


def states(simulation: Simulation) -> Counter[str]:
    """Return how many orders ended in which state."""
    folded = [_folded(order_id, log) for order_id, log in _logs(simulation).items()]
    return Counter(order.state for order in folded if order)


def _logs(simulation: Simulation) -> dict[str, list[tuple[int, Event]]]:
    logs: dict[str, list[tuple[int, Event]]] = {}
    for item in simulation.aws.dynamodb.items("OrderLog"):
        entry = int(item["version"]["N"]), events.decode(item["event"]["S"])
        logs.setdefault(item["order_id"]["S"], []).append(entry)
    return logs


def _folded(order_id: str, log: list[tuple[int, Event]]) -> Order | None:
    try:
        return fold(order_id, [event for _, event in log])
    except ValueError:
        return None


def _log(simulation: Simulation, logs: dict[str, list[tuple[int, Event]]]) -> Iterator[Violation]:
    if simulation.answers and not logs:
        yield Violation("an accepted order is in the log", "the log is empty")
    for order_id, log in logs.items():
        versions = [version for version, _ in log]
        if versions != list(range(1, len(log) + 1)) or versions != [event.order_version for _, event in log]:
            yield Violation("versions have no gap", f"{order_id}: {versions}")
        types = Counter(event.type for _, event in log)
        again = Counter({"StockReserved": types["ReservationExpired"]})
        yield from (
            Violation(f"{kind} at most once", f"{types[kind]} of {order_id}") for kind in sorted(ONCE) if types[kind] > 1 + again[kind]
        )
        of_parcels = Counter(about for _, event in log if (about := _about(event)))
        yield from (Violation("once for each parcel and return", f"{about}: {count}") for about, count in of_parcels.items() if count > 1)
        if types["OrderPlaced"] != 1:
            yield Violation("one OrderPlaced", f"{order_id}: {types['OrderPlaced']}")
        if any(event.type in FINAL_EVENTS for _, event in log[:-1]):
            yield Violation("no event follows the final one", f"{order_id}: {[event.type for _, event in log]}")
        if not _folded(order_id, log):
            yield Violation("the log can be folded", order_id)
    written = [record for record in simulation.aws.dynamodb.changes["OrderLog"] if record["eventName"] != "INSERT"]
    if any(record["dynamodb"]["NewImage"]["event"] != record["dynamodb"]["OldImage"]["event"] for record in written):
        yield Violation("an event is never overwritten", str(len(written)))


def _tokens(simulation: Simulation, orders: dict[str, Order]) -> Iterator[Violation]:
    stored = {item["order_id"]["S"] for item in simulation.aws.dynamodb.items("PaymentTokens")}
    needed = {order_id for order_id, order in orders.items() if order.payment == "none" and order.state in {"placed", "held"}}
    if needed - stored:
        yield Violation("an order before authorization has its payment token", f"{sorted(needed - stored)}")
    # A token whose deletion failed expires.
    failed = any((call.operation, call.target) == ("DeleteItem", "PaymentTokens") for call in simulation.disturbance.struck)
    if stored - needed and not failed:
        yield Violation("a used payment token is deleted", f"{sorted(stored - needed)}")


def _unpaid(simulation: Simulation, orders: dict[str, Order]) -> Iterator[Violation]:
    by_customer: dict[str, list[Order]] = {}
    for order in orders.values():
        if is_unpaid(order):
            by_customer.setdefault(order.customer.id, []).append(order)
    for customer, unpaid in by_customer.items():
        most = max(units(unpaid).values())
        if len(unpaid) > MAX_ORDERS or most > MAX_UNITS:
            yield Violation("no customer exceeds the unpaid limits", f"{customer}: {len(unpaid)} orders, {most} of a product")
    for row in simulation.aws.dynamodb.items("Allowances"):
        counted = {order.order_id: order for order in by_customer.get(row["customer_id"]["S"], [])}
        if not counted.keys() <= set(row["orders"]["SS"]):
            yield Violation("every unpaid order is counted", f"{sorted(counted.keys() - set(row['orders']['SS']))}")
        for sku, quantity in units(counted.values()).items():
            if int(row[f"units:{sku}"]["N"]) < quantity:
                yield Violation("every unpaid unit is counted", f"{sku}: {row[f'units:{sku}']['N']} of {quantity}")


def _about(event: Event) -> tuple[str, str] | None:
    """Return type and parcel or return of an event that may occur once for each of them."""
    match event.data:
        case events.ShipmentDispatched() | events.ShipmentDelivered() | events.ShipmentLost() | events.PaymentCaptured():
            return event.type, event.data.parcel_id
        case events.ReturnRequested() | events.ReturnReceived():
            return event.type, event.data.return_id
        case events.PaymentRefunded(cause=cause):
            return event.type, cause
        case _:
            return None


def _api(simulation: Simulation, logs: dict[str, list[tuple[int, Event]]]) -> Iterator[Violation]:
    for answer in simulation.answers:
        document = msgspec.json.decode(answer["body"])
        if answer["statusCode"] != 201 or document["order_id"] not in logs:
            yield Violation("an accepted order is in the log", str(document))
    bodies = Counter((msgspec.json.decode(answer["body"])["order_id"], answer["body"]) for answer in simulation.answers)
    if len(bodies) > len({order_id for order_id, _ in bodies}):
        yield Violation("repeated requests get the same answer", str(len(bodies)))
    yield from _cancellations(simulation, logs)


def _cancellations(simulation: Simulation, logs: dict[str, list[tuple[int, Event]]]) -> Iterator[Violation]:
    """An accepted cancellation takes place, and a refused one does not."""
    cancelled = {order_id for order_id, log in logs.items() if any(event.type in CANCELLED for _, event in log)}
    requested = {msgspec.json.decode(answer["body"])["order_id"] for answer in simulation.cancellations if answer["statusCode"] == 202}
    if requested - cancelled:
        yield Violation("an accepted cancellation takes place", f"{len(requested)} requested, {len(cancelled)} cancelled")
    if cancelled and all(answer["statusCode"] == 409 for answer in simulation.cancellations):
        yield Violation("a refused cancellation does not take place", f"{len(cancelled)} cancelled")


def _ends(simulation: Simulation, orders: dict[str, Order]) -> Iterator[Violation]:
    for order_id, order in orders.items():
        if order.state not in RESTING_STATES:
            yield Violation("every order reaches a resting state", f"{order_id} is {order.state}")
    for item in simulation.aws.dynamodb.items("OrderLog"):
        if item["version"]["N"] == "1" and item.get("open_shard", {}).get("S") != _shard(orders[item["order_id"]["S"]]):
            yield Violation("an order has the marker of its state", item["order_id"]["S"])


def _shard(order: Order) -> str | None:
    marker_name = marker(order)
    return active_shard(order.order_id, marker_name) if marker_name else None


def _payments(simulation: Simulation, orders: dict[str, Order]) -> Iterator[Violation]:
    held: dict[str, list[Authorized]] = {}
    for item in simulation.aws.dynamodb.items("SandboxPayments"):
        if "account" not in item:
            continue
        payment = _accounts.decode(item["account"]["S"]).payment
        order_id = item["key"]["S"].partition(":")[0]
        if isinstance(payment, Authorized) and has_uncaptured_amount(payment):
            held.setdefault(order_id, []).append(payment)
        yield from _movements(payment if isinstance(payment, Movements) else Movements(), orders.get(order_id, Order(order_id=order_id)))
    for order_id, order in orders.items():
        found = held.pop(order_id, [])
        wanted = 1 if order.state in HOLDING else 0
        if len(found) > wanted:
            yield Violation("at most one authorization, and none without an order", f"{order.state}: {len(found)}")
        if len(found) < wanted:
            yield Violation("a confirmed order is authorized or captured", order_id)
        if found and wanted and (found[0].amount, found[0].authorization_id) != (order.total, order.authorization_id):
            yield Violation("the authorization has the order's total", f"{found[0]} of {order.total}")
    if held:
        yield Violation("at most one authorization, and none without an order", f"of unknown orders: {sorted(held)}")


def _movements(payment: Movements, order: Order) -> Iterator[Violation]:
    left = sum(parcel.amount.amount for parcel in order.parcels)
    back = sum(parcel.amount.amount for parcel in order.parcels if parcel.state == "lost")
    back += sum(one.amount.amount for one in order.returns if one.amount)
    if not payment.captured == order.captured == left:
        yield Violation("exactly the dispatched parcels are captured", f"{payment.captured}, on the log {order.captured}, for {left}")
    if not payment.refunded == order.refunded == back:
        yield Violation("exactly lost parcels and returns are refunded", f"{payment.refunded}, {order.refunded} for {back}")
    if not payment.refunded <= payment.captured <= (order.total.amount if order.placed else 0):
        yield Violation("refunded <= captured <= authorized", f"{payment.refunded}, {payment.captured}")


def _stock(simulation: Simulation, orders: dict[str, Order]) -> Iterator[Violation]:
    holders = [order for order in orders.values() if order.state in HOLDING or (order.state == "held" and order.reservation == "held")]
    needed, net_shipped = Counter[str](), Counter[str]()
    for line in (line for order in holders for line in remaining(order)):
        needed[line.sku] += line.quantity
    for line in (line for order in orders.values() for parcel in order.parcels for line in parcel.lines):
        net_shipped[line.sku] += line.quantity
    for line in (line for order in orders.values() for one in order.returns if one.amount for line in one.lines):
        net_shipped[line.sku] -= line.quantity
    for sku, level in levels(simulation.aws.dynamodb).items():
        available, reserved, shipped = level.available, level.reserved, level.shipped
        if available + reserved + shipped != STOCK[sku] or available < 0:
            yield Violation("the sum of stock levels is constant", f"{sku}: {available} + {reserved} + {shipped} of {STOCK[sku]}")
        if shipped != net_shipped[sku]:
            yield Violation("shipped stock is dispatched minus returned", f"{sku}: {shipped} for {net_shipped[sku]}")
        if reserved != needed[sku]:
            yield Violation("reserved stock is that of the orders", f"{sku}: {reserved} for {needed[sku]}")
    rows = {row["order_id"]["S"] for row in simulation.aws.dynamodb.items("Reservations")}
    if rows != {order.order_id for order in holders}:
        yield Violation("each order with stock has one reservation", f"{len(rows)} for {len(holders)}")


def _shipments(simulation: Simulation, orders: dict[str, Order]) -> Iterator[Violation]:
    rows = {
        row["shipment_id"]["S"]: _shipment_decoder.decode(row["consignment"]["S"])
        for row in simulation.aws.dynamodb.items("SandboxShipments")
    }
    for order_id, order in orders.items():
        found = rows.get(shipment_id(order_id))
        stopped = bool(order.cancelled) or (order.state == "cancelled" and order.confirmed_at is not None)
        if order.state == "confirmed" and (order.shipment != "requested" or found is None or not found.accepted):
            yield Violation("a confirmed order is shipped", f"{order_id}: {order.shipment}, {found}")
        if stopped != (found is not None and found.recalled):
            yield Violation("exactly cancelled shipments are recalled", f"{order.state}: {found}")


def _executions(simulation: Simulation) -> Iterator[Violation]:
    dead_letters = simulation.aws.sqs.sent.get("${OperationsQueueUrl}", [])
    if simulation.failed.count("CompensationFailed") > len(dead_letters):
        yield Violation("a failed compensation is on the operations queue", f"{len(dead_letters)} of {simulation.failed}")
    if unknown := set(simulation.failed) & {"UnexpectedOutcome", "States.ParameterPathFailure"}:
        yield Violation("the workflow knows every outcome", str(unknown))


def _bus(simulation: Simulation, logs: dict[str, list[tuple[int, Event]]]) -> Iterator[Violation]:
    written = {event.event_id for log in logs.values() for _, event in log}
    routed = {event.event_id for log in logs.values() for _, event in log if event.type not in STREAM_ONLY_EVENTS}
    for where, wanted, details in (("bus", routed, simulation.aws.events.details), ("stream", written, simulation.aws.kinesis.details)):
        found = {detail["event_id"] for detail in details}
        if found != wanted:
            yield Violation(f"every event reaches the {where}", f"missing {sorted(wanted - found)}, unexpected {sorted(found - wanted)}")
    if simulation.aws.sqs.sent.get(ENVIRONMENT["PUBLISH_DEAD_LETTERS_URL"]):
        yield Violation("no event is dead-lettered", "")


def _reviews(simulation: Simulation, logs: dict[str, list[tuple[int, Event]]], orders: dict[str, Order]) -> Iterator[Violation]:
    held = {order.order_id for order in orders.values() if order.state == "held"}
    listed = {row["order_id"]["S"]: row.get("token", {}).get("S") for row in simulation.aws.dynamodb.items("Reviews") if "list" in row}
    if set(listed) != held:
        yield Violation("exactly the held orders have an open review", f"{sorted(listed)} of {sorted(held)}")
    if simulation.reviews.waiting != set(listed.values()):
        yield Violation("an execution waits for each under the stored token", f"{len(simulation.reviews.waiting)} for {len(listed)}")
    for decision, answer in simulation.reviews.answers:
        document = msgspec.json.decode(answer["body"])
        if answer["statusCode"] == 200:
            decided = find_decision(event for _, event in logs[document["order_id"]])
            if decided is None or decision != decided.decision or document["decided_at"] != rfc3339(decided):
                yield Violation("an accepted decision is final", f"{document} and {decided}")


def rfc3339(decided: Decision) -> str:
    """Return the time of a decision in the answers' format."""
    return msgspec.to_builtins(decided)["decided_at"]
