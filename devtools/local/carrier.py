"""Act as the carrier of an order: dispatch, deliver or lose parcels, receive a return, send tracking readings.

Every webhook event is signed with the stack's secret and posted to its webhook, see docs/webhooks.md.
"""

import json
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import uuid4

from devtools import target as targets
from devtools import ui, web
from devtools.cli import UsageError, UserError
from devtools.target import Target
from devtools.web import Answer
from orderflow.aws.webhooks import secrets_of, signed_headers
from orderflow.domain.events import StockLine
from shipping.carrier import CarrierRefused, Contradiction, Parcel
from shipping.sandbox.carrier import SandboxCarrier
from shipping.shipments import shipment_id

# Why the carrier refuses to dispatch a parcel of an order.
REFUSED = {
    Contradiction.UNKNOWN_SHIPMENT: "no shipment of {order} is requested: check the id, and that the order is confirmed",
    Contradiction.RECALLED: "the shipment of {order} is recalled, because the order is cancelled",
    Contradiction.ID_REUSED: "the carrier knows another parcel of this id",
    Contradiction.LINES_EXCEEDED: "the shipment of {order} has no such units left to dispatch",
}
LEEDS = {"lat": 53.7997, "lon": -1.5492}


@dataclass
class Carrier:
    """The carrier of a target's sandbox: it moves parcels and sends webhook events about them.

    Events without an answer and with a 5xx are signed and sent again for `patience` seconds. `at` is the time of every event, now if
    empty.
    """

    target: Target
    timeout: float = web.TIMEOUT
    patience: float = 0.0
    at: str = ""
    sent: list[bytes] = field(default_factory=list[bytes])

    @cached_property
    def sandbox(self) -> SandboxCarrier:
        """The carrier's store of shipments."""
        return SandboxCarrier(self.target.resources["SandboxShipments"], self.target.client("dynamodb"))

    @cached_property
    def secret(self) -> str:
        """The secret that signs its webhook events: the first valid one."""
        name = self.target.resources["CarrierWebhookSecret"]
        return secrets_of(self.target.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])[0]

    def parcels(self, order_id: str) -> list[str]:
        """Return the ids of an order's dispatched parcels."""
        shipment = self.sandbox.look_up(shipment_id(order_id))
        return [parcel.parcel_id for parcel in shipment.parcels] if shipment else []

    def dispatch(self, order_id: str, lines: Sequence[tuple[str, int]] = (), *, send_event: bool = True) -> str:
        """Dispatch a parcel with these lines (sku, quantity), by default with all remaining ones; return its id.

        Raises:
            CarrierRefused: the order has no remaining lines, or its shipment was recalled.
        """
        wanted = shipment_id(order_id)
        held = tuple(StockLine(sku, quantity) for sku, quantity in lines) or self.sandbox.undispatched_lines(wanted)
        parcel = Parcel(f"parcel_{uuid4().hex[:12]}", held)
        self.sandbox.dispatch(wanted, parcel)
        if send_event:
            contents = [{"sku": line.sku, "quantity": line.quantity} for line in held]
            self.post_event(order_id, "dispatched", parcel_id=parcel.parcel_id, lines=contents)
        return parcel.parcel_id

    def deliver(self, order_id: str, parcel_id: str) -> Answer:
        """Report a parcel as delivered."""
        return self.post_event(order_id, "delivered", parcel_id=parcel_id)

    def lose(self, order_id: str, parcel_id: str) -> Answer:
        """Report a parcel as lost."""
        return self.post_event(order_id, "lost", parcel_id=parcel_id)

    def receive_return(self, order_id: str, return_id: str) -> Answer:
        """Report a return as received."""
        return self.post_event(order_id, "returned", return_id=return_id)

    def send_readings(self, order_id: str, parcel_id: str, temperatures: Sequence[int], apart: timedelta = timedelta(seconds=1)) -> None:
        """Report a parcel's position and temperature in tenths of a degree Celsius, an event for each temperature, the last one now."""
        end = datetime.fromisoformat(self.at) if self.at else datetime.now(UTC)
        for number, temperature in enumerate(temperatures, 1):
            at = (end - apart * (len(temperatures) - number)).isoformat()
            self.post_event(order_id, "in_transit", parcel_id=parcel_id, position=LEEDS, temperature=temperature, at=at)

    def post_event(self, order_id: str, kind: str, **more: Any) -> Answer:
        """Sign a webhook event about an order's shipment and post it.

        Raises:
            UserError: the webhook did not accept it.
        """
        message = {"message_id": f"msg_{uuid4().hex}", "type": kind, "shipment_id": shipment_id(order_id)}
        body = json.dumps(message | {"at": self.at or datetime.now(UTC).isoformat()} | more).encode()
        self.sent.append(body)
        answer = self.post(body)
        if answer.status != 202:
            raise UserError(f"the webhook answered {answer.status}: {answer.body.decode(errors='replace')}")
        return answer

    def post(self, body: bytes, signature: Mapping[str, str] | None = None) -> Answer:
        """Post a body under one message id; every attempt has a new signature unless the signature's headers are given."""
        message_id = f"msg_{uuid4().hex}"
        url, host = self.target.function_url("CarrierWebhookUrl")

        def send() -> Answer:
            signed = signed_headers(self.secret, message_id, body, int(time.time())) if signature is None else signature
            headers = {"Content-Type": "application/json", **signed, **host}
            return web.call("POST", url, headers=headers, body=body, timeout=self.timeout)

        return web.with_retries(send, self.patience)


def lines_of(text: str) -> list[tuple[str, int]]:
    """Parse `SKU=1,OTHER=2`. Raises UsageError for malformed lines."""
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(sku.strip() and quantity.strip().isdecimal() for sku, _, quantity in parts):
        raise UsageError(f"LINES must be SKU=quantity separated by commas, not {text!r}")
    return [(sku.strip(), int(quantity)) for sku, _, quantity in parts]


def readings_of(text: str) -> tuple[list[int], timedelta]:
    """Return the readings for a temperature in degrees: four within 90 minutes, so that goods with a narrower range spoil.

    Without a temperature they are four of a refrigerator, a second apart. Raises UsageError for a malformed temperature.
    """
    if not text:
        return [41, 38, 44, 40], timedelta(seconds=1)
    try:
        return [round(float(text) * 10)] * 4, timedelta(minutes=30)
    except (ValueError, OverflowError):
        raise UsageError(f"TEMPERATURE must be degrees Celsius such as 12.5, not {text!r}") from None


def apply(carrier: Carrier, arguments: Namespace) -> str:
    """Perform the option's action; return a line about it. Raises UserError without a dispatched parcel, UsageError without a return."""
    order_id, what = arguments.order, arguments.do
    parcels = [arguments.parcel] if arguments.parcel else carrier.parcels(order_id)
    each: dict[str, Callable[[str], object]] = {
        "deliver": lambda parcel: carrier.deliver(order_id, parcel),
        "lose": lambda parcel: carrier.lose(order_id, parcel),
        "readings": lambda parcel: carrier.send_readings(order_id, parcel, *readings_of(arguments.temperature)),
    }
    if what == "dispatch":
        return f"{carrier.dispatch(order_id, lines_of(arguments.lines))} dispatched"
    if what == "return":
        return_id = arguments.return_
        if not return_id:
            raise UsageError("RETURN is missing: make carrier DO=return needs RETURN=ret_…")
        carrier.receive_return(order_id, return_id)
        return f"{return_id} arrived"
    if not parcels:
        raise UserError(f"no parcel of {order_id} is dispatched: make carrier ORDER={order_id} DO=dispatch")
    for parcel in parcels:
        each[what](parcel)
    return f"{what}: {', '.join(parcels)}"


def main(arguments: Namespace) -> None:
    """Act as the options say and print the result."""
    try:
        done = apply(Carrier(targets.chosen(arguments.stack), at=arguments.at), arguments)
    except CarrierRefused as refused:
        raise UserError(REFUSED[refused.code].format(order=arguments.order)) from None
    ui.console.print(f"  {done}\n\n  make trace ORDER={arguments.order}", highlight=False)
