"""What was published last, and what differs from it now: pure rules over two sets of schemas, and the file that keeps one.

The baseline is a file of the repository and no git tag, so that a clone without tags cannot pass what breaks a consumer.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devtools.checks.contracts.compatibility import CONSUMERS, STORED, Change, Schema, bare, compare

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Published:
    """A version of an event's contract: its schema without what only explains, and the digest of its example."""

    schema: Schema
    example: str


type Catalogue = Mapping[str, Mapping[int, Published]]


@dataclass(frozen=True)
class Release:
    """Every contract of a release, `version` being its number."""

    version: str
    events: Catalogue


@dataclass(frozen=True)
class Finding:
    """A difference between two releases: of which event, and what it is."""

    event: str
    change: Change

    def __str__(self) -> str:
        """Return the line that people read."""
        place = f" {self.change.place}" if self.change.place else ""
        return f"{self.event}{place}: {self.change.what} - {self.change.verdict}"


def published(schema: Schema, example: Any) -> Published:
    """Return a version of a contract as a release keeps it."""
    canonical = json.dumps(example, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Published(bare(schema), hashlib.sha256(canonical.encode()).hexdigest())


def differences(before: Catalogue, now: Catalogue, upcasters: Collection[tuple[str, int]]) -> list[Finding]:
    """Return everything that changed, in the order of the events' names."""
    found = list[Finding]()
    for name in sorted(before.keys() | now.keys()):
        if name not in now:
            found.append(Finding(name, Change("", "event removed", (*CONSUMERS, *STORED))))
        elif name not in before:
            found.append(Finding(name, Change("", "event added")))
        found += [Finding(f"{name} {version}", change) for version, change in _versions(before.get(name, {}), now.get(name, {}))]
        found += [Finding(name, change) for change in _steps(name, now.get(name, {}), upcasters)]
    return found


def _versions(before: Mapping[int, Published], now: Mapping[int, Published]) -> Iterator[tuple[int, Change]]:
    # Of an event that is new, or gone, this has been said.
    if not before or not now:
        return
    for version in sorted(before.keys() | now.keys()):
        if version not in now:
            yield version, Change("", "version removed", STORED)
        elif version not in before:
            yield version, Change("", "version added")
        else:
            yield from ((version, change) for change in compare(before[version].schema, now[version].schema))
            if before[version].example != now[version].example:
                yield version, Change("", "the example changed that shows how this version is read", STORED)


def _steps(name: str, now: Mapping[int, Published], upcasters: Collection[tuple[str, int]]) -> Iterator[Change]:
    """Yield what is missing between the first version and the newest: each has to lead to the next one."""
    for version in range(1, max(now, default=0)):
        if version not in now:
            yield Change("", f"version {version} has no schema", STORED)
        if (name, version) not in upcasters:
            yield Change("", f"no upcaster leads from version {version} to {version + 1}", STORED)


def numbered(text: str) -> tuple[int, int, int]:
    """Return a release's number as something to compare.

    Raises:
        ValueError: it is not of the form 1.2.3.
    """
    if not (match := re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", text)):
        message = f"a release is called like 1.2.3, not {text!r}"
        raise ValueError(message)
    major, minor, patch = map(int, match.groups())
    return major, minor, patch


def read(path: Path) -> Release:
    """Return the release that a file keeps; one of nothing where there is no file yet."""
    if not path.exists():
        return Release("0.0.0", {})
    document = json.loads(path.read_text("utf-8"))
    events = {
        name: {int(version): Published(kept["schema"], kept["example"]) for version, kept in versions.items()}
        for name, versions in document["events"].items()
    }
    return Release(document["release"], events)


def written(release: Release) -> str:
    """Return the file of a release: a line for each event."""
    lines = [
        json.dumps(name) + ": " + json.dumps({str(version): vars(versions[version]) for version in sorted(versions)}, sort_keys=True)
        for name, versions in sorted(release.events.items())
    ]
    return f'{{"release": {json.dumps(release.version)}, "events": {{\n' + ",\n".join(lines) + "\n}}\n"
