"""`make invoke`: run every function with its sample events in Lambda containers.

The samples run on a separate emulator without other activity: its event sources and rules are disabled. They run in the
template's order, so a sample can rely on the effects of earlier ones. events/prepared.json has the orders that exist before, with
the steps they have completed: functions by module, and actions of customer and carrier. These steps run in the emulator, which is
ten times as fast as containers.
"""

import contextlib
import json
import time
from argparse import Namespace
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from rich.text import Text

from devtools import ui
from devtools.cli import UserError
from devtools.local import bootstrap, container_proxy, containers, deploy, emulator, issuer, samples, seed
from devtools.local.containers import Lambda
from devtools.products import BY_SKU
from devtools.target import ROOT, Target
from orderflow.aws.order_log import OrderLog
from orderflow.aws.payment_tokens import PaymentTokens
from orderflow.domain import events
from orderflow.domain.commands import Command, RecordDelivery, RecordDispatch, RecordLoss, RequestCancellation
from orderflow.domain.money import Money
from orderflow.domain.order import Order, remaining

PREPARED = samples.EVENTS / "prepared.json"

# Commands of the customer and the carrier.
OUTSIDE: dict[str, Callable[[Order], Command]] = {
    "customer.cancels": lambda _order: RequestCancellation("customer"),
    "carrier.dispatches": lambda order: RecordDispatch("parcel_1", remaining(order)),
    "carrier.loses": lambda _order: RecordLoss("parcel_1"),
    "carrier.delivers": lambda _order: RecordDelivery("parcel_1"),
}


@contextlib.contextmanager
def fresh_target() -> Generator[Target]:
    """Start a separate emulator with the stack deployed and seeded, and its event sources and rules disabled."""
    target = Target("embedded", f"http://127.0.0.1:{containers.free_port()}", managed=True)
    try:
        bootstrap.bring_up(target)
        _disable_triggers(target)
        yield target
    finally:
        emulator.stop(target.port)


def _disable_triggers(target: Target) -> None:
    sources, rules = target.client("lambda"), target.client("events")
    for source in sources.list_event_source_mappings()["EventSourceMappings"]:
        sources.update_event_source_mapping(UUID=source["UUID"], Enabled=False)
    for bus in ("default", target.resources["EventBus"]):
        for rule in rules.list_rules(EventBusName=bus)["Rules"]:
            rules.disable_rule(Name=rule["Name"], EventBusName=bus)


def deployed(target: Target) -> Callable[[str, str], Any]:
    """Return a function that invokes a function of the target by its logical id with an event (JSON) and returns the answer."""
    client = target.client("lambda")

    def call(function: str, event: str) -> Any:
        answer = client.invoke(FunctionName=target.resources[function], Payload=event.encode())
        return containers.decoded(answer["Payload"].read())

    return call


def prepare(log: OrderLog, tokens: PaymentTokens, call: Callable[[str, str], Any]) -> None:
    """Place the orders of events/prepared.json and run their steps.

    `call` invokes a function by its logical id with an event (JSON) and returns its answer.
    """
    orders: dict[str, Any] = json.loads(PREPARED.read_text())
    names = {function.module: function.name for function in samples.functions()}
    with ui.stage("orders for the samples") as stage:
        for order_id, order in orders.items():
            stage.detail = order_id
            token_write = tokens.put_request(order_id, order["payment_token"], datetime.now(UTC) + timedelta(days=1))
            log.place(order_id, _placed(order), correlation_id="sample", fingerprint="sample", extra_writes=[token_write])
            for step in order.get("steps", []):
                if step in OUTSIDE:
                    order_so_far = log.load(order_id)
                    log.record(order_so_far, OUTSIDE[step](order_so_far), source="sample")
                else:
                    _step(call, step, names[step], order_id)
        stage.detail = str(len(orders))


def _step(call: Callable[[str, str], Any], module: str, function: str, order_id: str) -> None:
    # `step` and `error` are input of the step that records a failure.
    given = dict.fromkeys(("correlation_id", "execution", "step", "error"), "sample") | {"order_id": order_id}
    answer = call(function, json.dumps(given))
    if not isinstance(answer, dict) or "outcome" not in answer:
        raise UserError(f"{order_id} of events/prepared.json: {module} answered {samples.short(answer)}")


def _placed(order: dict[str, Any]) -> events.OrderPlaced:
    lines = tuple(
        events.Line(sku, BY_SKU[sku].name, quantity, Money(BY_SKU[sku].unit_price, BY_SKU[sku].currency))
        for sku, quantity in order["lines"].items()
    )
    total = Money(sum(line.unit_price.amount * line.quantity for line in lines), lines[0].unit_price.currency)
    customer = events.Customer(order["customer"], f"{order['customer']}@example.com")
    country = order.get("country", "GB")
    address = events.Address("Ann Lee", "1 High St", "Leeds", "LS1 1AA", country)
    return events.OrderPlaced(customer, lines, total, address, order.get("payment_country", country))


def run(function: samples.Function, lambdas: Lambda, values: Mapping[str, str]) -> bool:
    """Invoke a function with each of its samples and print the results; return whether all are as expected."""
    if not function.samples:
        _print_row(function.module, "", 0, [f"no sample in {function.folder.relative_to(ROOT)}/"], "")
    good = bool(function.samples)
    for sample in function.samples:
        event = samples.filled(sample.read_text(), values)
        began = time.monotonic()
        answer = lambdas.call(function.name, event)
        wrong = samples.check(sample, answer)
        _print_row(function.module, sample.stem, time.monotonic() - began, wrong, answer)
        good = good and not wrong
    return good


def _print_row(module: str, sample: str, took: float, wrong: list[str], answer: Any) -> None:
    mark = ("✗", "red") if wrong else ("✓", "green")
    ui.console.print(Text.assemble("  ", mark, f" {module:<20} {sample:<32} {took * 1000:>7.0f} ms  ", (_summary(answer), "dim")))
    for line in wrong:
        ui.console.print(f"      {line}", style="red")


def _summary(answer: Any) -> str:
    known = cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}
    key = next((name for name in ("outcome", "statusCode", "errorMessage", "principalId") if name in known), None)
    return f"{key}: {samples.short(known[key], 60)}" if key else samples.short(answer, 60)


def _values(target: Target) -> dict[str, str]:
    tokens = {name: issuer.token(target, name, seed.GROUPS.get(name, ())) for name in seed.REGULARS}
    return {f"TOKEN_{name.upper()}": token for name, token in tokens.items()} | target.resources


def main(_: Namespace) -> int:
    """Run every sample; 1 where an answer differs from the expected one, or a function has no sample."""
    began = time.monotonic()
    skip_pull = containers.require_engine(deploy.architecture())
    with fresh_target() as target, container_proxy.open_for_containers(target.port) as opened:
        deploy.build_for_containers(target)
        client = target.client("dynamodb")
        tokens = PaymentTokens(target.resources["PaymentTokens"], client)
        prepare(OrderLog(target.resources["OrderLog"], client), tokens, deployed(target))
        with containers.running(containers.resolved(target, opened.endpoint), opened.options, skip_pull=skip_pull) as lambdas:
            ui.headline(f"    {'function':<20} {'sample':<32} {'time':>10}  answer")
            good = [run(function, lambdas, _values(target)) for function in samples.functions()]
    ui.console.print(f"\n  {sum(good)} of {len(good)} functions answered as expected, {ui.seconds(time.monotonic() - began)}")
    if not all(good):
        ui.console.print("  The functions' log is .local/invoke.log")
    return 0 if all(good) else 1
