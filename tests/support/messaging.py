"""The operations of SQS, SNS and Step Functions that redrive and remediation use, in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from botocore.exceptions import ParamValidationError
from botocore.session import get_session
from botocore.validate import ParamValidator

from tests.fakes.aws.service import FakeService

SENT_AT = 1_795_262_400_000


@cache
def shapes(service: str) -> Any:
    """Return botocore's model of a service."""
    return get_session().get_service_model(service)


def validate(service: str, operation: str, given: dict[str, Any]) -> None:
    """Check a call's parameters against botocore's model. Raises ParamValidationError."""
    report = ParamValidator().validate(given, shapes(service).operation_model(operation).input_shape)
    if report.has_errors():
        raise ParamValidationError(report=report.generate_report())


class Messaging(FakeService):
    """SQS, SNS and Step Functions in one client; parameters are checked against botocore's models."""

    def __init__(self) -> None:
        super().__init__()
        self.queues: dict[str, list[dict[str, Any]]] = {}
        self.hidden: set[str] = set()
        self.published: list[dict[str, Any]] = []
        self.started: list[dict[str, Any]] = []

    def put(self, url: str, body: object, **attributes: dict[str, Any]) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        queue = self.queues.setdefault(url, [])
        name = f"{url}#{self.calls['put']}"
        self.calls["put"] += 1
        queue.append(
            {
                "MessageId": name,
                "ReceiptHandle": f"handle-{name}",
                "Body": text,
                "MessageAttributes": attributes,
                "Attributes": {"SentTimestamp": str(SENT_AT)},
            }
        )

    def receive_message(self, **given: Any) -> dict[str, Any]:
        return self._checked("sqs", "ReceiveMessage", given, lambda: self._receive(given))

    def send_message(self, **given: Any) -> dict[str, Any]:
        return self._checked(
            "sqs", "SendMessage", given, lambda: self.put(given["QueueUrl"], given["MessageBody"], **given["MessageAttributes"])
        )

    def delete_message(self, **given: Any) -> dict[str, Any]:
        return self._checked("sqs", "DeleteMessage", given, lambda: self._delete(given))

    def publish(self, **given: Any) -> dict[str, Any]:
        return self._checked("sns", "Publish", given, lambda: self.published.append(given))

    def start_execution(self, **given: Any) -> dict[str, Any]:
        return self._checked("stepfunctions", "StartExecution", given, lambda: self.started.append(json.loads(given["input"])))

    def get_queue_attributes(self, **given: Any) -> dict[str, Any]:
        """Return the number of messages."""
        number = str(len(self.queues.get(given["QueueUrl"], [])))
        return self._checked("sqs", "GetQueueAttributes", given, lambda: {"Attributes": {"ApproximateNumberOfMessages": number}})

    def _checked(self, service: str, operation: str, given: dict[str, Any], run: Callable[[], Any]) -> dict[str, Any]:
        validate(service, operation, given)
        return self._call(operation, given, run) or {}

    def _receive(self, given: dict[str, Any]) -> dict[str, Any]:
        assert given["MaxNumberOfMessages"] <= 10, "SQS returns at most ten messages per request"
        visible = [message for message in self.queues.get(given["QueueUrl"], []) if message["MessageId"] not in self.hidden]
        batch = visible[: given["MaxNumberOfMessages"]]
        if given["VisibilityTimeout"]:
            self.hidden |= {message["MessageId"] for message in batch}
        displayed = ("MessageId", "ReceiptHandle", "Body", "MessageAttributes", "Attributes")
        return {"Messages": [{name: message[name] for name in displayed if message[name]} for message in batch]} if batch else {}

    def _delete(self, given: dict[str, Any]) -> None:
        queue = self.queues[given["QueueUrl"]]
        queue[:] = [message for message in queue if message["ReceiptHandle"] != given["ReceiptHandle"]]
