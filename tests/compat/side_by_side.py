"""Orders that two releases process with the same state, saga input, events and idempotency records.

`_handover` runs an order's path with one release for the first invocations and the other for the rest, at every possible invocation: the
next release then reads the state that a release stored, or after a rollback the earlier one does. `_mixed` routes each invocation at
random, as an alias does. `_repeated` and `_consumed` send requests and events again to the other release.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from devtools.cli import UserError
from tests.compare import comparison, consumer
from tests.compat.versions import Version
from tests.faults.invariants import states, violations
from tests.faults.paths import LENIENT, PATHS, REFUSING, Path, Stage, begin, finish, request
from tests.faults.simulation import Functions, Handler, Simulation

if TYPE_CHECKING:
    import pytest

# The documents of the fraud rules in PATHS; each release parses them itself.
RULES = {id(LENIENT): '{"weights": {"new_customer": 0}}', id(REFUSING): '{"hold_score": 5, "refuse_score": 10}'}
MIXED_RUNS = 5
_TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?|\b1[78]\d{8}(?:\.?\d{3,6})?\b")

# Whether the earlier release gets the n-th invocation of a run.
type Route = Callable[[int], bool]


@dataclass
class SideBySide:
    """An earlier release and the present one on the same services."""

    before: Version
    patch: pytest.MonkeyPatch
    runs: int = 0
    found: list[str] = field(default_factory=list[str])
    stage: Stage = field(init=False)

    def __post_init__(self) -> None:
        """Make both releases treat active orders as stuck and reservations as expired at once."""
        self.stage = Stage(self.patch)
        # Events have the header of a sampled trace.
        self.patch.setenv("_X_AMZN_TRACE_ID", "Root=1-581cf771-a006649127e371903a2de979;Parent=70de5b6f19ff9a0a;Sampled=1")
        self._set("operations.handlers.recover_orders", "STUCK_AFTER", timedelta(days=-1))
        self._set("inventory.handlers.expire_reservations", "RESERVATION_TIME", timedelta(days=-1))

    def check(self, paths: tuple[Path, ...] = PATHS) -> list[str]:
        """Return the failures on these paths, one line for each run."""
        for path in paths:
            events = self._handover(path)
            self._mixed(path)
            self._repeated(path)
            self._consumed(path, events)
        return self.found

    def _handover(self, path: Path) -> list[dict[str, Any]]:
        """Switch the release at every invocation, in both directions; return the events of the path."""
        counted = self._run(path, "present release alone", lambda _: False)
        for cut in range(1, len(counted.invoked)):
            self._run(path, f"earlier release for {cut} invocations", lambda number, cut=cut: number < cut)
            self._run(path, f"present release for {cut} invocations", lambda number, cut=cut: number >= cut)
        return [json.loads(record["Data"]) for record in counted.aws.kinesis.records]

    def _mixed(self, path: Path) -> None:
        for seed in range(MIXED_RUNS):
            random = Random(seed)
            self._run(path, f"random release for each invocation, seed {seed}", lambda _, random=random: random.random() < 0.5)

    def _repeated(self, path: Path) -> None:
        """Send the request again to the other release: order and log are unchanged, and another request is refused."""
        for of_before in (True, False):
            simulation = self._run(
                path, f"placed by the {'earlier release' if of_before else 'present release'}", lambda _, one=of_before: one
            )
            logged = len(simulation.aws.dynamodb.items("OrderLog"))
            simulation.functions = self._functions(lambda _, one=of_before: not one)
            [first, again] = simulation.answers[0], simulation.post(request(path))
            changed = request(path)
            changed["body"] = json.dumps(json.loads(changed["body"]) | {"lines": [{"sku": "FILTER-100", "quantity": 7}]})
            other = simulation.post(changed)
            same = again["statusCode"] == first["statusCode"] and _order(again) == _order(first)
            if not same or other["statusCode"] != 422 or len(simulation.aws.dynamodb.items("OrderLog")) != logged:
                self.found.append(f"{path.name}: a repeated request gets {again['statusCode']}, another with its key {other['statusCode']}")

    def _consumed(self, path: Path, events: list[dict[str, Any]]) -> None:
        """Deliver the path's events to a consumer of one release and again to that of the other, for which they are duplicates."""
        present = {name: handler for name, handler in self._present_consumers().items() if name in self.before.handlers}
        for name, (_, types) in comparison.consumers().items():
            if name not in present or not any(event["type"] in types for event in events):
                continue
            earlier, later = self.before.handlers[name], present[name]
            for what, one, other in (("present", earlier, later), ("former", later, earlier)):
                self.runs += 1
                known = comparison.common(*(_consumed([one, one], events, types) for _ in range(2)))
                new = _consumed([one, other], events, types)
                lines = comparison.differences(known, new, "")
                self.found += [f"{path.name}: the {what} {name} repeats an effect: {line.strip()}" for line in lines]

    def _present_consumers(self) -> dict[str, Handler]:
        return {name: importlib.import_module(module).handler for name, (module, _) in comparison.consumers().items()}

    def _run(self, path: Path, what: str, route: Route) -> Simulation:
        """Run the path; `route` selects the release of each invocation."""
        simulation = self.stage.simulation(path)
        self._prepare(simulation, path)
        simulation.functions = self._functions(route)
        begin(simulation, path)
        finish(simulation, path)
        self.runs += 1
        found = [f"{violation.rule}: {violation.what}" for violation in violations(simulation)]
        if set(states(simulation)) != {path.ends}:
            found.append(f"it ends {dict(states(simulation))}, not {path.ends}")
        self.found += [f"{path.name}, {what}: {line}" for line in found]
        return simulation

    def _functions(self, route: Route) -> Functions:
        number = iter(range(1_000_000))

        def routed(name: str, present: Handler) -> Handler:
            before = self.before.handlers.get(name, present)

            def invoke(event: Any, context: Any) -> Any:
                chosen = before if route(next(number)) else present
                return chosen(event, context)

            return invoke

        return Functions({name: routed(name, handler) for name, handler in self.stage.functions.handlers.items()})

    def _prepare(self, simulation: Simulation, path: Path) -> None:
        """Configure the earlier release as `Stage.simulation` configures the present one."""
        catalogue = self._get("orders.handlers.place_order", "CATALOGUE")
        self._set("orders.handlers.place_order", "CATALOGUE", type(catalogue)("Catalogue", simulation.aws.dynamodb.client, 60))
        flags = self._get("fraud.domain.fraud_rules", "FraudFlags")
        rules = msgspec.json.decode(RULES[id(path.rules)], type=self._get("fraud.domain.fraud_rules", "Thresholds"))
        self._set("fraud.handlers.screen_order", "FLAGS", lambda: flags(fraud=rules))

    def _get(self, module: str, name: str) -> Any:
        try:
            return getattr(self.before.modules[module], name)
        except (KeyError, AttributeError):
            raise UserError(f"the earlier release has no {module}.{name}; compare with a later one") from None

    def _set(self, module: str, name: str, value: Any) -> None:
        self._get(module, name)
        self.patch.setattr(self.before.modules[module], name, value)


def _consumed(handlers: Sequence[Handler], events: list[dict[str, Any]], types: Collection[str]) -> Any:
    """Return the results of the handlers without times, which differ between any two runs."""
    text = json.dumps(consumer.consume(handlers, events, types), default=consumer.readable)
    return json.loads(_TIMES.sub("0", text))


def _order(answer: Mapping[str, Any]) -> Any:
    body = json.loads(answer["body"])
    return body.get("order_id"), body.get("type")
