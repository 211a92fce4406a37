"""A call of a function to AWS, for the bill."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Call:
    """Service, operation, JSON parameters and answer of a call; `caller` is the function's logical id.

    The operation is the HTTP method where the protocol names no operation.
    """

    service: str
    operation: str
    parameters: dict[str, Any]
    answer: dict[str, Any]
    caller: str = ""
