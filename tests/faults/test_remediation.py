"""Automatic remediation under faults of every call: it acts once on an alarm and publishes one event about its action."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fakes.aws import clients
from tests.faults.conftest import Tally
from tests.faults.faults import Disturbance
from tests.faults.remediation import MAIL, SHIPPING_MAPPING, Operations, alarm
from tests.faults.sweeps import Sweep


def dead_letters(operations: Operations) -> None:
    operations.dead_letter()
    operations.dead_letter()


def failed(operations: Operations) -> int:
    """Return the event's number of messages that were not redriven."""
    return sum(event["data"].get("after", {}).get("failed", 0) for event in operations.details)


def raised(operations: Operations) -> None:
    """Raise the shipment requests' concurrency by an alarm that is OK now."""
    operations.claims.client.put_item(
        TableName="Remediations",
        Item={"claim": {"S": "raise_concurrency shipping-request"}, "raised_to": {"N": "20"}, "restore_to": {"N": "10"}},
    )
    operations.functions.limits[SHIPPING_MAPPING] = 20


PREPARED: dict[str, tuple[str, Callable[[Operations], object]]] = {
    "redrive": ("mail-dead-letters", dead_letters),
    "raise_concurrency": ("shipping-request-age", lambda operations: operations.backlog()),
    "restore_concurrency": ("shipping-request-age", raised),
    "hold_orders": ("ledger-difference", lambda _: None),
    "roll_back_flags": ("fraud-screen-errors", lambda operations: operations.changed_flags()),
    "stop_release": ("release-api-faults", lambda operations: operations.releases.running.extend(["d-1", "d-2"])),
    "refused": ("stock-differences", lambda _: None),
}
# Whether the stack is in the state that one execution of the action leaves.
DONE: dict[str, Callable[[Operations], bool]] = {
    # A redriven message whose deletion has no answer is reported as failed.
    "redrive": lambda operations: len(operations.messaging.queues[MAIL.queue_url]) <= failed(operations),
    "raise_concurrency": lambda operations: operations.functions.limits[SHIPPING_MAPPING] == 20,
    "restore_concurrency": lambda operations: operations.functions.limits[SHIPPING_MAPPING] == 10,
    "hold_orders": lambda operations: operations.flags.served == {"hold_countries": ["GB"], "hold_every_order": True},
    "roll_back_flags": lambda operations: operations.flags.served == {"hold_countries": ["GB"]},
    "stop_release": lambda operations: operations.releases.stopped == ["d-1", "d-2"],
    "refused": lambda _: True,
}


def fired(action: str) -> dict[str, Any]:
    """Return the event of the action's alarm."""
    return alarm(PREPARED[action][0], state="OK" if action == "restore_concurrency" else "ALARM")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    clients.lend()


def run(action: str, disturbance: Disturbance) -> Operations:
    """Deliver an alarm's event twice, and once more after all alarms are OK."""
    _, prepare = PREPARED[action]
    operations = Operations(disturbance)
    prepare(operations)
    operations.fire(fired(action), fired(action))
    operations.alarms.states = dict.fromkeys(operations.alarms.states, "OK")
    operations.fire(fired(action))
    return operations


def wrong(action: str, operations: Operations) -> list[str]:
    """Return the problems after the run: the action was not performed, performed twice, or reported incorrectly."""
    found: list[str] = []
    reported = [event["type"] for event in operations.details]
    if not DONE[action](operations):
        found.append(f"not performed: {operations.outcomes}")
    # A message that was forwarded but not deleted is in both queues, and the next attempt forwards it again.
    queues = [operations.messaging.queues.get(url, []) for url in (MAIL.target, MAIL.queue_url)]
    if action == "redrive" and len({message["Body"] for queue in queues for message in queue}) != 2:
        found.append(f"a message is lost: {queues}")
    if len({maximum for _, maximum in operations.functions.updates}) > 1:
        found.append(f"raised twice: {operations.functions.updates}")
    if reported not in (["RemediationPerformed"], ["RemediationRefused"]):
        found.append(f"reported {reported}")
    if (reported == ["RemediationRefused"]) is not (action == "refused"):
        found.append(f"reported {reported} of {operations.outcomes}")
    if operations.outcomes[1:] != ["duplicate", "duplicate"]:
        found.append(f"outcomes {operations.outcomes}")
    return found


@pytest.mark.parametrize("action", PREPARED)
def test_remediation_acts_once_under_a_fault_of_any_call(action: str, tally: Tally) -> None:
    calls = run(action, Disturbance()).disturbance.calls
    first = [(number, call) for number, call in enumerate(calls) if number < _of_first_execution(action)]
    assert first

    Sweep("remediation", tally).once(first, lambda disturbance, _: wrong(action, run(action, disturbance)))


def _of_first_execution(action: str) -> int:
    _, prepare = PREPARED[action]
    operations = Operations()
    prepare(operations)
    operations.fire(fired(action))
    return len(operations.disturbance.calls)


@pytest.mark.parametrize("action", PREPARED)
def test_repeated_event_during_an_execution_changes_nothing(action: str, tally: Tally) -> None:
    _, prepare = PREPARED[action]

    def interrupted(disturbance: Disturbance, _: int) -> list[str]:
        operations = Operations(disturbance)
        prepare(operations)
        disturbance.act = lambda: operations.fire(fired(action))
        operations.fire(fired(action))
        found = [] if DONE[action](operations) else ["not performed"]
        if min(operations.outcomes) != "duplicate" or len(operations.details) != 1:
            found.append(f"outcomes {operations.outcomes}")
        return found

    calls = list(enumerate(run(action, Disturbance()).disturbance.calls))[: _of_first_execution(action)]
    Sweep("remediation", tally).between(calls, "the event again", interrupted)
