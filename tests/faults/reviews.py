"""Reviews of held orders: executions with task tokens, the consumer that closes them, and the reviewer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.asl import Execution, ExecutionFailed, Machine, TaskFailed
from tests.support.samples import sample

if TYPE_CHECKING:
    from tests.faults.simulation import Simulation

SECONDS = {"ReviewReminderSeconds": "43200", "ReviewTimeoutSeconds": "86400"}
WORKFLOW = Machine(Path(__file__).resolve().parents[2] / "workflows" / "review.asl.json", **SECONDS)
OPERATIONS = "${OperationsQueueUrl}"
ATTEMPTS = 8
# Decisions on a held order; without one its review times out.
APPROVE, REJECT, NOTHING = "approve", "reject", "nothing"


def decide(simulation: Simulation, order_id: str, decision: str) -> None:
    """Decide on a held order, or let its review time out, and process all consequences."""
    if decision == NOTHING:
        simulation.reviews.time_out()
        simulation.reviews.time_out()
    else:
        simulation.reviews.decide(order_id, decision)
    simulation.process_all()


class Reviews:
    """The reviews of a simulated pipeline. `answers` are the responses to reviewers, by decision."""

    def __init__(self, simulation: Simulation) -> None:
        """Start with no order held."""
        self._simulation = simulation
        self._executions: dict[str, Execution] = {}
        self._numbers = count()
        self._redriven = 0
        self.answers: list[tuple[str, Any]] = []

    def react(self, kind: str, event: Any) -> None:
        """Start an execution for a held order, and resume the answered ones."""
        if kind == "OrderHeldForReview":
            self.start(event)
        self._resume()

    def start(self, event: Any) -> None:
        """Start an execution for an order and run it to its task token."""
        arn = f"arn:review:{next(self._numbers)}"
        execution = Execution(WORKFLOW, event, self._task, arn)
        self._executions[arn] = execution
        self._running.add(arn)
        with self._followed(arn):
            execution.resume()
        self._resume()

    def close(self, event: Any) -> None:
        """Deliver an event to the function that closes reviews."""
        self._simulation.deliver_event("ReviewsClose", json.dumps(event))
        self._resume()

    def decide(self, order_id: str, decision: str, reviewer: str = "rex") -> Any:
        """Send a decision as a client that retries 5xx answers; ignore a decision without any other answer."""
        request = sample("reviews/decide_review/approve")
        request["pathParameters"]["order_id"] = order_id
        request["requestContext"]["authorizer"]["customer_id"] = reviewer
        request["body"] = json.dumps({"decision": decision})
        for _ in range(ATTEMPTS):
            try:
                answer = self._simulation.invoke("ReviewsDecide", request)
            except TaskFailed:
                continue
            if answer["statusCode"] < 500:
                self.answers.append((decision, answer))
                return answer
        return None

    def time_out(self) -> None:
        """Let the executions' task tokens time out once; after a reminder they wait again."""
        for arn, execution in list(self._executions.items()):
            if execution.token in self._simulation.aws.stepfunctions.waiting:
                self._simulation.aws.stepfunctions.waiting.discard(execution.token)
                with self._followed(arn):
                    execution.time_out()
        self._resume()

    def redrive(self) -> None:
        """Restart the failed reviews, and resume the answered ones."""
        messages = self._simulation.aws.sqs.sent.get(OPERATIONS, [])
        found, self._redriven = messages[self._redriven :], len(messages)
        for message in found:
            if message.get("workflow") == "review":
                self.start(message)
        self._resume()

    def drop_ended(self) -> None:
        """Drop the executions that have ended."""
        self._executions = {arn: execution for arn, execution in self._executions.items() if execution.token}

    @property
    def waiting(self) -> set[str]:
        """Return the task tokens of waiting executions."""
        return {execution.token for execution in self._executions.values() if execution.token}

    @property
    def _running(self) -> set[str]:
        return self._simulation.aws.stepfunctions.running

    def _task(self, resource: str, given: Any) -> Any:
        if resource.endswith(".waitForTaskToken"):
            self._simulation.aws.stepfunctions.waiting.add(given["Payload"]["token"])
        try:
            return self._simulation.task(resource, given, "Review")
        except TaskFailed:
            self._simulation.aws.stepfunctions.waiting.discard(given.get("Payload", {}).get("token"))
            raise

    def _resume(self) -> None:
        """Resume every execution whose token was answered."""
        answered = self._simulation.aws.stepfunctions.answered
        for arn, execution in list(self._executions.items()):
            while execution.token in answered:
                with self._followed(arn):
                    execution.succeed(answered.pop(execution.token))

    @contextmanager
    def _followed(self, arn: str) -> Iterator[None]:
        """Record the end of an execution, if it ends."""
        try:
            yield
        except ExecutionFailed as failed:
            self._simulation.failed.append(failed.error)
        if not self._executions[arn].token:
            self._running.discard(arn)
