"""Every call of every path fails in every way, once and persistently, and every message is delivered twice.

A run without faults first records the calls, so the sweep includes every new call automatically.
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
from tests.faults.simulation import CONSUMERS as CONSUMED
from tests.faults.simulation import STREAMED, NeverAnswered, Simulation
from tests.faults.sweeps import Sweep, assert_no_failures

COMPENSATIONS = ("OrdersFail", "ShippingRecall", "PaymentsVoid", "InventoryRelease", "OrdersFinalize")
CONSUMERS = ("ShippingRequest", "ShippingWebhook", "InventorySettle", "PaymentsSettle")
FORWARD = ("InventoryReserve", "FraudScreen", "PaymentsAuthorize", "OrdersConfirm")
REPEATED_BY_CLIENTS = ("OrdersPlace", "OrdersCancel", "OrdersPublish", "ShippingWebhook")

every_path = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name.replace(" ", "-"))


def recorded(stage: Stage, path: Path) -> list[Call]:
    """Return the calls of a run without faults, after checking its result."""
    simulation = stage.simulation(path)
    begin(simulation, path)
    calls, stage.post_fulfilment_from = list(simulation.disturbance.calls), simulation.post_fulfilment_from
    finish(simulation, path)
    assert wrong(simulation, path, ends={path.ends}) == []
    return calls


def own(stage: Stage, path: Path) -> dict[int, Call]:
    """Return numbered calls, without the confirmation that all paths share: the first path covers it."""
    calls = recorded(stage, path)
    return {number: call for number, call in enumerate(calls) if number >= stage.post_fulfilment_from or not path.starts_with_confirmation}


def wrong(simulation: Simulation, path: Path, ends: set[str] | None = None, orders: int = 1) -> list[str]:
    """Return the violations of a finished run; with `ends`, the order must be in one of these states."""
    found = [f"{violation.rule}: {violation.what}" for violation in violations(simulation)]
    if ends is not None and (set(states(simulation)) - ends or states(simulation).total() != orders):
        found.append(f"{path.name} ends {path.ends}, not {dict(states(simulation))}")
    return found


@every_path
def test_single_fault_of_one_call(stage: Stage, tally: Tally, path: Path) -> None:
    """A single fault changes nothing: the order ends the same."""

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        simulation = stage.simulation(path, disturbance, attempts)
        begin(simulation, path)
        finish(simulation, path)
        return wrong(simulation, path, ends={path.ends})

    Sweep(path.name, tally).once(own(stage, path).items(), run)


@every_path
def test_persistent_fault_until_retries_end(stage: Stage, tally: Tally, path: Path) -> None:
    """The order may then be rejected, consistently; recovery completes a stuck order.

    For orders cancelled during their fulfilment, the shorter path covers the saga's steps.
    """
    failures: dict[str, list[str]] = {}
    calls = [call for call in own(stage, path).values() if not path.fulfilment or call.function not in COMPENSATIONS]
    since = stage.post_fulfilment_from if path.starts_with_confirmation else 0
    for call in dict.fromkeys(calls):
        for kind in (kind for kind in LASTING if lasts(kind, call)):
            for queue_too in (False, True)[: 1 + (call.function in COMPENSATIONS)]:
                disturbance = Disturbance(kind, match=_same(call, since=since, queue_too=queue_too))
                simulation = stage.simulation(path, disturbance)
                with suppress(NeverAnswered):
                    begin(simulation, path)
                finish(simulation, path)
                tally(path.name, f"lasting {kind.name}")
                found = wrong(simulation, path, ends={path.ends, "rejected", "confirmed", *({"cancelled"} if path.unreported else ())})
                if call.function not in REPEATED_BY_CLIENTS and kind.before and not disturbance.hits:
                    found.append("the fault never occurred")
                if found and not (call.function == "OrdersPlace" and states(simulation).total() == 0):
                    failures[f"{call}, {kind.name}{', and the operations queue' if queue_too else ''}"] = found
    assert_no_failures(failures)


def _same(call: Call, *, since: int, queue_too: bool) -> Callable[[int, Call], bool]:
    return lambda number, made: number >= since and (made == call or (queue_too and made.function == "Fulfilment"))


@every_path
def test_function_is_down_for_a_while(stage: Stage, tally: Tally, path: Path) -> None:
    failures: dict[str, list[str]] = {}
    called = {call.function for call in recorded(stage, path)}
    for function in (*FORWARD, *COMPENSATIONS, *CONSUMERS):
        if function not in called:
            continue
        simulation = stage.simulation(path)
        simulation.broken.add(function)
        with suppress(NeverAnswered):
            begin(simulation, path)
        finish(simulation, path)
        tally(path.name, "function broken")
        if found := wrong(simulation, path):
            failures[function] = found
    assert_no_failures(failures)


def _saga_again(simulation: Simulation, path: Path) -> None:
    simulation.saga(simulation.placed())


def _stream_again(simulation: Simulation, path: Path) -> None:
    simulation.deliver([record for record in simulation.aws.dynamodb.changes["OrderLog"] if record["eventName"] == "INSERT"])


def _request_again(simulation: Simulation, path: Path) -> None:
    simulation.post(request(path))


def _events_again(simulation: Simulation, path: Path) -> None:
    for entry in list(simulation.aws.events.entries):
        for name, (_, types) in CONSUMED.items():
            if entry["DetailType"] in types:
                simulation.deliver_event(name, entry["Detail"])
    for record in list(simulation.aws.kinesis.records):
        for name, (_, types) in STREAMED.items():
            if json.loads(record["Data"])["type"] in types:
                simulation.stream(name, record)


AGAIN: dict[str, Callable[[Simulation, Path], None]] = {
    "saga twice": _saga_again,
    "stream batch twice": _stream_again,
    "request twice": _request_again,
    "events twice": _events_again,
}


@every_path
@pytest.mark.parametrize("what", AGAIN)
def test_message_is_redelivered_at_any_call(stage: Stage, tally: Tally, path: Path, what: str) -> None:
    """Between any two calls of the run, and after its end.

    The publisher and the API are stateless, so one path covers them. The fulfilment steps are repeated only for functions that
    events trigger.
    """
    failures: dict[str, list[str]] = {}
    calls = recorded(stage, path)
    first = next(number for number, call in enumerate(calls) if call.function != "OrdersPlace")
    begins = 0 if what == "request twice" else first
    if path.fulfilment:
        begins = stage.post_fulfilment_from if what == "events twice" else len(calls)
    elif what != "saga twice" and path is not PATHS[0]:
        begins = len(calls)
    for number in range(begins, len(calls) + 1):
        disturbance = Disturbance(match=lambda at, _call, number=number: at == number)
        simulation = stage.simulation(path, disturbance)
        disturbance.act = lambda simulation=simulation: AGAIN[what](simulation, path)
        begin(simulation, path)
        if number == len(calls):
            AGAIN[what](simulation, path)
        finish(simulation, path)
        tally(path.name, what)
        if found := wrong(simulation, path, ends={path.ends}):
            failures[f"before {number} {calls[number] if number < len(calls) else 'the end'}"] = found
    assert_no_failures(failures)


COMPENSATED = [path for path in PATHS if path.name in {"confirmed", "lost answer of the provider", "declined", "approved by a reviewer"}]


@pytest.mark.parametrize("path", COMPENSATED, ids=lambda path: path.name.replace(" ", "-"))
@pytest.mark.parametrize("function", FORWARD)
def test_second_saga_fails_at_any_call_of_the_first(stage: Stage, tally: Tally, path: Path, function: str) -> None:
    """The compensation starts at every call of the confirmation; one of them wins, and the state is consistent."""
    failures: dict[str, list[str]] = {}
    calls = recorded(stage, path)
    first = next(number for number, call in enumerate(calls) if call.function not in REPEATED_BY_CLIENTS)
    for number in range(first, len(calls)):
        disturbance = Disturbance(match=lambda at, _call, number=number: at == number)
        simulation = stage.simulation(path, disturbance)
        disturbance.act = _failing(simulation, function)
        begin(simulation, path)
        finish(simulation, path)
        tally(path.name, "second saga fails")
        if found := wrong(simulation, path, ends={path.ends, "rejected"}):
            failures[f"{function} broken, before {number} {calls[number]}"] = found
    assert_no_failures(failures)


CANCELLED = [path for path in PATHS if path.name in {"confirmed", "lost answer of the provider", "declined", "held for review"}]
CANCELLATION_FAULTS = {"nothing": None, **{kind.name: kind for kind in ONCE if kind is not REFUSED}}


@pytest.mark.parametrize("path", CANCELLED, ids=lambda path: path.name.replace(" ", "-"))
@pytest.mark.parametrize("what", CANCELLATION_FAULTS)
def test_customer_cancels_at_any_call(stage: Stage, tally: Tally, path: Path, what: str) -> None:
    """A cancellation at every call of the saga and under every fault is accepted or refused consistently with the log."""
    failures: dict[str, list[str]] = {}
    kind, calls = CANCELLATION_FAULTS[what], recorded(stage, path)
    first = next(number for number, call in enumerate(calls) if call.function not in REPEATED_BY_CLIENTS)
    for number in range(first, len(calls)):
        disturbance = Disturbance(match=lambda at, _call, number=number: at == number)
        simulation = stage.simulation(path, disturbance, attempts=2 if kind and kind.retried else 1)
        disturbance.act = _cancelling(simulation, kind)
        begin(simulation, path)
        finish(simulation, path)
        tally(path.name, "cancelled at any call")
        if found := wrong(simulation, path, ends={"cancelled", *({path.ends} & {"rejected"})}):
            failures[f"before {number} {calls[number]}"] = found
    assert_no_failures(failures)


def _cancelling(simulation: Simulation, kind: Kind | None) -> Callable[[], Any]:
    def act() -> None:
        other = Disturbance(kind, match=lambda _number, call: not other.hits and kind is not None and takes(kind, call))
        before, simulation.disturbance = simulation.disturbance, other
        simulation.cancel(cancellation(pricing.order_id("ann", "key-1")))
        simulation.disturbance = before

    return act


def _failing(simulation: Simulation, function: str) -> Callable[[], Any]:
    def act() -> None:
        with simulation.broken_function(function):
            simulation.saga(simulation.placed())

    return act


@every_path
def test_reservation_expires_at_any_call(stage: Stage, tally: Tally, path: Path) -> None:
    """The reservation is repeated or not needed, so the order ends the same, also after an authorization."""
    failures: dict[str, list[str]] = {}
    calls = recorded(stage, path)
    for number in range(len(calls) if path.fulfilment else 0, len(calls) + 1):
        disturbance = Disturbance(match=lambda at, _call, number=number: at == number)
        simulation = stage.simulation(path, disturbance)
        disturbance.act = simulation.expire
        begin(simulation, path)
        if number == len(calls):
            simulation.expire()
        finish(simulation, path)
        tally(path.name, "reservation expires")
        if found := wrong(simulation, path, ends={path.ends}):
            failures[f"before {number} {calls[number] if number < len(calls) else 'the end'}"] = found
    assert_no_failures(failures)


def test_expired_stock_is_sold_to_another_customer_at_any_call(stage: Stage, tally: Tally) -> None:
    """One order gets the last item; the other has neither stock nor an authorization."""
    failures: dict[str, list[str]] = {}
    path = Path("the last item", "confirmed", lines=({"sku": "LAST-ITEM-CLOCK", "quantity": 1},))
    calls = recorded(stage, path)
    first = next(number for number, call in enumerate(calls) if call.function not in REPEATED_BY_CLIENTS)
    for number in range(first, len(calls)):
        disturbance = Disturbance(match=lambda at, _call, number=number: at == number)
        simulation = stage.simulation(path, disturbance)
        disturbance.act = _bought_by_bob(simulation, path)
        begin(simulation, path)
        finish(simulation, path)
        tally(path.name, "expires, then sold")
        found = wrong(simulation, path, ends={"confirmed", "rejected"}, orders=2)
        if dict(states(simulation)) != {"confirmed": 1, "rejected": 1}:
            found.append(f"the orders are {dict(states(simulation))}")
        if found:
            failures[f"before {number} {calls[number]}"] = found
    assert_no_failures(failures)


def _bought_by_bob(simulation: Simulation, path: Path) -> Callable[[], Any]:
    def act() -> None:
        simulation.expire()
        simulation.post(request(path, "bob"))
        simulation.saga(simulation.placed(1))

    return act
