"""Capabilities that tests need and targets may lack."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import cache
from shutil import which
from typing import Any

from devtools import web
from devtools.local import emulator
from devtools.target import AWS, Target

# Every capability that a test of this suite names.
CAPABILITIES = {
    "iam": "policies are enforced",
    "isolated-transactions": "a cancelled DynamoDB transaction does not undo concurrent writes",
    "worker-processes": "the suite may kill the functions' workers",
    "volume": "hundreds of orders end within two minutes",
    "replay": "archived events can be replayed",
    "flags": "feature flags can be deployed and read",
    "archive": "a delivery stream writes events to objects by day and type",
    "mapped-headers": "gateway responses take headers from the request",
    "cognito": "user pools sign users in",
    "several stacks": "a second stack fits beside the first one",
    "inbox": "sent emails can be read",
    "alarm states": "alarms change their state for the suite alone",
    "local issuer": "the suite signs tokens itself",
}

LACKS = {
    "embedded": {},
    AWS: {
        "iam": "tests with copies of roles and denials need an account of their own, and minutes until each takes effect",
        "worker-processes": "Lambda's workers cannot be killed",
        "replay": "AWS replays events ten minutes after their publication at the earliest",
        "several stacks": "a second stack would be deployed into the account",
        "inbox": "SES keeps no sent emails; the records of the function that sends them are read instead",
        "alarm states": "the stack's own alarms start the remediation workflow, a second time beside the suite",
    },
    "localstack": {
        "iam": "it evaluates policies only when configured to",
        "isolated-transactions": "without the init script of docs/fidelity.md, a cancelled transaction restores whole tables",
        "volume": "its queues deliver about eight messages a second to functions",
        "replay": "without the init script of docs/fidelity.md, its archives cannot be replayed",
        "flags": "its AppConfig returns no flags, so functions use their defaults",
        "archive": "without the init script of docs/fidelity.md, its delivery streams write neither prefixes by type nor line breaks",
        "mapped-headers": "without the init script of docs/fidelity.md, its gateway responses send the mapping itself as the header",
        "cognito": "its open code has no Cognito",
        "several stacks": "a second stack needs minutes and as many containers again",
    },
}


# The capabilities that LocalEmu has with an init script of devtools/local/localemu.
SCRIPTS = {
    "isolated_transactions.py": "isolated-transactions",
    "replays.py": "replay",
    "mapped_headers.py": "mapped-headers",
    "partitions.py": "archive",
}
# LocalEmu answers before it has run its init scripts, and runs them within this time.
INIT_SECONDS = 30.0


def missing(target: Target, required: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Return the required capabilities that the target lacks, with reasons. Raises ValueError for an undeclared one."""
    lacks = LACKS[target.backend] | _unmanaged(target)
    if target.backend == "localstack":
        lacks = {name: why for name, why in lacks.items() if name not in scripted(target.endpoint)}
    for capability in required:
        if capability not in CAPABILITIES:
            message = f"unknown capability {capability!r}; declare it in {__name__}"
            raise ValueError(message)
        if capability in lacks:
            yield capability, lacks[capability]


@cache
def scripted(endpoint: str) -> frozenset[str]:
    """Return the capabilities that a LocalEmu has by the init scripts it ran; none where no LocalEmu answers."""
    deadline = time.monotonic() + INIT_SECONDS
    try:
        answer: Any = _init(endpoint)
        while not answer.get("completed", {}).get("READY", True) and time.monotonic() < deadline:
            time.sleep(0.2)
            answer = _init(endpoint)
    except OSError:
        return frozenset()
    return frozenset(SCRIPTS[one["name"]] for one in answer.get("scripts", ()) if one["name"] in SCRIPTS and one["state"] == "SUCCESSFUL")


def _init(endpoint: str) -> Any:
    return web.call("GET", f"{endpoint}/_localemu/init", timeout=30).json()


def _unmanaged(target: Target) -> dict[str, str]:
    if not target.local:
        return {"local issuer": "the stack's user pool issues the tokens"}
    if target.backend == "embedded" and not emulator.running(target.port) and not target.managed:
        return {"worker-processes": "the suite did not start the emulator at this endpoint"}
    if target.backend == "localstack" and not which("docker"):
        return {"worker-processes": "no Docker command is found to kill its containers with"}
    return {}
