"""Differences between the last release and the current contracts, and the file that stores a release.

The baseline is a file and not a git tag, so that the check also works in a clone without tags.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devtools.checks.contracts.compatibility import CONSUMERS, STORED, Change, Schema, compare, without_annotations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Published:
    """A version of an event's contract: its schema without annotations, and the digest of its example."""

    schema: Schema
    example: str


type Catalogue = Mapping[str, Mapping[int, Published]]


@dataclass(frozen=True)
class Release:
    """All contracts of a release; `version` is its number."""

    version: str
    events: Catalogue


@dataclass(frozen=True)
class Finding:
    """A difference between two releases of one event."""

    event: str
    change: Change

    def __str__(self) -> str:
        """Return the difference as one line."""
        place = f" {self.change.place}" if self.change.place else ""
        return f"{self.event}{place}: {self.change.what} - {self.change.effect}"


def published(schema: Schema, example: Any) -> Published:
    """Return a version of a contract in the form that a release stores."""
    canonical = json.dumps(example, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Published(without_annotations(schema), hashlib.sha256(canonical.encode()).hexdigest())


def differences(before: Catalogue, now: Catalogue, upcasters: Collection[tuple[str, int]]) -> list[Finding]:
    """Return all changes, sorted by event name."""
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
    # Added and removed events have a finding of their own.
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
                yield version, Change("", "the example of this version changed", STORED)


def _steps(name: str, now: Mapping[int, Published], upcasters: Collection[tuple[str, int]]) -> Iterator[Change]:
    """Yield missing schemas and upcasters between the first version and the newest."""
    for version in range(1, max(now, default=0)):
        if version not in now:
            yield Change("", f"version {version} has no schema", STORED)
        if (name, version) not in upcasters:
            yield Change("", f"no upcaster leads from version {version} to {version + 1}", STORED)


def numbered(text: str) -> tuple[int, int, int]:
    """Return a release's number as a comparable tuple.

    Raises:
        ValueError: the text has not the form 1.2.3.
    """
    if not (match := re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", text)):
        message = f"a release has the form 1.2.3, not {text!r}"
        raise ValueError(message)
    major, minor, patch = map(int, match.groups())
    return major, minor, patch


def read(path: Path) -> Release:
    """Return the release in a file, or an empty one if the file does not exist."""
    if not path.exists():
        return Release("0.0.0", {})
    document = json.loads(path.read_text("utf-8"))
    events = {
        name: {int(version): Published(kept["schema"], kept["example"]) for version, kept in versions.items()}
        for name, versions in document["events"].items()
    }
    return Release(document["release"], events)


def written(release: Release) -> str:
    """Return the text of a release file: one line per event."""
    lines = [
        json.dumps(name) + ": " + json.dumps({str(version): vars(versions[version]) for version in sorted(versions)}, sort_keys=True)
        for name, versions in sorted(release.events.items())
    ]
    return f'{{"release": {json.dumps(release.version)}, "events": {{\n' + ",\n".join(lines) + "\n}}\n"
