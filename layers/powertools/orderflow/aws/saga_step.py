"""Input and output of the functions that a state machine calls as steps."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, TypedDict

from orderflow.aws.observability import measure
from orderflow.domain import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.typing import LambdaContext


class StepInput(TypedDict):
    """The input of a step."""

    order_id: str
    correlation_id: str


class StepResult[Outcome](TypedDict):
    """The output of a step; a Choice state reads the outcome."""

    outcome: Outcome


type Step[E, Outcome: str] = Callable[[E, LambdaContext], StepResult[Outcome]]


def timed_step[E: StepInput, Outcome: str](step: str) -> Callable[[Step[E, Outcome]], Step[E, Outcome]]:
    """Measure how long a step takes, by its outcome; `fault` where it raises."""

    def decorate(handler: Step[E, Outcome]) -> Step[E, Outcome]:
        @functools.wraps(handler)
        def timed(event: E, context: LambdaContext) -> StepResult[Outcome]:
            started, outcome = time.perf_counter(), "fault"
            try:
                answer = handler(event, context)
                outcome = answer["outcome"]
            finally:
                milliseconds = round((time.perf_counter() - started) * 1000, 1)
                measure(metrics.SAGA_STEP_MILLISECONDS, milliseconds, step=step, outcome=outcome)
            return answer

        return timed

    return decorate
