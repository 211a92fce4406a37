"""Two concurrent runs, each paused at any call while the other continues, end consistently."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import pytest

from tests.fakes.aws.dynamodb import Parameters
from tests.faults.conftest import Tally
from tests.faults.faults import Call, Disturbance
from tests.faults.invariants import states
from tests.faults.paths import LENIENT, PATHS, Path, Stage, cancellation, finish, request
from tests.faults.simulation import Simulation
from tests.faults.sweeps import assert_no_failures
from tests.faults.test_sweep import wrong

TIMEOUT_SECONDS = 20
# A cancellation reads the order and writes; the second writer does both twice.
CANCELLATION_CALLS = 4
LAST_ITEM = ({"sku": "LAST-ITEM-CLOCK", "quantity": 1},)


@dataclass
class Runner:
    """A thread that pauses before its n-th call until it is resumed."""

    stops_at: int
    work: Callable[[], object]
    made: int = 0
    raised: list[BaseException] = field(default_factory=list[BaseException])
    resumed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    paused: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        """Prepare the thread."""
        self.thread = threading.Thread(target=self._run, daemon=True)

    def go(self) -> None:
        """Let the thread run until it pauses or ends."""
        if self.thread.ident is None:
            self.thread.start()
        else:
            self.resumed.release()
        assert self.paused.acquire(timeout=TIMEOUT_SECONDS), "the other run did not continue in time"

    def called(self) -> None:
        """Count a call, and pause before the selected one."""
        if self.made == self.stops_at:
            self.paused.release()
            assert self.resumed.acquire(timeout=TIMEOUT_SECONDS)
        self.made += 1

    def _run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001 - reported by the test's own thread
            self.raised.append(error)
        self.stops_at = -1
        self.paused.release()


class Disturbed(Protocol):
    """An object with a disturbance."""

    disturbance: Disturbance


@dataclass
class TwoRuns(Disturbance):
    """Pauses runner threads at their calls."""

    runners: tuple[Runner, ...] = ()

    def before(self, call: Call, parameters: Parameters) -> None:
        """Report the call to its thread's runner."""
        for runner in self.runners:
            if threading.current_thread() is runner.thread:
                runner.called()
        super().before(call, parameters)


def alternate(simulation: Disturbed, one: Runner, two: Runner) -> None:
    """Run the first to its stop, the second to its stop, the first to its end and the second to its end."""
    simulation.disturbance = TwoRuns(runners=(one, two))
    one.go()
    two.go()
    for runner in (one, two):
        if runner.stops_at >= 0:
            runner.go()
        runner.thread.join(TIMEOUT_SECONDS)
        assert not runner.raised, runner.raised
    simulation.disturbance = Disturbance()


def saga(simulation: Simulation, broken: str | None = None) -> Callable[[], None]:
    """Return a run of the only order's saga, optionally with a broken function."""

    def run() -> None:
        if broken is None:
            return simulation.saga(simulation.placed())
        with simulation.broken_function(broken):
            return simulation.saga(simulation.placed())

    return run


def placed(stage: Stage, path: Path) -> Simulation:
    """Return a simulation in which the path's order is only placed."""
    simulation = stage.simulation(path)
    simulation.post(request(path))
    simulation.publish()
    return simulation


def length(stage: Stage, path: Path) -> int:
    """Return the number of calls of an undisturbed saga."""
    simulation = placed(stage, path)
    before = len(simulation.disturbance.calls)
    saga(simulation)()
    return len(simulation.disturbance.calls) - before


@pytest.mark.parametrize(
    ("name", "broken"),
    [("confirmed", None), ("confirmed", "OrdersConfirm"), ("lost answer of the provider", "PaymentsAuthorize"), ("declined", None)],
)
def test_interleaved_sagas_of_one_order_end_consistently(stage: Stage, tally: Tally, name: str, broken: str | None) -> None:
    """The second saga may fail and compensate while the first one continues."""
    failures: dict[str, list[str]] = {}
    (path,) = (path for path in PATHS if path.name == name)
    calls = length(stage, path)
    for first_stop in range(calls):
        for second_stop in range(calls):
            simulation = placed(stage, path)
            alternate(simulation, Runner(first_stop, saga(simulation)), Runner(second_stop, saga(simulation, broken)))
            finish(simulation, path)
            tally(path.name, "two interleaved sagas")
            if found := wrong(simulation, path, ends={path.ends, *({"rejected"} if broken else ())}):
                failures[f"stops before {first_stop} and {second_stop}"] = found
    assert_no_failures(failures)


@pytest.mark.parametrize("name", ["confirmed", "lost answer of the provider", "declined"])
@pytest.mark.parametrize("saga_first", [True, False])
def test_interleaved_cancellation_and_saga_end_consistently(stage: Stage, tally: Tally, name: str, saga_first: bool) -> None:
    """Either the cancellation or the saga's last event is appended first; the other writer reloads the order."""
    failures: dict[str, list[str]] = {}
    (path,) = (path for path in PATHS if path.name == name)
    ends = {"cancelled", *({"rejected"} if path.ends == "rejected" else ())}
    for saga_stop in range(length(stage, path)):
        for stop in range(CANCELLATION_CALLS + 1):
            simulation = placed(stage, path)
            runs = [Runner(saga_stop, saga(simulation)), Runner(stop, _cancellation_of(simulation))]
            alternate(simulation, *(runs if saga_first else reversed(runs)))
            finish(simulation, path)
            tally(path.name, "interleaved with a cancellation")
            if found := wrong(simulation, path, ends=ends):
                failures[f"stops before {saga_stop} and {stop}"] = found
    assert_no_failures(failures)


def _cancellation_of(simulation: Simulation) -> Callable[[], object]:
    return lambda: simulation.cancel(cancellation(simulation.placed()["order_id"]))


@pytest.mark.parametrize("tokens", [("tok_approved", "tok_approved"), ("tok_declined", "tok_approved")])
def test_last_item_is_sold_at_most_once(stage: Stage, tally: Tally, tokens: tuple[str, str]) -> None:
    """One of two customers gets the item, or none if a payment fails."""
    failures: dict[str, list[str]] = {}
    paths = [Path("the last item", "confirmed", lines=LAST_ITEM, token=token, rules=LENIENT) for token in tokens]
    calls = length(stage, Path("alone", "confirmed", lines=LAST_ITEM, rules=LENIENT))
    for first_stop in range(calls):
        for second_stop in range(calls):
            simulation = stage.simulation(paths[0])
            for customer, path in zip(("ann", "bob"), paths, strict=True):
                simulation.post(request(path, customer))
            simulation.publish()
            runs = [Runner(stop, _saga_of(simulation, order)) for order, stop in enumerate((first_stop, second_stop))]
            alternate(simulation, runs[0], runs[1])
            finish(simulation, paths[0])
            tally("two customers, one item", "two interleaved sagas")
            found = wrong(simulation, paths[0], ends={"confirmed", "rejected"}, orders=2)
            confirmed = states(simulation)["confirmed"]
            if confirmed > 1 or (confirmed < 1 and set(tokens) == {"tok_approved"}):
                found.append(f"{confirmed} orders are confirmed")
            if found:
                failures[f"stops before {first_stop} and {second_stop}"] = found
    assert_no_failures(failures)


@pytest.mark.parametrize("name", ["confirmed", "lost answer of the provider", "declined"])
def test_interleaved_saga_and_expiry_end_consistently(stage: Stage, tally: Tally, name: str) -> None:
    failures: dict[str, list[str]] = {}
    (path,) = (path for path in PATHS if path.name == name)
    calls = length(stage, path)
    for first_stop in range(calls):
        for second_stop in (*range(16, 19), 99):
            simulation = placed(stage, path)
            alternate(simulation, Runner(first_stop, saga(simulation)), Runner(second_stop, simulation.expire))
            finish(simulation, path)
            tally(path.name, "saga interleaved with expiry")
            if found := wrong(simulation, path, ends={path.ends}):
                failures[f"stops before {first_stop} and {second_stop}"] = found
    assert_no_failures(failures)


def _saga_of(simulation: Simulation, order: int) -> Callable[[], None]:
    return lambda: simulation.saga(simulation.placed(order))


def test_fifty_concurrent_identical_requests_place_one_order(stage: Stage, tally: Tally) -> None:
    path = PATHS[0]
    simulation = stage.simulation(path)
    threads = [threading.Thread(target=simulation.post, args=[request(path)]) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_SECONDS)
    simulation.process_all()
    finish(simulation, path)
    tally(path.name, "50 requests at once")
    assert len(simulation.answers) == 50
    assert wrong(simulation, path, ends={"confirmed"}) == []
