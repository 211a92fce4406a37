"""What a test may ask of its target, and which target lacks it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from devtools.local import emulator
from devtools.target import Target

# Every capability that a test of this suite names.
CAPABILITIES = {
    "iam": "policies are enforced",
    "isolated-transactions": "a DynamoDB transaction that is cancelled leaves what others write meanwhile alone",
    "worker-processes": "the functions' workers are processes that the suite started and may kill",
    "volume": "hundreds of orders come to their end within a minute or two",
    "remembered-authorizer": "what the authorizer said of a token is remembered",
    "replay": "archived events can be replayed",
    "flags": "feature flags can be deployed, and functions read them",
    "archive": "a delivery stream takes what is on a stream to objects by day and type",
}

LACKS = {
    "embedded": {},
    "localstack": {
        "iam": "it evaluates no policies unless told to",
        "isolated-transactions": "a cancelled transaction puts whole tables back as they were before it, over what others wrote",
        "worker-processes": "functions run in containers, which belong to it",
        "volume": "its queues hand functions about eight messages a second",
        "remembered-authorizer": "every request starts the authorizer, and where it cannot start another the answer is a 401",
        "replay": "its archives keep events and replay none",
        "flags": "its AppConfig hands out no flags; functions go by their defaults",
        "archive": "its delivery streams put events into no folders by type, and no line breaks between them",
    },
}


def missing(target: Target, asked: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The asked capabilities that the target lacks, each with the reason. Raises ValueError for one that nobody declared."""
    lacks = LACKS[target.backend] | _unmanaged(target)
    for capability in asked:
        if capability not in CAPABILITIES:
            message = f"unknown capability {capability!r}; declare it in {__name__}"
            raise ValueError(message)
        if capability in lacks:
            yield capability, lacks[capability]


def _unmanaged(target: Target) -> dict[str, str]:
    if target.backend == "embedded" and not emulator.running(target.port) and not target.managed:
        return {"worker-processes": "the emulator at this endpoint was started by somebody else"}
    return {}
