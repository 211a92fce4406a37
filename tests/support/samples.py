"""The sample events under `events/`, each with the answer that stands beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EVENTS = Path(__file__).resolve().parents[2] / "events"


def sample(path: str) -> Any:
    """Return a sample event, such as `orders/place/accepted`."""
    return json.loads((EVENTS / f"{path}.json").read_text("utf-8"))


def expected(path: str) -> Any:
    """Return the answer that a sample event has to get: what stands there, maybe among more."""
    return json.loads((EVENTS / f"{path}.answer.json").read_text("utf-8"))


def names(folder: str) -> list[str]:
    """Return the sample events of a function, such as `orders/place`."""
    found = sorted(path.stem for path in (EVENTS / folder).glob("*.json") if not path.stem.endswith(".answer"))
    assert found, f"no sample events in {folder}"
    return [f"{folder}/{name}" for name in found]


def agrees(actual: Any, wanted: Any) -> bool:
    """Tell whether an answer has everything that is wanted of it."""
    if isinstance(wanted, Mapping):
        return isinstance(actual, Mapping) and all(name in actual and agrees(actual[name], value) for name, value in wanted.items())
    return actual == wanted
