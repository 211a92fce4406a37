"""EventBridge's patterns, as far as this project writes any."""

from __future__ import annotations

from typing import Any


def matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    """Return whether EventBridge's pattern takes an event; knows literals, `exists` and `prefix`, and refuses to guess at more.

    A path of which a part is missing does not exist.
    """
    return all(
        matches(conditions, event.get(field, {}))
        if isinstance(conditions, dict)
        else any(_takes(condition, event, field) for condition in conditions)
        for field, conditions in pattern.items()
    )


def _takes(condition: Any, event: dict[str, Any], field: str) -> bool:
    match condition:
        case {"exists": bool() as wanted}:
            return (field in event) is wanted
        case {"prefix": str() as start}:
            return str(event.get(field, "")).startswith(start)
        case str():
            return event.get(field) == condition
        case _:
            raise NotImplementedError(condition)
