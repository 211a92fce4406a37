"""The event bus, queues and workflows in memory, as far as functions write to them.

Each checks what it is given as the service would and remembers it. `before` and `after` are called
around every call, as those of `FakeDynamoDB` are.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from tests.fakes.aws.dynamodb import Hook, Parameters

BUS_ENTRIES = 10
BUS_BYTES = 256 * 1024
HIDDEN_SECONDS = 12 * 3600
STREAM_RECORDS = 500
STREAM_BYTES = 5 * 1024 * 1024


class Refused(ClientError):
    """The service says no: botocore does not ask again."""

    def __init__(self, operation: str, code: str, message: str) -> None:
        """Refuse an operation."""
        super().__init__({"Error": {"Code": code, "Message": message}}, operation)


class FakeService:
    """What the services have in common: calls are counted and can be disturbed.

    A hook that raises an error which botocore retries makes the call again, `attempts` times in all.
    """

    def __init__(self, attempts: int = 1) -> None:
        """Start with nothing called."""
        self._attempts = attempts
        self.calls: Counter[str] = Counter()
        self.before: Hook | None = None
        self.after: Hook | None = None

    def _call[A](self, operation: str, parameters: Parameters, run: Callable[[], A]) -> A:
        for attempt in range(1, self._attempts + 1):
            try:
                return self._attempt(operation, parameters, run)
            except Refused:
                raise
            except (ClientError, ReadTimeoutError):
                if attempt == self._attempts:
                    raise
        raise AssertionError

    def _attempt[A](self, operation: str, parameters: Parameters, run: Callable[[], A]) -> A:
        self.calls[operation] += 1
        if self.before:
            self.before(operation, parameters)
        try:
            return run()
        finally:
            if self.after:
                self.after(operation, parameters)


class FakeBus(FakeService):
    """EventBridge. Entries whose number (from 0, in the order of arrival) is in `refuse` are refused once."""

    def __init__(self, attempts: int = 1) -> None:
        """Start with nothing published."""
        super().__init__(attempts)
        self.entries: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.refuse: set[int] = set()
        self.arrived = 0

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - botocore's name
        """Take at most 10 entries of together at most 256 KB; answer which of them were refused."""
        return self._call("PutEvents", {"Entries": Entries}, lambda: self._put(Entries))

    @property
    def details(self) -> list[dict[str, Any]]:
        """The published envelopes, oldest first."""
        return [json.loads(entry["Detail"]) for entry in self.entries]

    def _put(self, entries: list[dict[str, Any]]) -> dict[str, Any]:
        assert 1 <= len(entries) <= BUS_ENTRIES, "PutEvents takes 1 to 10 entries"
        assert sum(map(_weight, entries)) <= BUS_BYTES, "PutEvents takes 256 KB at most"
        self.batches.append(len(entries))
        answers = [self._take(entry) for entry in entries]
        return {"FailedEntryCount": sum("ErrorCode" in answer for answer in answers), "Entries": answers}

    def _take(self, entry: dict[str, Any]) -> dict[str, str]:
        number, self.arrived = self.arrived, self.arrived + 1
        if number in self.refuse:
            return {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"}
        self.entries.append(entry)
        return {"EventId": f"event-{number}"}


class FakeStreams(FakeService):
    """Kinesis. Records whose number (from 0, in the order of arrival) is in `refuse` are refused once."""

    def __init__(self, attempts: int = 1) -> None:
        """Start with an empty stream."""
        super().__init__(attempts)
        self.records: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.refuse: set[int] = set()
        self.arrived = 0

    def put_records(self, *, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - botocore's names
        """Take at most 500 records of together at most 5 MB; answer which of them were refused."""
        return self._call("PutRecords", {"StreamName": StreamName, "Records": Records}, lambda: self._put(Records))

    @property
    def details(self) -> list[dict[str, Any]]:
        """The events that were written, oldest first."""
        return [json.loads(record["Data"]) for record in self.records]

    def _put(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        assert 1 <= len(records) <= STREAM_RECORDS, "PutRecords takes 1 to 500 records"
        assert sum(len(record["Data"]) + len(record["PartitionKey"]) for record in records) <= STREAM_BYTES, "PutRecords takes 5 MB at most"
        self.batches.append(len(records))
        answers = [self._take(record) for record in records]
        return {"FailedRecordCount": sum("ErrorCode" in answer for answer in answers), "Records": answers}

    def _take(self, record: dict[str, Any]) -> dict[str, str]:
        number, self.arrived = self.arrived, self.arrived + 1
        if number in self.refuse:
            return {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"}
        self.records.append(record)
        return {"SequenceNumber": str(number), "ShardId": "shardId-000000000000"}


class FakeQueues(FakeService):
    """SQS: what was sent, by the URL of the queue, and for how many seconds messages were hidden, by their receipt handle."""

    def __init__(self, attempts: int = 1) -> None:
        """Start with empty queues."""
        super().__init__(attempts)
        self.sent: dict[str, list[Any]] = {}
        self.hidden: dict[str, int] = {}

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> dict[str, str]:  # noqa: N803 - botocore's names
        """Keep a JSON document that is sent to a queue."""
        parameters = {"QueueUrl": QueueUrl, "MessageBody": MessageBody}
        return self._call("SendMessage", parameters, lambda: self._send(QueueUrl, json.loads(MessageBody)))

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> dict[str, Any]:  # noqa: N803 - botocore's names
        """Hide a message that was received for so long."""
        parameters = {"QueueUrl": QueueUrl, "ReceiptHandle": ReceiptHandle, "VisibilityTimeout": VisibilityTimeout}
        return self._call("ChangeMessageVisibility", parameters, lambda: self._hide(ReceiptHandle, VisibilityTimeout))

    def _hide(self, receipt: str, seconds: int) -> dict[str, Any]:
        assert 0 <= seconds <= HIDDEN_SECONDS, "SQS hides a message for 12 hours at most"
        self.hidden[receipt] = seconds
        return {}

    def _send(self, url: str, document: Any) -> dict[str, str]:
        self.sent.setdefault(url, []).append(document)
        return {"MessageId": f"message-{len(self.sent[url])}"}


class FakeSecrets(FakeService):
    """Secrets Manager: one text for every secret."""

    def __init__(self, attempts: int = 1) -> None:
        """Hold the text `secret`."""
        super().__init__(attempts)
        self.text = "secret"

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:  # noqa: N803 - botocore's name
        """Tell the text."""
        return self._call("GetSecretValue", {"SecretId": SecretId}, lambda: {"SecretString": self.text})


class FakeObjects(FakeService):
    """S3: what was put, by bucket and key; of what was put again, the last."""

    class exceptions:  # noqa: N801 - botocore's name
        """The errors that are named."""

        class NoSuchKey(Exception):
            """There is no such object."""

    def __init__(self, attempts: int = 1) -> None:
        """Start with empty buckets."""
        super().__init__(attempts)
        self.objects: dict[tuple[str, str], bytes] = {}

    def put_object(self, **parameters: Any) -> dict[str, Any]:
        """Keep an object."""
        return self._call("PutObject", parameters, lambda: self._put(parameters))

    def get_object(self, **parameters: Any) -> dict[str, Any]:
        """Give an object back."""
        return self._call("GetObject", parameters, lambda: self._get(parameters))

    def _put(self, parameters: Parameters) -> dict[str, Any]:
        assert parameters["ServerSideEncryption"] == "AES256"
        self.objects[parameters["Bucket"], parameters["Key"]] = parameters["Body"]
        return {}

    def _get(self, parameters: Parameters) -> dict[str, Any]:
        place = parameters["Bucket"], parameters["Key"]
        if place not in self.objects:
            raise self.exceptions.NoSuchKey
        return {"Body": io.BytesIO(self.objects[place])}


class FakeTopics(FakeService):
    """SNS: what was published, by the ARN of the topic."""

    def __init__(self, attempts: int = 1) -> None:
        """Start with nothing published."""
        super().__init__(attempts)
        self.published: dict[str, list[str]] = {}

    def publish(self, **parameters: Any) -> dict[str, str]:
        """Keep a message."""
        return self._call("Publish", parameters, lambda: self._publish(parameters))

    def _publish(self, parameters: Parameters) -> dict[str, str]:
        messages = self.published.setdefault(parameters["TopicArn"], [])
        messages.append(parameters["Message"])
        return {"MessageId": f"message-{len(messages)}"}


class FakeMail(FakeService):
    """SES: mails are kept in the order in which they were taken."""

    def __init__(self) -> None:
        """Start with no mail. `orderflow.aws.clients` gives SES one attempt."""
        super().__init__(attempts=1)
        self.sent: list[Parameters] = []

    def send_email(self, **request: Any) -> dict[str, str]:
        """Take a mail and name it."""

        def take() -> dict[str, str]:
            self.sent.append(request)
            return {"MessageId": f"ses-{len(self.sent)}"}

        return self._call("SendEmail", request, take)

    @property
    def subjects(self) -> list[str]:
        """The subjects of the mails."""
        return [request["Message"]["Subject"]["Data"] for request in self.sent]


class FakeWorkflows(FakeService):
    """Step Functions: the executions that were started and not yet run, and those that wait.

    `running` are executions (ARNs) that have not ended; `waiting` are the tokens that tasks wait for,
    `answered` those that were answered, with the output.
    """

    def __init__(self, attempts: int = 1) -> None:
        """Start with nothing started."""
        super().__init__(attempts)
        self.started: list[dict[str, Any]] = []
        self.running: set[str] = set()
        self.waiting: set[str] = set()
        self.answered: dict[str, Any] = {}

    def start_execution(self, **parameters: Any) -> dict[str, str]:
        """Remember an execution's input."""
        return self._call("StartExecution", parameters, lambda: self._start(parameters))

    def describe_execution(self, *, executionArn: str) -> dict[str, str]:  # noqa: N803 - botocore's name
        """Tell whether an execution is running."""
        status = "RUNNING" if executionArn in self.running else "FAILED"
        return self._call("DescribeExecution", {"executionArn": executionArn}, lambda: {"status": status})

    def send_task_success(self, *, taskToken: str, output: str) -> dict[str, str]:  # noqa: N803 - botocore's names
        """Answer a task that waits for its token."""
        return self._call("SendTaskSuccess", {"taskToken": taskToken}, lambda: self._succeed(taskToken, output))

    def _succeed(self, token: str, output: str) -> dict[str, str]:
        if token not in self.waiting:
            raise Refused("SendTaskSuccess", "TaskTimedOut", "Provided task does not exist anymore")
        self.waiting.remove(token)
        self.answered[token] = json.loads(output)
        return {}

    def _start(self, parameters: Parameters) -> dict[str, str]:
        self.started.append(json.loads(parameters["input"]))
        return {"executionArn": f"{parameters['stateMachineArn']}:{len(self.started)}"}


def _weight(entry: dict[str, Any]) -> int:
    texts = (entry["Detail"], entry["DetailType"], entry["Source"])
    return sum(len(text.encode()) for text in texts) + (14 if "Time" in entry else 0)
