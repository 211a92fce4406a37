"""Places an order of a scenario, follows it, and compares it with the expected result."""

from dataclasses import dataclass, field
from typing import Any

from devtools.local.api_client import ApiClient, is_final, state_of
from devtools.local.scenarios import Scenario
from devtools.web import Answer


@dataclass(eq=False)
class ScenarioRun:
    """A scenario with its order; `answer` is the API's, once the order was sent."""

    scenario: Scenario
    customer: str
    key: str
    answer: Answer | None = None
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def what(self) -> str:
        """The title."""
        return self.scenario.what

    @property
    def expected(self) -> str:
        """The expected final state."""
        return self.scenario.expected

    @property
    def begun(self) -> bool:
        """Whether the order was sent."""
        return self.answer is not None

    @property
    def order_id(self) -> str:
        """The order's id; empty where the API rejected it."""
        return self.answer.json().get("order_id", "") if self.answer else ""

    @property
    def actual(self) -> str:
        """The order's state, or the status with which the API rejected it."""
        if self.answer and not self.order_id:
            return f"rejected with {self.answer.status}"
        return state_of(self.events)

    @property
    def ended(self) -> bool:
        """Whether the order was rejected or has its final state."""
        return self.answer is not None and (not self.order_id or is_final(self.actual))

    def step(self, api: ApiClient) -> None:
        """Place the order, or read its events again if it was placed."""
        if self.answer is None:
            self.answer = api.place(self.customer, self.scenario.body, self.key)
        elif self.order_id:
            self.events = api.events(self.customer, self.order_id) or self.events
