"""SQS in memory: queues that record sent messages. Messages cannot be received."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.aws.service import FakeService

HIDDEN_SECONDS = 12 * 3600


class FakeSqs(FakeService):
    """`sent` has the messages of each queue URL; `hidden` has the visibility timeout in seconds of each receipt handle."""

    def __init__(self, attempts: int = 1) -> None:
        """Start with empty queues."""
        super().__init__(attempts)
        self.sent: dict[str, list[Any]] = {}
        self.hidden: dict[str, int] = {}

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> dict[str, str]:  # noqa: N803 - botocore's names
        """Record a message, which must be a JSON document."""
        parameters = {"QueueUrl": QueueUrl, "MessageBody": MessageBody}
        return self._call("SendMessage", parameters, lambda: self._send(QueueUrl, json.loads(MessageBody)))

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> dict[str, Any]:  # noqa: N803 - botocore's names
        """Record the visibility timeout of a received message."""
        parameters = {"QueueUrl": QueueUrl, "ReceiptHandle": ReceiptHandle, "VisibilityTimeout": VisibilityTimeout}
        return self._call("ChangeMessageVisibility", parameters, lambda: self._hide(ReceiptHandle, VisibilityTimeout))

    def _hide(self, receipt: str, seconds: int) -> dict[str, Any]:
        assert 0 <= seconds <= HIDDEN_SECONDS, "VisibilityTimeout must be at most 12 hours"
        self.hidden[receipt] = seconds
        return {}

    def _send(self, url: str, document: Any) -> dict[str, str]:
        self.sent.setdefault(url, []).append(document)
        return {"MessageId": f"message-{len(self.sent[url])}"}
