"""SNS in memory."""

from __future__ import annotations

from typing import Any

from tests.fakes.aws.dynamodb import Parameters
from tests.fakes.aws.service import FakeService


class FakeSns(FakeService):
    """The published messages, by topic ARN."""

    def __init__(self, attempts: int = 1) -> None:
        """Start with nothing published."""
        super().__init__(attempts)
        self.published: dict[str, list[str]] = {}

    def publish(self, **parameters: Any) -> dict[str, str]:
        """Record a message."""
        return self._call("Publish", parameters, lambda: self._publish(parameters))

    def _publish(self, parameters: Parameters) -> dict[str, str]:
        messages = self.published.setdefault(parameters["TopicArn"], [])
        messages.append(parameters["Message"])
        return {"MessageId": f"message-{len(messages)}"}
