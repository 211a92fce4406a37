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
from tests.faults.sweeps import nothing_wrong
from tests.faults.test_sweep import wrong

PATIENCE = 20
# It reads the order and writes; where it comes second, once more.
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
        """Let it run until it stops or ends."""
        if self.thread.ident is None:
            self.thread.start()
        else:
            self.resumed.release()
        assert self.paused.acquire(timeout=PATIENCE), "the other run does not continue"

    def called(self) -> None:
        """Note a call; stop here if it is the one."""
        if self.made == self.stops_at:
            self.paused.release()
            assert self.resumed.acquire(timeout=PATIENCE)
        self.made += 1

    def _run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001 - reported by the test's own thread
            self.raised.append(error)
        self.stops_at = -1
        self.paused.release()


class Disturbed(Protocol):
    """What makes calls that can be disturbed."""

    disturbance: Disturbance


@dataclass
class TwoRuns(Disturbance):
    """Lets the threads that are runners stop at their calls."""

    runners: tuple[Runner, ...] = ()

    def before(self, call: Call, parameters: Parameters) -> None:
        """Pass the call on to the runner whose it is."""
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
        runner.thread.join(PATIENCE)
        assert not runner.raised, runner.raised
    simulation.disturbance = Disturbance()


def saga(simulation: Simulation, broken: str | None = None) -> Callable[[], None]:
    """Return a run of the saga of the one order there is, in which a function may be broken."""

    def run() -> None:
        if broken is None:
            return simulation.saga(simulation.placed())
        with simulation.breaking(broken):
            return simulation.saga(simulation.placed())

    return run


def placed(stage: Stage, path: Path) -> Simulation:
    """Return a simulation in which the order of the path is placed and nothing has followed yet."""
    simulation = stage.simulation(path)
    simulation.post(request(path))
    simulation.publish()
    return simulation


def length(stage: Stage, path: Path) -> int:
    """Return how many calls an undisturbed run of the saga makes."""
    simulation = placed(stage, path)
    before = len(simulation.disturbance.calls)
    saga(simulation)()
    return len(simulation.disturbance.calls) - before


@pytest.mark.parametrize(
    ("name", "broken"),
    [("confirmed", None), ("confirmed", "OrdersConfirm"), ("lost answer of the provider", "PaymentsAuthorize"), ("declined", None)],
)
def test_two_sagas_of_one_order_take_turns(stage: Stage, tally: Tally, name: str, broken: str | None) -> None:
    """The second saga may fail and compensate while the first one continues."""
    failures: dict[str, list[str]] = {}
    (path,) = (path for path in PATHS if path.name == name)
    calls = length(stage, path)
    for first_stop in range(calls):
        for second_stop in range(calls):
            simulation = placed(stage, path)
            alternate(simulation, Runner(first_stop, saga(simulation)), Runner(second_stop, saga(simulation, broken)))
            finish(simulation, path)
            tally(path.name, "two sagas take turns")
            if found := wrong(simulation, path, ends={path.ends, *({"rejected"} if broken else ())}):
                failures[f"stops before {first_stop} and {second_stop}"] = found
    nothing_wrong(failures)


@pytest.mark.parametrize("name", ["confirmed", "lost answer of the provider", "declined"])
@pytest.mark.parametrize("saga_first", [True, False])
def test_a_cancellation_and_a_saga_take_turns(stage: Stage, tally: Tally, name: str, saga_first: bool) -> None:
    """Either the cancellation or the saga's last event is appended first, and the other one reloads the order."""
    failures: dict[str, list[str]] = {}
    (path,) = (path for path in PATHS if path.name == name)
    ends = {"cancelled", *({"rejected"} if path.ends == "rejected" else ())}
    for saga_stop in range(length(stage, path)):
        for stop in range(CANCELLATION_CALLS + 1):
            simulation = placed(stage, path)
            runs = [Runner(saga_stop, saga(simulation)), Runner(stop, _cancellation_of(simulation))]
            alternate(simulation, *(runs if saga_first else reversed(runs)))
            finish(simulation, path)
            tally(path.name, "a cancellation takes turns")
            if found := wrong(simulation, path, ends=ends):
                failures[f"stops before {saga_stop} and {stop}"] = found
    nothing_wrong(failures)


def _cancellation_of(simulation: Simulation) -> Callable[[], object]:
    return lambda: simulation.cancel(cancellation(simulation.placed()["order_id"]))


@pytest.mark.parametrize("tokens", [("tok_approved", "tok_approved"), ("tok_declined", "tok_approved")])
def test_two_customers_race_for_the_last_item(stage: Stage, tally: Tally, tokens: tuple[str, str]) -> None:
    """One of them has it, or, where a payment fails, at most one; never both."""
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
            tally("two customers, one item", "two sagas take turns")
            found = wrong(simulation, paths[0], ends={"confirmed", "rejected"}, orders=2)
            confirmed = states(simulation)["confirmed"]
            if confirmed > 1 or (confirmed < 1 and set(tokens) == {"tok_approved"}):
                found.append(f"{confirmed} orders are confirmed")
            if found:
                failures[f"stops before {first_stop} and {second_stop}"] = found
    nothing_wrong(failures)


@pytest.mark.parametrize("name", ["confirmed", "lost answer of the provider", "declined"])
def test_a_saga_and_the_expiry_of_its_reservation_take_turns(stage: Stage, tally: Tally, name: str) -> None:
    failures: dict[str, list[str]] = {}
    (path,) = (path for path in PATHS if path.name == name)
    calls = length(stage, path)
    for first_stop in range(calls):
        for second_stop in (*range(16, 19), 99):
            simulation = placed(stage, path)
            alternate(simulation, Runner(first_stop, saga(simulation)), Runner(second_stop, simulation.expire))
            finish(simulation, path)
            tally(path.name, "saga and expiry take turns")
            if found := wrong(simulation, path, ends={path.ends}):
                failures[f"stops before {first_stop} and {second_stop}"] = found
    nothing_wrong(failures)


def _saga_of(simulation: Simulation, order: int) -> Callable[[], None]:
    return lambda: simulation.saga(simulation.placed(order))


def test_fifty_clients_send_one_request_at_once(stage: Stage, tally: Tally) -> None:
    path = PATHS[0]
    simulation = stage.simulation(path)
    threads = [threading.Thread(target=simulation.post, args=[request(path)]) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    simulation.settle()
    finish(simulation, path)
    tally(path.name, "50 requests at once")
    assert len(simulation.answers) == 50
    assert wrong(simulation, path, ends={"confirmed"}) == []
