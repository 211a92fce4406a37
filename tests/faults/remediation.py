"""Automatic remediation in one process: alarms, the workflow's own definition, the real functions on services in memory."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from operations.handlers import decide_remediation, redrive, remediate
from tests.fakes.aws import clients
from tests.fakes.aws.control_plane import FakeAlarms, FakeFlagDeployments, FakeFunctions, FakeLogs, FakeReleases
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB
from tests.fakes.aws.environment import TABLES
from tests.fakes.aws.eventbridge import FakeEventBridge
from tests.fakes.aws.kinesis import FakeKinesis
from tests.faults.asl import ExecutionFailed, Machine, TaskFailed
from tests.faults.faults import Call, Disturbance, target_of
from tests.support.messaging import Messaging
from tests.support.runtime import CONTEXT
from tests.support.samples import sample

WORKFLOW = Machine(Path(__file__).resolve().parents[2] / "workflows" / "remediation.asl.json")
HANDLERS = {
    "${OperationsDecide}": decide_remediation.handler,
    "${OperationsRedrive}": redrive.handler,
    "${OperationsRemediate}": remediate.handler,
}
MAIL = redrive.ROUTES["mail"]
STACK = "order-pipeline"
MAIL_MAPPING, SHIPPING_MAPPING = (decide_remediation.MAPPINGS[queue] for queue in ("mail", "shipping-request"))
METRICS = {
    "mail-dead-letters": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": f"{STACK}-mail-dead-letters"}),
    "shipping-request-age": ("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": f"{STACK}-shipping-request"}),
    "ledger-difference": (f"OrderPipeline/{STACK}", "LedgerDifferences", {"service": "ledger"}),
    "fraud-screen-errors": ("AWS/Lambda", "Errors", {"FunctionName": f"{STACK}-fraud-screen"}),
    "payments-authorize-errors": ("AWS/Lambda", "Errors", {"FunctionName": f"{STACK}-payments-authorize"}),
    "release-api-faults": ("AWS/ApiGateway", "5XXError", {"ApiName": STACK}),
    "stock-differences": (f"OrderPipeline/{STACK}", "StockDifferences", {"service": "inventory"}),
}
THROTTLED = "botocore.errorfactory.ThrottlingException: An error occurred (ThrottlingException)"
# Later than the period in which a deployment of flags is recent.
START = datetime.now(UTC)


def alarm(name: str, at: datetime = START, state: str = "ALARM") -> dict[str, Any]:
    """Return CloudWatch's event about an alarm of METRICS."""
    namespace, metric, dimensions = METRICS[name]
    event = copy.deepcopy(sample("operations/decide_remediation/duplicate")["alarm"])
    watched = {"namespace": namespace, "name": metric, "dimensions": dimensions}
    event["detail"] |= {
        "alarmName": f"{STACK}-{name}",
        "state": {"value": state, "timestamp": at.isoformat()},
        "configuration": {"metrics": [{"metricStat": {"metric": watched}}]},
    }
    return event


def failed_line(message_id: str, exception: str = THROTTLED) -> str:
    """Return a consumer's log line about a failed message."""
    return json.dumps({"message": "message_failed", "message_id": message_id, "exception_name": "ClientError", "exception": exception})


@dataclass
class Operations:
    """A stack with alarms and remediations; `notifications` are messages to operators, `outcomes` the results of executions."""

    disturbance: Disturbance = field(default_factory=Disturbance)
    alarms: FakeAlarms = field(default_factory=FakeAlarms)
    flags: FakeFlagDeployments = field(default_factory=FakeFlagDeployments)
    functions: FakeFunctions = field(default_factory=FakeFunctions)
    logs: FakeLogs = field(default_factory=FakeLogs)
    releases: FakeReleases = field(default_factory=FakeReleases)
    messaging: Messaging = field(default_factory=Messaging)
    bus: FakeEventBridge = field(default_factory=FakeEventBridge)
    stream: FakeKinesis = field(default_factory=FakeKinesis)
    claims: FakeDynamoDB = field(default_factory=lambda: FakeDynamoDB(*TABLES))
    notifications: list[str] = field(default_factory=list[str])
    outcomes: list[str] = field(default_factory=list[str])
    _function: str = ""
    _started: int = 0

    def __post_init__(self) -> None:
        """Give the functions the in-memory services, with flags that were not deployed recently."""
        services: dict[str, Any] = {
            "cloudwatch": self.alarms,
            "appconfig": self.flags,
            "lambda": self.functions,
            "logs": self.logs,
            "codedeploy": self.releases,
            "sqs": self.messaging,
            "events": self.bus,
            "kinesis": self.stream,
            "dynamodb": self.claims,
        }
        for name, service in services.items():
            service.before, service.after = self._hooks(name)
        clients.lend(**services, sns=self.messaging, stepfunctions=self.messaging)
        self.flags.deployed({}, START - timedelta(days=2))
        self.flags.deployed({"hold_countries": ["GB"]}, START - timedelta(days=1))
        self.functions.limits = {MAIL_MAPPING: 10, SHIPPING_MAPPING: 10}
        self.disturbance.refuse = lambda call: {"events": self.bus, "kinesis": self.stream}[call.service].refuse.add(
            {"events": self.bus, "kinesis": self.stream}[call.service].arrived
        )

    def dead_letter(self, error: str | None = THROTTLED, **attributes: Any) -> None:
        """Dead-letter an email, and log its error."""
        number = len(self.messaging.queues.get(MAIL.queue_url, []))
        self.messaging.put(MAIL.queue_url, {"detail": {"number": number}}, **attributes)
        if error is not None:
            self.logs.lines.append((MAIL_MAPPING, failed_line(self.messaging.queues[MAIL.queue_url][-1]["MessageId"], error)))

    def backlog(self) -> None:
        """Put a request for a shipment into its queue."""
        self.messaging.put(redrive.ROUTES["shipping-request"].target, {"detail": {}})

    def changed_flags(self) -> None:
        """Deploy a change of the flags now."""
        self.flags.deployed({"hold_countries": ["GB"], "fraud": {"hold_score": 1}}, START)

    def fire(self, *events: dict[str, Any]) -> None:
        """Deliver the events of alarms, each of which starts an execution, one after the other."""
        for event in events:
            self.alarms.states.setdefault(event["detail"]["alarmName"], event["detail"]["state"]["value"])
            self._started += 1
            try:
                ended = WORKFLOW.run(event, self._task, f"arn:execution:{self._started}")
            except ExecutionFailed:
                self.outcomes.append("execution failed")
            else:
                self.outcomes.append(ended.get("report", ended["decided"])["value"]["outcome"])

    @property
    def details(self) -> list[dict[str, Any]]:
        """The published events, each once."""
        return list({event["event_id"]: event for event in self.bus.details}.values())

    def _task(self, resource: str, given: Any) -> Any:
        if resource.endswith("sns:publish"):
            self.notifications.append(given["Message"])
            return {}
        before, self._function = self._function, given["FunctionName"].strip("${}")
        # Between attempts, the workflow waits until messages are visible again.
        self.messaging.hidden.clear()
        try:
            return {"Payload": json.loads(json.dumps(HANDLERS[given["FunctionName"]](given["Payload"], CONTEXT), default=str))}
        except (Exception, Crash) as error:
            raise TaskFailed(type(error).__name__) from error
        finally:
            self._function = before

    def _hooks(self, service: str) -> tuple[Callable[..., None], Callable[..., None]]:
        def before(operation: str, given: Any) -> None:
            if self._function:
                self.disturbance.before(Call(self._function, service, operation, target_of(given)), given)

        def after(operation: str, given: Any) -> None:
            if self._function:
                self.disturbance.after(Call(self._function, service, operation, target_of(given)), given)

        return before, after


@pytest.fixture
def operations() -> Operations:
    """A stack without alarms."""
    return Operations()
