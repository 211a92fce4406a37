"""`make drill`: plays faults on the local stack and shows the alarm, the runbook's step and the recovery, with times.

DRILL plays one: consumer, poison, saga, provider, flag, release or stream; without it all are played. A drill reverts its
fault, also when it fails.
"""

import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from rich.text import Text

from devtools import target as targets
from devtools import ui
from devtools.cli import UsageError, UserError
from devtools.local import bootstrap, drills
from devtools.local.alarms import Bridge
from devtools.local.api_client import wait_until
from devtools.local.drills import BY_NAME, DRILLS, Drill, Scene
from devtools.target import STACK, Target

SECONDS = 180.0
PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class Played:
    """A drill that ended well: seconds from the fault to the alarm, and from the alarm to healthy; the remediation's actions."""

    drill: Drill
    detected: float
    recovered: float
    remediation: str


def play(target: Target, bridge: Bridge, drill: Drill) -> Played:
    """Play a drill. Raises UserError where the alarm is not due, or the stack not healthy, within three minutes."""
    ui.headline(f"  {drill.name}: {drill.fault}")
    drills.delete_claims(target)
    alarm = f"{STACK}-{drill.alarm}"
    with ExitStack() as undo:
        undo.callback(bridge.set_state, alarm, "OK", "the drill is over")
        with ui.stage("fault") as step:
            course = drill.begin(Scene(target, undo))
            step.detail = drill.fault
        began = time.monotonic()
        with ui.stage("alarm") as step:
            _wait(course.is_broken, f"{alarm} is due")
            remediation = _goes_off(target, bridge, alarm)
            step.detail = f"{alarm}; remediation: {remediation}"
        detected = time.monotonic() - began
        with ui.stage("runbook") as step:
            course.do()
            step.detail = f"docs/runbooks.md#{drill.runbook}: {course.step}"
        with ui.stage("healthy again"):
            _wait(course.is_healthy, f"{drill.name} is healthy again")
    return Played(drill, detected, time.monotonic() - began - detected, remediation)


def _goes_off(target: Target, bridge: Bridge, alarm: str) -> str:
    """Make an alarm fire, wait for its remediation and return the outcome."""
    bridge.set_state(alarm, "ALARM", "a drill")
    started: list[str] = []
    _wait(lambda: bool(started.extend(bridge.forward()) or started), f"{alarm} starts the remediation workflow")
    _wait(lambda: drills.outcome(target, started[0]) is not None, "the remediation ends")
    report = drills.outcome(target, started[0]) or {}
    return report["message"].removeprefix(f"{alarm}: ")


def _wait(condition: Callable[[], bool], what: str) -> None:
    if not wait_until(condition, SECONDS, PAUSE_SECONDS):
        raise UserError(f"not within {SECONDS:.0f} s: {what}; see `make logs` and `make redrive`")


def chosen(name: str) -> tuple[Drill, ...]:
    """Return the named drill, or all without a name. Raises UsageError for an unknown one."""
    if name and name not in BY_NAME:
        raise UsageError(f"DRILL must be one of {', '.join(BY_NAME)}, not {name!r}")
    return (BY_NAME[name],) if name else DRILLS


def main(arguments: Namespace) -> None:
    """Play the drills and print their times."""
    wanted = chosen(arguments.drill)
    target = bootstrap.bring_up(targets.from_environment())
    bridge = Bridge(target)
    played = [play(target, bridge, drill) for drill in wanted]
    ui.headline(f"    {'drill':<10} {'alarm after':>12} {'healthy after':>14}   runbook")
    for one in played:
        times = f"{ui.seconds(one.detected):>12} {ui.seconds(one.recovered):>14}"
        ui.console.print(Text(f"    {one.drill.name:<10} {times}   docs/runbooks.md#{one.drill.runbook}"))
