"""The consumers of queues: their concurrency limit, and whether they fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct

from operations.domain.remediation import Consumer

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# As orderflow.aws.batch logs a message that failed.
MESSAGE_FAILED = "message_failed"
# A term with other characters than letters, digits and underscores has to be quoted
# (https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html).
_TIMED_OUT = '"platform.report" timeout'
_RECENTLY = timedelta(minutes=5)
_PAGES = 10


class Failure(Struct, frozen=True):
    """A log line about a failed message: its id, and the error's type and traceback."""

    message_id: str = ""
    exception_name: str = ""
    exception: str = ""

    @property
    def error(self) -> str:
        """The error's type, and its message: the traceback's last line."""
        return f"{self.exception_name} {self.exception.strip().rpartition('\n')[2]}"


class _Function(NamedTuple):
    name: str
    log_group: str


_failures = msgspec.json.Decoder(Failure)


class Consumers:
    """The consumers of queues, by the queues' short names."""

    def __init__(self, mappings: Mapping[str, str], queue_prefix: str, *, functions: Any, logs: Any, sqs: SQSClient) -> None:
        """Use these clients; `mappings` has the id of each queue's event source mapping, `queue_prefix` begins the queues' URLs."""
        self._mappings = mappings
        self._prefix = queue_prefix
        self._functions = functions
        self._logs = logs
        self._sqs = sqs

    def find(self, queue: str) -> Consumer | None:
        """Return the consumer of a queue, or None if the queue has none."""
        if queue not in self._mappings:
            return None
        mapping: dict[str, Any] = self._functions.get_event_source_mapping(UUID=self._mappings[queue])
        waiting = self._sqs.get_queue_attributes(QueueUrl=self._prefix + queue, AttributeNames=["ApproximateNumberOfMessages"])
        failures = self._lines(self._function(mapping), f'"{MESSAGE_FAILED}"', datetime.now(UTC) - _RECENTLY)
        scaling: dict[str, int] = mapping.get("ScalingConfig") or {}
        return Consumer(
            self._mappings[queue],
            scaling.get("MaximumConcurrency"),
            int(waiting["Attributes"]["ApproximateNumberOfMessages"]),
            any(True for _ in failures),
        )

    def failures(self, queue: str, since: datetime) -> dict[str, str]:
        """Return the last error of each message that failed since then, by message id; of time-outs of the function, under ""."""
        if queue not in self._mappings:
            return {}
        function = self._function(self._functions.get_event_source_mapping(UUID=self._mappings[queue]))
        timed_out = any(True for _ in self._lines(function, _TIMED_OUT, since))
        failed = [_failures.decode(line) for line in self._lines(function, f'"{MESSAGE_FAILED}"', since)]
        return ({"": "Timeout"} if timed_out else {}) | {failure.message_id: failure.error for failure in failed}

    def _function(self, mapping: Mapping[str, Any]) -> _Function:
        configuration: dict[str, Any] = self._functions.get_function_configuration(FunctionName=mapping["FunctionArn"])
        name: str = configuration["FunctionName"]
        logging: dict[str, str] = configuration.get("LoggingConfig") or {}
        return _Function(name, logging.get("LogGroup") or f"/aws/lambda/{name}")

    def _lines(self, function: _Function, pattern: str, since: datetime) -> Iterator[str]:
        """Yield the function's lines; in a group of several functions, each has its name in the name of its log streams.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-loggroups.html
        """
        request = {"logGroupName": function.log_group, "filterPattern": pattern, "startTime": int(since.timestamp() * 1000)}
        shared = not function.log_group.endswith(f"/{function.name}")
        for _ in range(_PAGES):
            try:
                page = self._logs.filter_log_events(**request)
            except self._logs.exceptions.ResourceNotFoundException:
                # The function has never run, so it has no log group of its own.
                return
            yield from (line["message"] for line in page["events"] if not shared or f"/{function.name}[" in line["logStreamName"])
            if not page.get("nextToken"):
                return
            request["nextToken"] = page["nextToken"]
