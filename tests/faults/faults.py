"""Faults of calls, and the hooks that inject them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from payments.provider import ProviderTimeout, ProviderUnavailable
from shipping.carrier import CarrierTimeout, CarrierUnavailable
from tests.fakes.aws.dynamodb import Crash, Parameters, answer_lost, server_error, throttled

PROVIDER = "provider"
CARRIER = "carrier"
MAIL = "ses"


@dataclass(frozen=True)
class Kind:
    """A fault of a call.

    With `retried`, botocore sends the call again at once and the code gets only the second answer. With
    `not_deduplicated`, the service runs the second transaction as a new one, as some emulators do, and
    DynamoDB after ten minutes.
    """

    name: str
    before: bool = False
    retried: bool = False
    not_deduplicated: bool = False


CRASH_BEFORE = Kind("crash before", before=True)
CRASH_AFTER = Kind("crash after")
LOST = Kind("answer lost")
LOST_RETRIED = Kind("answer lost, sent again", retried=True)
LOST_NOT_DEDUPLICATED = Kind("answer lost, sent as a new request", retried=True, not_deduplicated=True)
THROTTLED = Kind("throttled", before=True)
BROKEN_AFTER = Kind("5xx after commit")
BROKEN_RETRIED = Kind("5xx, sent again", retried=True)
REFUSED = Kind("entry refused", before=True)

ONCE = (
    CRASH_BEFORE,
    CRASH_AFTER,
    LOST,
    LOST_RETRIED,
    LOST_NOT_DEDUPLICATED,
    THROTTLED,
    BROKEN_AFTER,
    BROKEN_RETRIED,
    REFUSED,
)
LASTING = (CRASH_BEFORE, CRASH_AFTER, LOST, THROTTLED, BROKEN_AFTER)
LASTING_READS = (CRASH_BEFORE, LOST, THROTTLED)
READS = {"BatchGetItem", "GetItem", "GetObject", "Query", "look_up"}


@dataclass(frozen=True)
class Call:
    """One call of a function: service, operation, and its table or queue."""

    function: str
    service: str
    operation: str
    target: str = ""

    @property
    def reads(self) -> bool:
        """Return whether the call only reads."""
        return self.operation in READS

    def __str__(self) -> str:
        """Return the call's name in reports."""
        return f"{self.function}: {self.operation} {self.target}".rstrip()


def takes(kind: Kind, call: Call) -> bool:
    """Return whether the fault applies to the call and differs from the other faults."""
    if kind is REFUSED:
        return call.operation in {"PutEvents", "PutRecords"}
    if kind is LOST_NOT_DEDUPLICATED:
        return call.operation == "TransactWriteItems"
    return not kind.retried or not (call.service in {PROVIDER, CARRIER, MAIL} or call.reads)


def lasts(kind: Kind, call: Call) -> bool:
    """Return whether the fault can persist for the call; reads have no fault after their effect."""
    return kind in (LASTING_READS if call.reads else LASTING)


type Match = Callable[[int, Call], bool]


@dataclass
class Disturbance:
    """Records the calls of a run and injects faults into some of them.

    `match` selects calls by number (from 0) and call. `act`, if given, runs instead of a fault, before the
    first matching call. `struck` holds the failed calls.
    """

    kind: Kind | None = None
    match: Match = field(default=lambda _number, _call: False)
    act: Callable[[], object] | None = None
    refuse: Callable[[Call], object] = field(default=lambda _call: None)
    calls: list[Call] = field(default_factory=list[Call])
    hits: int = 0
    struck: list[Call] = field(default_factory=list[Call])
    _open: dict[int, int] = field(default_factory=dict[int, int])

    def before(self, call: Call, parameters: Parameters) -> None:
        """Record a call, and fail it if the fault precedes the effect."""
        number = len(self.calls)
        self.calls.append(call)
        self._open[id(parameters)] = number
        if not self.match(number, call):
            return
        if self.act:
            act, self.act = self.act, None
            self.hits += 1
            act()
        elif self.kind is REFUSED:
            self.hits += 1
            self.refuse(call)
        elif self.kind and self.kind.before:
            self.hits += 1
            self.struck.append(call)
            raise _error(self.kind, call)

    def after(self, call: Call, parameters: Parameters) -> None:
        """Fail a call after its effect if the fault follows the effect."""
        number = self._open.pop(id(parameters))
        if self.kind and not self.kind.before and self.match(number, call):
            self.hits += 1
            self.struck.append(call)
            if self.kind.not_deduplicated:
                parameters["ClientRequestToken"] = str(uuid.uuid4())
            raise _error(self.kind, call)


def _error(kind: Kind, call: Call) -> BaseException:
    if kind in {CRASH_BEFORE, CRASH_AFTER}:
        return Crash(str(call))
    if call.service == PROVIDER:
        return ProviderTimeout() if kind is LOST else ProviderUnavailable()
    if call.service == CARRIER:
        return CarrierTimeout() if kind is LOST else CarrierUnavailable()
    if kind is THROTTLED:
        return throttled(call.operation)
    return server_error(call.operation) if kind in {BROKEN_AFTER, BROKEN_RETRIED} else answer_lost()


def target_of(parameters: Parameters) -> str:
    """Return the table or queue of a call; for a transaction, all of them."""
    if "TransactItems" in parameters:
        tables = [next(iter(item.values()))["TableName"] for item in parameters["TransactItems"]]
        return "+".join(dict.fromkeys(tables))
    if "RequestItems" in parameters:
        return "+".join(parameters["RequestItems"])
    return str(parameters.get("TableName") or parameters.get("Bucket") or parameters.get("QueueUrl", "").rpartition("/")[2])


class FaultyProvider:
    """Wraps a payment provider or carrier, so that its requests can fail."""

    def __init__(self, provider: Any, around: Callable[[str, Callable[[], Any]], Any]) -> None:
        """Wrap `provider`; `around` runs each of its methods."""
        self._provider = provider
        self._around = around

    def __getattr__(self, name: str) -> Any:
        """Return the provider's method with fault injection."""
        method = getattr(self._provider, name)
        return lambda *given: self._around(name, lambda: method(*given))
