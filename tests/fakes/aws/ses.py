"""SES in memory."""

from __future__ import annotations

from typing import Any

from tests.fakes.aws.dynamodb import Parameters
from tests.fakes.aws.service import FakeService


class FakeSes(FakeService):
    """The sent emails, oldest first."""

    def __init__(self) -> None:
        """Start without emails. `orderflow.aws.clients` gives SES one attempt."""
        super().__init__(attempts=1)
        self.sent: list[Parameters] = []

    def send_email(self, **request: Any) -> dict[str, str]:
        """Record an email and return its id."""

        def take() -> dict[str, str]:
            self.sent.append(request)
            return {"MessageId": f"ses-{len(self.sent)}"}

        return self._call("SendEmail", request, take)

    @property
    def subjects(self) -> list[str]:
        """The subjects of the emails."""
        return [request["Message"]["Subject"]["Data"] for request in self.sent]
