"""`make invoke`: every function of the template with every one of its sample events, in Lambda containers.

A sample is events/<context>/<function>/<case>.json. Beside it, <case>.answer.json is what the answer must have at least:
objects may hold more, lists may not, and text that is JSON is compared as JSON. Without one, anything but an error will do.
Samples may name ${TOKEN_ANN} (a customer's bearer token) and the stack's resources by logical id, as ${EventBus}.

The samples meet an emulator of their own in which nothing else happens: its event sources and rules are switched off.
They run in the order of FLOW, so one may rely on what those before it did. Orders that have to be there already, and the
steps that they have behind them, stand in events/prepared.json: functions by module, and what a customer does. Those steps run
in the emulator, where they take a tenth of the time.
"""

import contextlib
import json
import re
import time
from argparse import Namespace
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from rich.text import Text

from devtools import template, ui
from devtools.cli import UserError
from devtools.local import bootstrap, container_proxy, containers, deploy, emulator, issuer, seed
from devtools.local.containers import Lambda
from devtools.target import ROOT, Target
from orderflow.aws.order_log import OrderLog
from orderflow.aws.payment_tokens import PaymentTokens
from orderflow.domain import events as facts
from orderflow.domain.commands import Command, RecordDelivery, RecordDispatch, RecordLoss, RequestCancellation
from orderflow.domain.money import Money
from orderflow.domain.order import Order, remaining

EVENTS = ROOT / "events"
PREPARED = EVENTS / "prepared.json"

# The order in which an order meets the functions.
FLOW = (
    "identity.handlers.authorize_request",
    "orders.handlers.get_openapi",
    "orders.handlers.place_order",
    "orders.handlers.get_order",
    "orders.handlers.cancel_order",
    "orders.handlers.create_return",
    "orders.handlers.publish",
    "inventory.handlers.reserve_stock",
    "fraud.handlers.screen_order",
    "payments.handlers.authorize_payment",
    "orders.handlers.confirm_order",
    "orders.handlers.record_failure",
    "shipping.handlers.recall_shipment",
    "payments.handlers.void_payment",
    "inventory.handlers.release_stock",
    "orders.handlers.finalize_order",
    "shipping.handlers.request_shipment",
    "payments.handlers.settle_payment",
    "payments.handlers.receive_webhook",
    "payments.handlers.process_webhook_event",
    "payments.handlers.reconcile_payments",
    "orders.handlers.project",
    "orders.handlers.list_orders",
    "orders.handlers.rebuild_view",
    "inventory.handlers.sync_stock",
    "inventory.handlers.expire_reservations",
    "inventory.handlers.reconcile_stock",
    "shipping.handlers.receive_webhook",
    "shipping.handlers.retry_carrier_events",
    "shipping.handlers.track_parcels",
    "invoices.handlers.issue_invoices",
    "invoices.handlers.get_invoice",
    "loyalty.handlers.award_points",
    "loyalty.handlers.get_points",
    "analytics.handlers.count_events",
    "analytics.handlers.aggregate",
    "analytics.handlers.get_sales",
    "analytics.handlers.get_leaderboard",
    "reviews.handlers.open_review",
    "reviews.handlers.store_task_token",
    "reviews.handlers.list_reviews",
    "reviews.handlers.expire_review",
    "reviews.handlers.decide_review",
    "reviews.handlers.close_review",
    "notifications.handlers.send_emails",
    # The orders of the samples to be posted are on no log, which a proof after them would find.
    "ledger.handlers.audit_ledger",
    "ledger.handlers.post_entries",
    "operations.handlers.recover_orders",
    "operations.handlers.publish_missing_events",
    "operations.handlers.redrive",
)

# What somebody outside does to an order: its customer, or the carrier.
OUTSIDE: dict[str, Callable[[Order], Command]] = {
    "customer.cancels": lambda _order: RequestCancellation("customer"),
    "carrier.dispatches": lambda order: RecordDispatch("parcel_1", remaining(order)),
    "carrier.loses": lambda _order: RecordLoss("parcel_1"),
    "carrier.delivers": lambda _order: RecordDelivery("parcel_1"),
}


@dataclass(frozen=True)
class Function:
    """A function of the template: its logical id, and its module (`orders.handlers.place_order`)."""

    name: str
    module: str

    @property
    def folder(self) -> Path:
        """Where its sample events are."""
        return EVENTS.joinpath(*self.module.split(".handlers."))

    @property
    def samples(self) -> list[Path]:
        """Its sample events, by name."""
        found = (path for path in self.folder.glob("*.json") if not path.name.endswith(".answer.json"))
        return sorted(found, key=lambda path: path.stem)


def functions() -> list[Function]:
    """The template's functions in the order of FLOW, ones that are not in it last."""
    resources: dict[str, Any] = template.source()["Resources"]
    found = [
        Function(name, resource["Properties"]["Handler"].removesuffix(".handler"))
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Serverless::Function"
    ]
    return sorted(found, key=lambda function: (_place(function.module), function.module))


def _place(module: str) -> int:
    return FLOW.index(module) if module in FLOW else len(FLOW)


def filled(text: str, values: Mapping[str, str]) -> str:
    """A sample with its ${NAME}s replaced, quoted as JSON text needs it. Raises UserError for a name that nobody gives."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise UserError(f"a sample names ${{{match[1]}}}; known are {', '.join(sorted(values))}")
        return json.dumps(values[match[1]])[1:-1]

    return re.sub(r"\$\{(\w+)\}", value, text)


def differences(expected: Any, actual: Any, where: str = "answer") -> Iterator[str]:
    """In what an answer is not as expected, one line each."""
    if isinstance(expected, dict | list) and isinstance(actual, str):
        actual = containers.decoded(actual)
    if isinstance(expected, dict) and isinstance(actual, dict):
        there = cast("dict[str, Any]", actual)
        for name, value in cast("dict[str, Any]", expected).items():
            yield from differences(value, there.get(name), f"{where}.{name}")
    elif isinstance(expected, list) and isinstance(actual, list) and len(cast("list[Any]", expected)) == len(cast("list[Any]", actual)):
        for number, (value, got) in enumerate(zip(cast("list[Any]", expected), cast("list[Any]", actual), strict=True)):
            yield from differences(value, got, f"{where}[{number}]")
    elif json.dumps(expected, sort_keys=True) != json.dumps(actual, sort_keys=True):
        yield f"{where} is {_short(actual)}, not {_short(expected)}"


def check(sample: Path, answer: Any) -> list[str]:
    """What is wrong with a function's answer to a sample."""
    beside = sample.with_suffix(".answer.json")
    if beside.exists():
        return list(differences(json.loads(beside.read_text()), answer))
    failed = isinstance(answer, dict) and ("errorType" in answer or "errorMessage" in answer)
    return [f"failed: {_short(answer)}"] if failed else []


def _short(value: Any, length: int = 200) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= length else f"{text[: length - 1]}…"


@contextlib.contextmanager
def fresh_target() -> Generator[Target]:
    """An emulator of its own with the stack deployed and seeded, in which nothing happens by itself."""
    target = Target("embedded", f"http://127.0.0.1:{containers.free_port()}", managed=True)
    try:
        bootstrap.ready(target)
        _silence(target)
        yield target
    finally:
        emulator.stop(target.port)


def _silence(target: Target) -> None:
    sources, rules = target.client("lambda"), target.client("events")
    for source in sources.list_event_source_mappings()["EventSourceMappings"]:
        sources.update_event_source_mapping(UUID=source["UUID"], Enabled=False)
    for bus in ("default", target.resources["EventBus"]):
        for rule in rules.list_rules(EventBusName=bus)["Rules"]:
            rules.disable_rule(Name=rule["Name"], EventBusName=bus)


def deployed(target: Target) -> Callable[[str, str], Any]:
    """What calls a function on the target, by its logical id, with an event (JSON), and returns its answer."""
    client = target.client("lambda")

    def call(function: str, event: str) -> Any:
        answer = client.invoke(FunctionName=target.resources[function], Payload=event.encode())
        return containers.decoded(answer["Payload"].read())

    return call


def prepare(log: OrderLog, tokens: PaymentTokens, call: Callable[[str, str], Any]) -> None:
    """Have the orders of events/prepared.json on the log, each with the steps behind it that it names.

    `call` invokes a function, by its logical id, with an event (JSON) and returns its answer.
    """
    orders: dict[str, Any] = json.loads(PREPARED.read_text())
    names = {function.module: function.name for function in functions()}
    with ui.stage("orders for the samples") as stage:
        for order_id, order in orders.items():
            stage.detail = order_id
            storing = tokens.storing(order_id, order["payment_token"], datetime.now(UTC) + timedelta(days=1))
            log.place(order_id, _placed(order), correlation_id="sample", fingerprint="sample", extra_writes=[storing])
            for step in order.get("steps", []):
                if step in OUTSIDE:
                    order_so_far = log.load(order_id)
                    log.record(order_so_far, OUTSIDE[step](order_so_far), source="sample")
                else:
                    _step(call, step, names[step], order_id)
        stage.detail = str(len(orders))


def _step(call: Callable[[str, str], Any], module: str, function: str, order_id: str) -> None:
    # `step` and `error` are what the step that gives an order up is told.
    given = dict.fromkeys(("correlation_id", "execution", "step", "error"), "sample") | {"order_id": order_id}
    answer = call(function, json.dumps(given))
    if not isinstance(answer, dict) or "outcome" not in answer:
        raise UserError(f"{order_id} of events/prepared.json: {module} answered {_short(answer)}")


def _placed(order: dict[str, Any]) -> facts.OrderPlaced:
    products = {product.sku: product for product in seed.PRODUCTS}
    lines = tuple(
        facts.Line(sku, products[sku].name, quantity, Money(products[sku].unit_price, products[sku].currency))
        for sku, quantity in order["lines"].items()
    )
    total = Money(sum(line.unit_price.amount * line.quantity for line in lines), lines[0].unit_price.currency)
    customer = facts.Customer(order["customer"], f"{order['customer']}@example.com")
    country = order.get("country", "GB")
    address = facts.Address("Ann Lee", "1 High St", "Leeds", "LS1 1AA", country)
    return facts.OrderPlaced(customer, lines, total, address, order.get("payment_country", country))


def run(function: Function, lambdas: Lambda, values: Mapping[str, str]) -> bool:
    """Call a function with each of its samples and print how each went; says whether all went well."""
    if not function.samples:
        _print_row(function.module, "", 0, [f"no sample in {function.folder.relative_to(ROOT)}/"], "")
    good = bool(function.samples)
    for sample in function.samples:
        event = filled(sample.read_text(), values)
        began = time.monotonic()
        answer = lambdas.call(function.name, event)
        wrong = check(sample, answer)
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
    told = next((name for name in ("outcome", "statusCode", "errorMessage", "principalId") if name in known), None)
    return f"{told}: {_short(known[told], 60)}" if told else _short(answer, 60)


def _values(target: Target) -> dict[str, str]:
    tokens = {name: issuer.token(target, name, seed.GROUPS.get(name, ())) for name in seed.REGULARS}
    return {f"TOKEN_{name.upper()}": token for name, token in tokens.items()} | target.resources


def main(_: Namespace) -> int:
    """Run every sample; 1 where an answer differs from what is expected, or a function has no sample."""
    began = time.monotonic()
    skip_pull = containers.require_engine(deploy.architecture())
    with fresh_target() as target, container_proxy.open_for_containers(target.port) as endpoint:
        client = target.client("dynamodb")
        tokens = PaymentTokens(target.resources["PaymentTokens"], client)
        prepare(OrderLog(target.resources["OrderLog"], client), tokens, deployed(target))
        with containers.running(containers.resolved(target, endpoint), skip_pull=skip_pull) as lambdas:
            ui.headline(f"    {'function':<20} {'sample':<32} {'time':>10}  answer")
            good = [run(function, lambdas, _values(target)) for function in functions()]
    ui.console.print(f"\n  {sum(good)} of {len(good)} functions answered as expected, {ui.seconds(time.monotonic() - began)}")
    if not all(good):
        ui.console.print("  What the functions logged is in .local/invoke.log")
    return 0 if all(good) else 1
