"""AWS for the code under test: all services in memory, with the template's tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.aws import clients
from tests.fakes.aws.appconfig import FakeAppConfig
from tests.fakes.aws.dynamodb import FakeDynamoDB, tables_of
from tests.fakes.aws.eventbridge import FakeEventBridge
from tests.fakes.aws.kinesis import FakeKinesis
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.aws.secretsmanager import FakeSecretsManager
from tests.fakes.aws.sns import FakeSns
from tests.fakes.aws.sqs import FakeSqs
from tests.fakes.aws.stepfunctions import FakeStepFunctions

TABLES = tables_of(Path(__file__).resolve().parents[3] / "template.yaml")


@dataclass
class Aws:
    """The services, empty at first."""

    dynamodb: FakeDynamoDB = field(default_factory=lambda: FakeDynamoDB(*TABLES))
    events: FakeEventBridge = field(default_factory=FakeEventBridge)
    sqs: FakeSqs = field(default_factory=FakeSqs)
    stepfunctions: FakeStepFunctions = field(default_factory=FakeStepFunctions)
    s3: FakeS3 = field(default_factory=FakeS3)
    sns: FakeSns = field(default_factory=FakeSns)
    secretsmanager: FakeSecretsManager = field(default_factory=FakeSecretsManager)
    kinesis: FakeKinesis = field(default_factory=FakeKinesis)
    appconfigdata: FakeAppConfig = field(default_factory=FakeAppConfig)

    def lend(self, **others: object) -> None:
        """Make the functions use these services, and others by name."""
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
