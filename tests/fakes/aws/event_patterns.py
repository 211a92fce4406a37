"""EventBridge's patterns: the part that this project uses."""

from __future__ import annotations

from typing import Any


def matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    """Return whether an event matches EventBridge's pattern of literals, `exists` and `prefix`; raise for other operators.

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
