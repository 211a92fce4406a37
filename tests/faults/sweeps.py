"""Fault sweeps: one run per call and fault, and a report of the runs that ended with differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.faults.conftest import Tally
from tests.faults.faults import LASTING, ONCE, Call, Disturbance, lasts, takes

# A complete run with a disturbance and botocore's number of attempts; returns the differences at its end.
type Run = Callable[[Disturbance, int], list[str]]


@dataclass(frozen=True)
class Sweep:
    """The runs of one path, counted under its name."""

    path: str
    tally: Tally

    def once(self, calls: Iterable[tuple[int, Call]], run: Run) -> None:
        """Fail each of the numbered calls once, with every fault that applies."""
        failures: dict[str, list[str]] = {}
        for number, call in calls:
            for kind in (kind for kind in ONCE if takes(kind, call)):
                disturbance = Disturbance(kind, match=lambda at, _call, number=number: at == number)
                found = run(disturbance, 2 if kind.retried else 1)
                self.tally(self.path, kind.name)
                if disturbance.hits != 1:
                    found.append(f"the fault occurred {disturbance.hits} times, expected once")
                if found:
                    failures[f"{number} {call}, {kind.name}"] = found
        assert_no_failures(failures)

    def lasting(self, calls: Iterable[Call], run: Run, also: str = "") -> None:
        """Fail each kind of call persistently; `also` names an operation or function whose calls fail with it."""
        failures: dict[str, list[str]] = {}
        for call in dict.fromkeys(calls):
            for kind in (kind for kind in LASTING if lasts(kind, call)):

                def match(_: int, made: Call, call: Call = call) -> bool:
                    return made == call or (bool(also) and also in {made.operation, made.function})

                found = run(Disturbance(kind, match), 1)
                self.tally(self.path, f"lasting {kind.name}")
                if found:
                    failures[f"{call}, {kind.name}"] = found
        assert_no_failures(failures)

    def between(self, calls: Iterable[tuple[int, Call]], what: str, run: Run) -> None:
        """Run the disturbance's `act` before each of the numbered calls."""
        failures: dict[str, list[str]] = {}
        for number, call in calls:
            disturbance = Disturbance(match=lambda at, _call, number=number: at == number)
            found = run(disturbance, 1)
            self.tally(self.path, what)
            if disturbance.hits != 1:
                found.append(f"the action ran {disturbance.hits} times, expected once")
            if found:
                failures[f"before {number} {call}"] = found
        assert_no_failures(failures)


def assert_no_failures(failures: dict[str, list[str]]) -> None:
    """Fail with a report of the first failed runs."""
    report = "\n".join(f"{run}\n    " + "\n    ".join(found) for run, found in list(failures.items())[:10])
    assert not failures, f"{len(failures)} runs failed:\n{report}"
