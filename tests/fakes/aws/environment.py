"""AWS as the code under test meets it: all services in memory, tables as the template has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.aws import clients
from tests.fakes.aws.appconfig import FakeAppConfig
from tests.fakes.aws.dynamodb import FakeDynamoDB, tables_of
from tests.fakes.aws.services import FakeBus, FakeObjects, FakeQueues, FakeSecrets, FakeStreams, FakeTopics, FakeWorkflows

TABLES = tables_of(Path(__file__).resolve().parents[3] / "template.yaml")


@dataclass
class Aws:
    """The services, empty at first."""

    dynamodb: FakeDynamoDB = field(default_factory=lambda: FakeDynamoDB(*TABLES))
    events: FakeBus = field(default_factory=FakeBus)
    sqs: FakeQueues = field(default_factory=FakeQueues)
    stepfunctions: FakeWorkflows = field(default_factory=FakeWorkflows)
    s3: FakeObjects = field(default_factory=FakeObjects)
    sns: FakeTopics = field(default_factory=FakeTopics)
    secretsmanager: FakeSecrets = field(default_factory=FakeSecrets)
    kinesis: FakeStreams = field(default_factory=FakeStreams)
    appconfigdata: FakeAppConfig = field(default_factory=FakeAppConfig)

    def lend(self, **others: object) -> None:
        """Put these services, and others by their names, behind the functions' clients."""
        clients.lend(
            dynamodb=self.dynamodb,
            events=self.events,
            sqs=self.sqs,
            stepfunctions=self.stepfunctions,
            secretsmanager=self.secretsmanager,
            s3=self.s3,
            sns=self.sns,
            kinesis=self.kinesis,
            appconfigdata=self.appconfigdata,
            **others,
        )
