"""Shared fixtures: the functions' environment, and the in-memory AWS behind their clients."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import hypothesis
import pytest

from tests.fakes.aws.dynamodb.tables import variables_of

__all__ = ["ENVIRONMENT", "ROOT", "TABLES", "Aws"]

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
    # Tables and buckets have the names of their resources in the template, as `tables_of` reads them.
    **variables_of(ROOT / "template.yaml"),
    "REVIEW_WORKFLOW": "arn:aws:states:us-east-1:000000000000:stateMachine:review",
    "REVIEW_TIMEOUT_SECONDS": "86400",
    "STACK": "order-pipeline",
    "CONSUMERS": json.dumps({queue: f"mapping-{queue}".zfill(36) for queue in ("mail", "shipping-request", "invoices-issue")}),
    "FLAGS_STRATEGY": "immediate",
    "RELEASES": "order-pipeline-releases",
    "EVENT_BUS": "orders",
    "EVENT_STREAM": "events",
    "RETRY_QUEUE_URL": "https://sqs.invalid/retry",
    "SAGA_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:fulfilment",
    "PUBLISH_DEAD_LETTERS_URL": "https://sqs.invalid/publish-dead-letters",
    "OPERATIONS_QUEUE_URL": "https://sqs.invalid/operations",
    "OPERATORS_TOPIC": "arn:aws:sns:us-east-1:000000000000:alarms",
    "NOTIFICATIONS_TOPIC": "arn:aws:sns:us-east-1:000000000000:notifications",
    "REVIEW_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:review",
    "MAIL_FROM": "orders@example.com",
    "JWT_ISSUER": "https://issuer.example.com",
    "JWT_AUDIENCE": "order-pipeline",
    "JWKS_URL": "https://issuer.example.com/jwks.json",
    "FLAGS": "application/environment/profile",
    "FLAGS_TTL_SECONDS": "86400",
    "PROVIDER_FEES": '{"basis_points": 140, "fixed": {"EUR": 25}}',
    "PAYMENT_PROVIDER": "sandbox",
    "STRIPE_API_BASE": "https://stripe.invalid",
    "STRIPE_SECRET_ARN": "arn:aws:secretsmanager:us-east-1:000000000000:secret:stripe",
    "STRIPE_PAYMENTS_TABLE": "StripePayments",
    "PAYMENT_ROUTES_TABLE": "PaymentRoutes",
    "CARRIER": "sandbox",
    "CARRIER_WEBHOOK_SECRET": "arn:aws:secretsmanager:us-east-1:000000000000:secret:CarrierWebhookSecret",
    "PAYMENTS_WEBHOOK_SECRET": "arn:aws:secretsmanager:us-east-1:000000000000:secret:PaymentsWebhookSecret",
    "PAYMENTS_NOTICE_QUEUE_URL": "https://sqs.invalid/payments-notice",
    "SHIPPING_RECORD_QUEUE_URL": "https://sqs.invalid/shipping-record",
    "SHIPPING_TRACK_QUEUE_URL": "https://sqs.invalid/shipping-track",
    "LOG_LEVEL": "INFO",
    "POWERTOOLS_SERVICE_NAME": "tests",
    "POWERTOOLS_METRICS_NAMESPACE": "OrderPipeline/tests",
    "POWERTOOLS_TRACE_DISABLED": "true",
}
# Integration tests of a stack on AWS use the credentials and the region of the user.
ON_AWS = os.environ.get("BACKEND") == "aws"
for name, value in ENVIRONMENT.items():
    if not (ON_AWS and name.startswith("AWS_")):
        os.environ.setdefault(name, value)

# The duration of an example depends on the machine, so examples have no deadline.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")

from orderflow.aws.observability import logger  # noqa: E402 - it reads the environment when it is imported
from tests.fakes.aws import clients  # noqa: E402
from tests.fakes.aws.environment import TABLES, Aws  # noqa: E402
from tests.support import report, runtime  # noqa: E402

clients.install()


@pytest.fixture
def aws() -> Iterator[Aws]:
    """Yield empty services, with the template's tables, behind the functions' clients."""
    services = Aws()
    services.lend()
    yield services
    clients.lend()


@pytest.fixture
def context() -> Any:
    """Return the Lambda context of an invocation."""
    return runtime.context()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Return a function that returns the lines logged so far in this test."""
    stream = io.StringIO()
    monkeypatch.setattr(cast("Any", logger).registered_handler, "stream", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the number of runs by fault and path."""
    reports = [one for outcome in ("passed", "failed") for one in terminalreporter.stats.get(outcome, ())]
    if runs := report.collected(reports):
        terminalreporter.section("runs under faults")
        for line in report.table(runs):
            terminalreporter.write_line(line)
