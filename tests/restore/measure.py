"""Runs many orders, rebuilds their stack from the order log on empty tables, and compares the two."""

from __future__ import annotations

import bisect
import io
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, override

import pytest

import ledger.audit
from devtools.bench import page
from devtools.billing.calls import Call
from devtools.billing.units import Meter
from tests.fakes.aws import clients
from tests.fakes.aws.dynamodb import Ordered
from tests.fakes.aws.environment import TABLES, Aws
from tests.fakes.aws.metered import Metered, schema_of
from tests.fakes.aws.ses import FakeSes
from tests.load.disk import OnDisk
from tests.load.pipeline import Tally
from tests.load.synthetic import HISTORIES
from tests.restore import comparison
from tests.restore.many import ManyOrders
from tests.restore.rebuilt import Rebuilt, audit
from tests.restore.stack import RESTORED, StackInMemory, empty_aws

PER_ORDERS = 100_000
# Shorter than the audit's own: the in-memory table reads all entries for each period shard.
LOOK_BACK = timedelta(hours=3)
SECONDS_PER_CALL = 0.005
SEGMENTS = 4

type Progress = Callable[[str], None]


@dataclass
class Found:
    """The measurements: CPU seconds and usage of the rebuild, rows by table, and differences."""

    orders: int
    events: int
    copy_seconds: float
    seconds: float
    used: Tally
    rows: dict[str, int] = field(default_factory=dict[str, int])
    differences: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    findings: list[str] = field(default_factory=list[str])

    @property
    def minutes_on_aws(self) -> float:
        """Minutes that the functions' calls take if each segment makes them one after the other."""
        return self.used.calls.total() * SECONDS_PER_CALL / SEGMENTS / 60


def build(orders: int, folder: Path, progress: Progress) -> Aws:
    """Run this number of orders in the original stack."""
    aws = empty_aws(_storage(folder / "original"), keeps_changes=False)
    aws.lend(ses=FakeSes())
    stack = StackInMemory(aws)

    def aggregate() -> None:
        while stack.invoke("AnalyticsAggregate", {})["events"]:
            pass

    with redirect_stdout(io.StringIO()):
        ManyOrders(aws).run(orders, aggregate, lambda number: progress(f"{number:,} of {orders:,} orders"))
        aggregate()
    return aws


def rebuild(original: Aws, orders: int, folder: Path) -> Found:
    """Restore the log into empty tables, rebuild the others, and compare all of them."""
    aws = empty_aws(_storage(folder / "rebuilt"), keeps_changes=False)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()):
        patch.setattr(ledger.audit, "LOOK_BACK", LOOK_BACK)
        rebuilt = Rebuilt(original, folder, aws)
        began = time.process_time()
        rebuilt.restore().copy()
        copied = time.process_time()
        used = Tally()
        rebuilt.stack.before = lambda function: _invoked(used, function)
        _meter(rebuilt, used)
        result = rebuilt.rebuild(1)
        found = Found(orders, result.events, copied - began, time.process_time() - copied, used, findings=result.findings)
        rebuilt.stack.before = lambda _: None
        found.rows = comparison.row_counts(aws)
        found.differences = comparison.differences(original, aws, (audit(StackInMemory(original)), audit(rebuilt.stack)))
    clients.lend()
    return found


def _invoked(used: Tally, function: str) -> None:
    used.calls[f"Lambda {function}"] += 1
    used.add("invocations", 1)


def _meter(rebuilt: Rebuilt, used: Tally) -> None:
    meter = Meter({table.name: schema_of(table) for table in TABLES})

    def called(call: Call) -> None:
        used.calls[f"{call.service} {call.operation}"] += 1
        if call.service == "dynamodb":
            writes, reads = meter.units(call)
            used.add("DynamoDB write units", writes)
            used.add("DynamoDB read units", reads)
        else:
            used.add("S3 PUT requests", 1)

    services: dict[str, Any] = {"dynamodb": rebuilt.aws.dynamodb, "s3": rebuilt.aws.s3}
    others: dict[str, Any] = {"events": rebuilt.aws.events, "sqs": rebuilt.aws.sqs, "ses": FakeSes()}
    clients.lend(**others, **{name: Metered(service, name, called) for name, service in services.items()})


class InPartitions(Ordered):
    """A mapping in memory, indexed by partition, so that a query or a scan from a key does not read all items."""

    def __init__(self) -> None:
        self._partitions: dict[Any, dict[Any, Any]] = {}
        self._sorted: list[Any] = []

    def __getitem__(self, key: Any) -> Any:
        return self._partitions[key[0]][key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if key[0] not in self._partitions:
            self._partitions[key[0]] = {}
            bisect.insort(self._sorted, key[0])
        self._partitions[key[0]][key] = value

    def __delitem__(self, key: Any) -> None:
        del self._partitions[key[0]][key]

    def __iter__(self) -> Iterator[Any]:
        return (key for partition in self._partitions.values() for key in partition)

    def __len__(self) -> int:
        return sum(map(len, self._partitions.values()))

    @override
    def between(self, partition: Any, low: Any, high: Any, most: int | None, *, backwards: bool) -> list[Any]:
        found = sorted(key for key in self._partitions.get(partition, ()) if _within(key, low, high))
        chosen = found if most is None else found[-most:] if backwards else found[:most]
        return [self._partitions[partition][key] for key in chosen]

    @override
    def following(self, key: Any, most: int) -> list[Any]:
        found: list[Any] = []
        for partition in self._sorted[bisect.bisect_left(self._sorted, key[0]) if key else 0 :]:
            found += [item for one, item in sorted(self._partitions[partition].items()) if key is None or one > key]
            if len(found) >= most:
                break
        return found[:most]


def _within(key: Any, low: Any, high: Any) -> bool:
    return (low is None or key[1] >= low) and (high is None or key[1] <= high)


def _storage(folder: Path) -> Callable[[], MutableMapping[Any, Any]]:
    """Return a factory of the tables' storage: files for the logs, which are the largest tables, memory for the others."""
    folder.mkdir()
    names = iter([*(table.name for table in TABLES), RESTORED])

    def new() -> MutableMapping[Any, Any]:
        name = next(names)
        return OnDisk(folder / name) if name in {"OrderLog", RESTORED} else InPartitions()

    return new


def missed(found: Found) -> list[str]:
    """Return the audit's findings and the differences from the original."""
    return [*found.findings, *(f"{table}: {one}" for table, some in found.differences.items() for one in some)]


def part(found: Found) -> str:
    """Return this part of docs/performance.md."""
    share = PER_ORDERS / found.orders
    equal = "equal to the original, table by table" if not missed(found) else "different from the original"
    calls = found.used.calls.total() / found.orders
    note = (
        f"{found.orders:,} synthetic orders of {len(HISTORIES)} kinds go through use cases and consumers of every context; then the log "
        f"({found.events:,} events) is restored into an empty stack and everything else is rebuilt from it, {equal} "
        f"(`make load REBUILD=1`, [restore](restore.md)). Seconds are CPU time of one process with AWS in memory. An order takes "
        f"{calls:.1f} calls; at {SECONDS_PER_CALL * 1000:.0f} ms each and {SEGMENTS} segments at once, {PER_ORDERS:,} orders take "
        f"{found.minutes_on_aws * share:.0f} minutes on AWS."
    )
    dollars = found.used.dollars(found.orders) * PER_ORDERS / 1e6
    rows = [
        ("copy of the log, CPU seconds", f"{found.copy_seconds * share:,.0f}"),
        ("rebuild, CPU seconds", f"{found.seconds * share:,.0f}"),
        ("DynamoDB write units", f"{found.used.usage['DynamoDB write units'] * share:,.0f}"),
        ("DynamoDB read units", f"{found.used.usage['DynamoDB read units'] * share:,.0f}"),
        ("$ without CPU time of functions", f"{dollars:.2f}"),
    ]
    return f"## Rebuild from the order log\n\n{note}\n\n{page.table(('', f'per {PER_ORDERS:,} orders'), rows)}"
