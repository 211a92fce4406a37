"""Settings of a function, read once from its environment."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# The same as in the template's parameters: HTTPS for any host, HTTP only for this machine, also as seen from a container.
ADDRESS = (
    r"https://[^\s/@]+(/\S*)?"
    r"|http://(localhost|127(\.\d{1,3}){3}|\[::1\]|172\.17\.0\.1|host\.docker\.internal|localhost\.localstack\.cloud)(:\d+)?(/\S*)?"
)


class MissingSetting(RuntimeError):
    """A required environment variable is not set, or has an invalid value."""


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


def selected[A](name: str, choices: Mapping[str, A]) -> A:
    """Return the choice that the environment variable `name` names.

    Raises:
        MissingSetting: it is not set, or names none of `choices`.
    """
    value = required(name)
    if value not in choices:
        message = f"environment variable {name} must be one of {', '.join(sorted(choices))}, not {value!r}"
        raise MissingSetting(message)
    return choices[value]


def address(name: str, default: str = "") -> str:
    """Return the URL in the environment variable `name`, or `default` where it is unset or empty.

    Raises:
        MissingSetting: neither is set, or the URL is not HTTPS and not on this machine.
    """
    value = optional(name, default) or required(name)
    if not re.fullmatch(ADDRESS, value):
        message = f"environment variable {name} must be an https:// address, not {value!r}; http:// is for this machine only"
        raise MissingSetting(message)
    return value
