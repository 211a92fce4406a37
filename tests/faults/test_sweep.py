"""Every call of every path fails in every way, once and persistently, and every message is delivered twice.

A run without faults records the calls first, so that a new call of any function is swept by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from orders.domain import pricing
from tests.faults.conftest import Tally
from tests.faults.faults import LASTING, ONCE, REFUSED, Call, Disturbance, Kind, lasts, takes
from tests.faults.invariants import states, violations
from tests.faults.paths import PATHS, Path, Stage, begin, cancellation, finish, request
from tests.faults.sweeps import Sweep, nothing_wrong
from tests.faults.world import CONSUMERS as CONSUMED
from tests.faults.world import STREAMED, NeverAnswered, World

COMPENSATIONS = ("OrdersFail", "ShippingRecall", "PaymentsVoid", "InventoryRelease", "OrdersFinalize")
CONSUMERS = ("ShippingRequest", "ShippingWebhook", "InventorySettle", "PaymentsSettle")
FORWARD = ("InventoryReserve", "FraudScreen", "PaymentsAuthorize", "OrdersConfirm")
ASKS = ("OrdersPlace", "OrdersCancel", "OrdersPublish", "ShippingWebhook")

every_path = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name.replace(" ", "-"))


def recorded(stage: Stage, path: Path) -> list[Call]:
    """Return the calls of a run without faults, after checking its result."""
    world = stage.world(path)
    begin(world, path)
    calls, stage.post_fulfilment_from = list(world.disturbance.calls), world.post_fulfilment_from
    finish(world, path)
    assert wrong(world, path, ends={path.ends}) == []
    return calls


def own(stage: Stage, path: Path) -> dict[int, Call]:
    """Return numbered calls, without the confirmation that all paths share: the first path covers it."""
    calls = recorded(stage, path)
    return {number: call for number, call in enumerate(calls) if number >= stage.post_fulfilment_from or not path.begins_as_every}


def wrong(world: World, path: Path, ends: set[str] | None = None, orders: int = 1) -> list[str]:
    """Return the violations of a finished run; with `ends`, the order must be in one of these states."""
    found = [f"{violation.rule}: {violation.what}" for violation in violations(world)]
    if ends is not None and (set(states(world)) - ends or states(world).total() != orders):
        found.append(f"{path.name} ends {path.ends}, not {dict(states(world))}")
    return found


@every_path
def test_single_fault_of_one_call(stage: Stage, tally: Tally, path: Path) -> None:
    """A single fault changes nothing: the order ends the same."""

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        world = stage.world(path, disturbance, attempts)
        begin(world, path)
        finish(world, path)
        return wrong(world, path, ends={path.ends})

    Sweep(path.name, tally).once(own(stage, path).items(), run)


@every_path
def test_persistent_fault_until_retries_end(stage: Stage, tally: Tally, path: Path) -> None:
    """The order may then be rejected, consistently; recovery completes a stuck order.

    Where an order with a life is cancelled, the shorter path on which that happens stands for the saga's steps.
    """
    failures: dict[str, list[str]] = {}
    calls = [call for call in own(stage, path).values() if not path.life or call.function not in COMPENSATIONS]
    since = stage.post_fulfilment_from if path.begins_as_every else 0
    for call in dict.fromkeys(calls):
        for kind in (kind for kind in LASTING if lasts(kind, call)):
            for queue_too in (False, True)[: 1 + (call.function in COMPENSATIONS)]:
                disturbance = Disturbance(kind, match=_same(call, since=since, queue_too=queue_too))
                world = stage.world(path, disturbance)
                with suppress(NeverAnswered):
                    begin(world, path)
                finish(world, path)
                tally(path.name, f"lasting {kind.name}")
                found = wrong(world, path, ends={path.ends, "rejected", "confirmed", *({"cancelled"} if path.left else ())})
                if call.function not in ASKS and kind.before and not disturbance.hits:
                    found.append("the fault never occurred")
                if found and not (call.function == "OrdersPlace" and states(world).total() == 0):
                    failures[f"{call}, {kind.name}{', and the operations queue' if queue_too else ''}"] = found
    nothing_wrong(failures)


def _same(call: Call, *, since: int, queue_too: bool) -> Callable[[int, Call], bool]:
    return lambda number, made: number >= since and (made == call or (queue_too and made.function == "Fulfilment"))


@every_path
def test_function_is_down_for_a_while(stage: Stage, tally: Tally, path: Path) -> None:
    failures: dict[str, list[str]] = {}
    called = {call.function for call in recorded(stage, path)}
    for function in (*FORWARD, *COMPENSATIONS, *CONSUMERS):
        if function not in called:
            continue
        world = stage.world(path)
        world.broken.add(function)
        with suppress(NeverAnswered):
            begin(world, path)
        finish(world, path)
        tally(path.name, "function broken")
        if found := wrong(world, path):
            failures[function] = found
    nothing_wrong(failures)


def _saga_again(world: World, path: Path) -> None:
    world.saga(world.placed())


def _stream_again(world: World, path: Path) -> None:
    world.deliver([record for record in world.aws.dynamodb.changes["OrderLog"] if record["eventName"] == "INSERT"])


def _request_again(world: World, path: Path) -> None:
    world.post(request(path))


def _events_again(world: World, path: Path) -> None:
    for entry in list(world.aws.events.entries):
        for name, (_, types) in CONSUMED.items():
            if entry["DetailType"] in types:
                world.wake(name, entry["Detail"])
    for record in list(world.aws.kinesis.records):
        for name, (_, types) in STREAMED.items():
            if json.loads(record["Data"])["type"] in types:
                world.stream(name, record)


AGAIN: dict[str, Callable[[World, Path], None]] = {
    "saga twice": _saga_again,
    "stream batch twice": _stream_again,
    "request twice": _request_again,
    "events twice": _events_again,
}


@every_path
@pytest.mark.parametrize("what", AGAIN)
def test_message_is_redelivered_at_any_call(stage: Stage, tally: Tally, path: Path, what: str) -> None:
    """Between any two calls of the run, and after its end.

    The publisher and the API keep nothing between their calls, so for them one path stands for all. A path's life is for those
    that events trigger.
    """
    failures: dict[str, list[str]] = {}
    calls = recorded(stage, path)
    first = next(number for number, call in enumerate(calls) if call.function != "OrdersPlace")
    begins = 0 if what == "request twice" else first
    if path.life:
        begins = stage.post_fulfilment_from if what == "events twice" else len(calls)
    elif what != "saga twice" and path is not PATHS[0]:
        begins = len(calls)
    for number in range(begins, len(calls) + 1):
        disturbance = Disturbance(match=lambda at, _call, number=number: at == number)
        world = stage.world(path, disturbance)
        disturbance.act = lambda world=world: AGAIN[what](world, path)
        begin(world, path)
        if number == len(calls):
            AGAIN[what](world, path)
        finish(world, path)
        tally(path.name, what)
        if found := wrong(world, path, ends={path.ends}):
            failures[f"before {number} {calls[number] if number < len(calls) else 'nothing more'}"] = found
    nothing_wrong(failures)


COMPENSATED = [path for path in PATHS if path.name in {"confirmed", "lost answer of the provider", "declined", "approved by a reviewer"}]


@pytest.mark.parametrize("path", COMPENSATED, ids=lambda path: path.name.replace(" ", "-"))
@pytest.mark.parametrize("function", FORWARD)
def test_second_saga_fails_at_any_call_of_the_first(stage: Stage, tally: Tally, path: Path, function: str) -> None:
    """Confirmation and compensation meet at every call: one of them wins, and the state is consistent."""
    failures: dict[str, list[str]] = {}
    calls = recorded(stage, path)
    first = next(number for number, call in enumerate(calls) if call.function not in ASKS)
    for number in range(first, len(calls)):
        disturbance = Disturbance(match=lambda at, _call, number=number: at == number)
        world = stage.world(path, disturbance)
        disturbance.act = _failing(world, function)
        begin(world, path)
        finish(world, path)
        tally(path.name, "second saga fails")
        if found := wrong(world, path, ends={path.ends, "rejected"}):
            failures[f"{function} broken, before {number} {calls[number]}"] = found
    nothing_wrong(failures)


CANCELLED = [path for path in PATHS if path.name in {"confirmed", "lost answer of the provider", "declined", "held for review"}]
GOES_WRONG = {"nothing": None, **{kind.name: kind for kind in ONCE if kind is not REFUSED}}


@pytest.mark.parametrize("path", CANCELLED, ids=lambda path: path.name.replace(" ", "-"))
@pytest.mark.parametrize("what", GOES_WRONG)
def test_customer_cancels_at_any_call(stage: Stage, tally: Tally, path: Path, what: str) -> None:
    """At every call of the saga and under every fault, a cancellation is accepted or refused, and the log agrees."""
    failures: dict[str, list[str]] = {}
    kind, calls = GOES_WRONG[what], recorded(stage, path)
    first = next(number for number, call in enumerate(calls) if call.function not in ASKS)
    for number in range(first, len(calls)):
        disturbance = Disturbance(match=lambda at, _call, number=number: at == number)
        world = stage.world(path, disturbance, attempts=2 if kind and kind.retried else 1)
        disturbance.act = _cancelling(world, kind)
        begin(world, path)
        finish(world, path)
        tally(path.name, "cancelled at any moment")
        if found := wrong(world, path, ends={"cancelled", *({path.ends} & {"rejected"})}):
            failures[f"before {number} {calls[number]}"] = found
    nothing_wrong(failures)


def _cancelling(world: World, kind: Kind | None) -> Callable[[], Any]:
    def act() -> None:
        other = Disturbance(kind, match=lambda _number, call: not other.hits and kind is not None and takes(kind, call))
        before, world.disturbance = world.disturbance, other
        world.cancel(cancellation(pricing.order_id("ann", "key-1")))
        world.disturbance = before

    return act


def _failing(world: World, function: str) -> Callable[[], Any]:
    def act() -> None:
        with world.breaking(function):
            world.saga(world.placed())

    return act


@every_path
def test_reservation_expires_at_any_call(stage: Stage, tally: Tally, path: Path) -> None:
    """The reservation is made again or not needed: the order ends the same, also after an authorization."""
    failures: dict[str, list[str]] = {}
    calls = recorded(stage, path)
    for number in range(len(calls) if path.life else 0, len(calls) + 1):
        disturbance = Disturbance(match=lambda at, _call, number=number: at == number)
        world = stage.world(path, disturbance)
        disturbance.act = world.expire
        begin(world, path)
        if number == len(calls):
            world.expire()
        finish(world, path)
        tally(path.name, "reservation expires")
        if found := wrong(world, path, ends={path.ends}):
            failures[f"before {number} {calls[number] if number < len(calls) else 'nothing more'}"] = found
    nothing_wrong(failures)


def test_expired_stock_is_sold_to_another_customer_at_any_call(stage: Stage, tally: Tally) -> None:
    """One order gets the last item; the other has neither stock nor an authorization."""
    failures: dict[str, list[str]] = {}
    path = Path("the last item", "confirmed", lines=({"sku": "LAST-ITEM-CLOCK", "quantity": 1},))
    calls = recorded(stage, path)
    first = next(number for number, call in enumerate(calls) if call.function not in ASKS)
    for number in range(first, len(calls)):
        disturbance = Disturbance(match=lambda at, _call, number=number: at == number)
        world = stage.world(path, disturbance)
        disturbance.act = _bought_by_bob(world, path)
        begin(world, path)
        finish(world, path)
        tally(path.name, "expires, and is sold")
        found = wrong(world, path, ends={"confirmed", "rejected"}, orders=2)
        if dict(states(world)) != {"confirmed": 1, "rejected": 1}:
            found.append(f"the orders are {dict(states(world))}")
        if found:
            failures[f"before {number} {calls[number]}"] = found
    nothing_wrong(failures)


def _bought_by_bob(world: World, path: Path) -> Callable[[], Any]:
    def act() -> None:
        world.expire()
        world.post(request(path, "bob"))
        world.saga(world.placed(1))

    return act
