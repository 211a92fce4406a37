"""Input and output of the functions that a state machine calls as steps."""

from __future__ import annotations

from typing import TypedDict


class StepInput(TypedDict):
    """The input of a step."""

    order_id: str
    correlation_id: str


class StepResult[Outcome](TypedDict):
    """The output of a step; a Choice state reads the outcome."""

    outcome: Outcome
