"""A scan of a whole table by several threads, which continues after an interruption where it stood.

The position is in a file of the tools' folder, together with the counts of the pages before: both are written at once after every page, so
a page counts once however often the scan is interrupted.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from devtools import target as targets
from devtools.cli import UserError
from devtools.target import Target

PAGE = 1000
_DONE = "done"

type Item = dict[str, Any]
type Counts = dict[str, Any]


def position_file(target: Target, task: str, table: str) -> Path:
    """Return the file with the position of a task in a table; another table of this name, as in a new emulator, has another file."""
    table_id = target.client("dynamodb").describe_table(TableName=table)["Table"].get("TableId", "")
    return targets.local_folder() / f"{task}-{target.stack}-{table_id.partition('-')[0]}.json"


@dataclass
class TableScan:
    """The segments of a table that are scanned, and the sum of its pages' counts.

    A file of a scan of another table, or with other segments, is an error: that scan has to be completed or its file deleted.
    """

    path: Path
    table: str
    segments: int
    counts: Counts = field(default_factory=dict[str, Any])
    _after: list[Any] = field(default_factory=list[Any])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Continue the scan of the file, if there is one. Raises UserError where it is of another table."""
        if not self.path.exists():
            self._after = [None] * self.segments
            return
        state = json.loads(self.path.read_text("utf-8"))
        if state["table"] != self.table:
            raise UserError(
                f"{self.path} is of the unfinished scan of {state['table']}, not of {self.table}: finish that, or delete the file"
            )
        self._after, self.counts = state["after"], state["counts"]

    @property
    def continued(self) -> bool:
        """Whether the scan began before this process."""
        return any(self._after)

    def run(self, client: Any, page: Callable[[list[Item]], Counts], progress: Callable[[Counts], None], **given: Any) -> Counts:
        """Scan the rest of every segment, call `page` for each page of items, add its results, and return the sum.

        `given` are parameters of Scan. Raises the first error of `page`; the file then has the position after the last whole pages.
        """
        with ThreadPoolExecutor(len(self._after)) as pool:
            running = [pool.submit(self._segment, number, client, page, progress, given) for number in range(len(self._after))]
        for one in running:
            one.result()
        return self.counts

    def forget(self) -> None:
        """Delete the file after the scan."""
        self.path.unlink(missing_ok=True)

    def save(self, **counts: Any) -> None:
        """Write the position, with these counts replaced."""
        with self._lock:
            self.counts |= counts
            self._write()

    def _segment(
        self, number: int, client: Any, page: Callable[[list[Item]], Counts], progress: Callable[[Counts], None], given: Mapping[str, Any]
    ) -> None:
        try:
            while self._after[number] != _DONE and not self._stopped.is_set():
                self._next_page(number, client, page, given)
                progress(self.counts)
        except BaseException:
            self._stopped.set()
            raise

    def _next_page(self, number: int, client: Any, page: Callable[[list[Item]], Counts], given: Mapping[str, Any]) -> None:
        start: Counts = {"ExclusiveStartKey": self._after[number]} if self._after[number] else {}
        parts = {"Segment": number, "TotalSegments": len(self._after)} if len(self._after) > 1 else {}
        answer = client.scan(TableName=self.table, Limit=PAGE, ConsistentRead=True, **parts, **start, **given)
        counted = page(answer["Items"])
        with self._lock:
            self._after[number] = answer.get("LastEvaluatedKey", _DONE)
            self.counts = added(self.counts, counted)
            self._write()

    def _write(self) -> None:
        """Replace the file at once, so that an interrupted write leaves the one before."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({"table": self.table, "after": self._after, "counts": self.counts}), "utf-8")
        os.replace(new, self.path)


def added(before: Counts, more: Counts) -> Counts:
    """Return the sum of counts, which are numbers or counts by name."""
    sums = dict(before)
    for name, count in more.items():
        sums[name] = added(sums.get(name, {}), cast("Counts", count)) if isinstance(count, dict) else sums.get(name, 0) + count
    return sums
