"""The Lambda context."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


def context(function: str = "function", *, milliseconds_left: int = 90_000) -> Any:
    """Return the context of an invocation that times out after `milliseconds_left`."""
    return SimpleNamespace(
        function_name=function,
        memory_limit_in_mb=512,
        invoked_function_arn=f"arn:aws:lambda:us-east-1:000000000000:function:{function}",
        aws_request_id="request-1",
        get_remaining_time_in_millis=lambda: milliseconds_left,
    )


CONTEXT = context()
