"""Error codes of refused calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

ACCEPTED = "accepted"


def code(call: Callable[..., Any], **parameters: Any) -> str:
    """Return the error code of a refused call, or ACCEPTED."""
    try:
        call(**parameters)
    except ClientError as error:
        return error.response.get("Error", {}).get("Code", "")
    return ACCEPTED
