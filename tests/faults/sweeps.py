"""The loops of a sweep: a run for each call that can go wrong, in each way that it can, and what of all that left something wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.faults.conftest import Tally
from tests.faults.faults import LASTING, ONCE, Call, Disturbance, lasts, takes

# A run from its beginning to rest, with what goes wrong in it and how often botocore makes a call; what is wrong afterwards.
type Run = Callable[[Disturbance, int], list[str]]


@dataclass(frozen=True)
class Sweep:
    """The runs of one path, by whose name they are counted."""

    path: str
    tally: Tally

    def once(self, calls: Iterable[tuple[int, Call]], run: Run) -> None:
        """Let each of the numbered calls go wrong once, in every way that it can."""
        failures: dict[str, list[str]] = {}
        for number, call in calls:
            for kind in (kind for kind in ONCE if takes(kind, call)):
                disturbance = Disturbance(kind, match=lambda at, _call, number=number: at == number)
                found = run(disturbance, 2 if kind.retried else 1)
                self.tally(self.path, kind.name)
                if disturbance.hits != 1:
                    found.append(f"the fault was met {disturbance.hits} times")
                if found:
                    failures[f"{number} {call}, {kind.name}"] = found
        nothing_wrong(failures)

    def lasting(self, calls: Iterable[Call], run: Run, beside: str = "") -> None:
        """Let each kind of call go wrong for as long as the run says, and with it one operation or function `beside` it."""
        failures: dict[str, list[str]] = {}
        for call in dict.fromkeys(calls):
            for kind in (kind for kind in LASTING if lasts(kind, call)):

                def match(_: int, made: Call, call: Call = call) -> bool:
                    return made == call or (bool(beside) and beside in {made.operation, made.function})

                found = run(Disturbance(kind, match), 1)
                self.tally(self.path, f"lasting {kind.name}")
                if found:
                    failures[f"{call}, {kind.name}"] = found
        nothing_wrong(failures)

    def between(self, calls: Iterable[tuple[int, Call]], what: str, run: Run) -> None:
        """Let something happen before each of the numbered calls: the run says what, by the disturbance's `act`."""
        failures: dict[str, list[str]] = {}
        for number, call in calls:
            disturbance = Disturbance(match=lambda at, _call, number=number: at == number)
            found = run(disturbance, 1)
            self.tally(self.path, what)
            if disturbance.hits != 1:
                found.append(f"it happened {disturbance.hits} times")
            if found:
                failures[f"before {number} {call}"] = found
        nothing_wrong(failures)


def nothing_wrong(failures: dict[str, list[str]]) -> None:
    """Fail with the first few of the runs that went wrong."""
    report = "\n".join(f"{run}\n    " + "\n    ".join(found) for run, found in list(failures.items())[:10])
    assert not failures, f"{len(failures)} runs went wrong:\n{report}"
