"""Init script of LocalEmu: archived events can be replayed.

LocalEmu archives the time of an event as text, and fails when it compares this with the period of a replay.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from datetime import datetime
from importlib import import_module
from typing import Any

archive: Any = import_module("localemu.services.events.archive").ArchiveService


def with_parsed_times(put: Callable[[Any, list[dict[str, Any]]], None]) -> Callable[[Any, Iterable[dict[str, Any]]], None]:
    """Parse the time of events that are archived."""

    @functools.wraps(put)
    def archived(service: Any, events: Iterable[dict[str, Any]]) -> None:
        put(service, [event | {"time": datetime.fromisoformat(event["time"])} for event in events])

    return archived


archive.put_events = with_parsed_times(archive.put_events)
