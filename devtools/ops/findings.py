"""The findings of `make doctor`: one line for each check."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from botocore.exceptions import BotoCoreError, ClientError

type Level = Literal["ok", "warning", "unknown", "stop"]
MARKS: dict[Level, tuple[str, str]] = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "unknown": ("?", "yellow"), "stop": ("✗", "red")}


@dataclass(frozen=True)
class Finding:
    """The result of a check. A `stop` prevents the deployment, or orders; a `warning` limits them; `unknown` could not be checked."""

    level: Level
    what: str
    detail: str


def checked(what: str, check: Callable[[], Finding]) -> Finding:
    """Return the finding of a check, an unknown one if the account refuses the check or has no such service."""
    try:
        return check()
    except (ClientError, BotoCoreError) as error:
        return Finding("unknown", what, f"unknown: {' '.join(str(error).split())}")
