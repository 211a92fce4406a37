"""Settings of a function, read once from its environment."""

from __future__ import annotations

import os


class MissingSetting(RuntimeError):
    """An environment variable that the function needs is not set, or is not of its type."""


def required(name: str) -> str:
    """Return the value of the environment variable `name`.

    Raises:
        MissingSetting: it is not set, or empty.
    """
    value = os.environ.get(name, "")
    if not value:
        message = f"environment variable {name} is not set; template.yaml sets it for each function that needs it"
        raise MissingSetting(message)
    return value


def optional(name: str, default: str) -> str:
    """Return the value of the environment variable `name`, or `default` where it is unset or empty."""
    return os.environ.get(name) or default


def optional_int(name: str, default: int) -> int:
    """Return the whole number in the environment variable `name`, or `default` where it is unset.

    Raises:
        MissingSetting: the value is not a whole number.
    """
    value = optional(name, str(default))
    try:
        return int(value)
    except ValueError:
        message = f"environment variable {name} must be a whole number, not {value!r}"
        raise MissingSetting(message) from None


def listed(name: str) -> frozenset[str]:
    """Return the names that stand in the environment variable `name` with commas between; none where it is unset or empty."""
    return frozenset(filter(None, map(str.strip, os.environ.get(name, "").split(","))))
