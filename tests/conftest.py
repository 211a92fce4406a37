"""What all tests share: the functions' environment, and AWS in memory behind their clients."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import hypothesis
import pytest

__all__ = ["ENVIRONMENT", "ROOT", "TABLES", "Aws"]

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
    # Tables bear the names of their resources in the template, as `tables_of` reads them.
    "ORDER_LOG_TABLE": "OrderLog",
    "CATALOGUE_TABLE": "Catalogue",
    "STOCK_TABLE": "Stock",
    "RESERVATIONS_TABLE": "Reservations",
    "RETURNED_STOCK_TABLE": "ReturnedStock",
    "FRAUD_TABLE": "Fraud",
    "ORDER_VIEW_TABLE": "OrderView",
    "INVOICES_TABLE": "Invoices",
    "INVOICE_DOCUMENTS_BUCKET": "InvoiceDocuments",
    "LOYALTY_POINTS_TABLE": "LoyaltyPoints",
    "ANALYTICS_TABLE": "AnalyticsSums",
    "POINTS_PER_UNIT": "1",
    "REVIEWS_TABLE": "Reviews",
    "SANDBOX_PAYMENTS_TABLE": "SandboxPayments",
    "SANDBOX_SHIPMENTS_TABLE": "SandboxShipments",
    "IDEMPOTENCY_TABLE": "MailIdempotency",
    "LEDGER_ENTRIES_TABLE": "LedgerEntries",
    "LEDGER_BALANCES_TABLE": "LedgerBalances",
    "EVENT_BUS": "orders",
    "EVENT_STREAM": "events",
    "STREAM_ONLY_EVENTS": "StockReserved,OrderScreened,ShipmentRequested,InvoiceIssued",
    "RETRY_QUEUE_URL": "https://sqs.invalid/retry",
    "SAGA_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:fulfilment",
    "PUBLISH_DEAD_LETTERS_URL": "https://sqs.invalid/publish-dead-letters",
    "REDRIVE_TARGETS": json.dumps(
        {
            "mail": {
                "queue_url": "https://sqs.invalid/mail-dead-letters",
                "kind": "queue",
                "target": "https://sqs.invalid/mail",
            },
            "notifications-rule": {
                "queue_url": "https://sqs.invalid/notifications-rule-dead-letters",
                "kind": "topic",
                "target": "arn:aws:sns:us-east-1:000000000000:notifications",
            },
            "notifications-subscription": {
                "queue_url": "https://sqs.invalid/subscription-dead-letters",
                "kind": "queue",
                "target": "https://sqs.invalid/mail",
            },
            "payments-notice": {
                "queue_url": "https://sqs.invalid/payments-notice-dead-letters",
                "kind": "queue",
                "target": "https://sqs.invalid/payments-notice",
            },
            "payments-settle": {
                "queue_url": "https://sqs.invalid/payments-settle-dead-letters",
                "kind": "queue",
                "target": "https://sqs.invalid/payments-settle",
            },
            "payments-settle-rule": {
                "queue_url": "https://sqs.invalid/payments-settle-rule-dead-letters",
                "kind": "queue",
                "target": "https://sqs.invalid/payments-settle",
            },
            "inventory-settle": {
                "queue_url": "https://sqs.invalid/inventory-settle-dead-letters",
                "kind": "queue",
                "target": "https://sqs.invalid/inventory-settle",
            },
            "ledger": {
                "queue_url": "https://sqs.invalid/ledger-dead-letters",
                "kind": "queue",
                "target": "https://sqs.invalid/ledger",
            },
            "ledger-rule": {
                "queue_url": "https://sqs.invalid/ledger-rule-dead-letters",
                "kind": "queue",
                "target": "https://sqs.invalid/ledger",
            },
            "publish": {
                "queue_url": "https://sqs.invalid/publish-dead-letters",
                "kind": "bus",
                "target": "orders",
            },
            "stream": {
                "queue_url": "https://sqs.invalid/stream-dead-letters",
                "kind": "stream",
                "target": "events",
                "consumers": {"ledger-post": {"queue_url": "https://sqs.invalid/ledger", "types": ["PaymentAuthorized"]}},
            },
            "saga-rule": {
                "queue_url": "https://sqs.invalid/saga-dead-letters",
                "kind": "saga",
                "target": "arn:aws:states:us-east-1:000000000000:stateMachine:fulfilment",
            },
            "review-rule": {
                "queue_url": "https://sqs.invalid/review-rule-dead-letters",
                "kind": "saga",
                "target": "arn:aws:states:us-east-1:000000000000:stateMachine:review",
            },
            **{
                f"{name}{rule}": {
                    "queue_url": f"https://sqs.invalid/{name}{rule}-dead-letters",
                    "kind": "queue",
                    "target": f"https://sqs.invalid/{name}",
                }
                for name in ("shipping-request", "order-view", "reviews-close", "invoices-issue", "loyalty-award", "analytics-count")
                for rule in ("", "-rule")
            },
            "shipping-record": {
                "queue_url": "https://sqs.invalid/shipping-record-dead-letters",
                "kind": "queue",
                "target": "https://sqs.invalid/shipping-record",
            },
            "shipping-track": {
                "queue_url": "https://sqs.invalid/shipping-track-dead-letters",
                "kind": "queue",
                "target": "https://sqs.invalid/shipping-track",
            },
            "operations": {
                "queue_url": "https://sqs.invalid/operations",
                "kind": "saga",
                "target": "arn:aws:states:us-east-1:000000000000:stateMachine:fulfilment",
                "workflows": {"review": "arn:aws:states:us-east-1:000000000000:stateMachine:review"},
            },
        }
    ),
    "MAIL_FROM": "orders@example.com",
    "JWT_ISSUER": "https://issuer.example.com",
    "JWT_AUDIENCE": "order-pipeline",
    "JWKS_URL": "https://issuer.example.com/jwks.json",
    "FRAUD_RULES": "{}",
    "FLAGS": "application/environment/profile",
    "FLAGS_TTL_SECONDS": "86400",
    "PROVIDER_FEES": '{"basis_points": 140, "fixed": {"EUR": 25}}',
    "CATALOGUE_TTL_SECONDS": "60",
    "STUCK_AFTER_SECONDS": "300",
    "RESERVATION_SECONDS": "1800",
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
    "TRACKING_TABLE": "Tracking",
    "LOG_LEVEL": "INFO",
    "POWERTOOLS_SERVICE_NAME": "tests",
    "POWERTOOLS_METRICS_NAMESPACE": "OrderPipeline/tests",
    "POWERTOOLS_TRACE_DISABLED": "true",
}
for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)

# How long an example takes is the machine's business.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")

from orderflow.observability import logger  # noqa: E402 - it reads the environment when it is imported
from tests.support import clients, report, runtime  # noqa: E402
from tests.support.aws import TABLES, Aws  # noqa: E402

clients.install()


@pytest.fixture
def aws() -> Iterator[Aws]:
    """Empty services behind the functions' clients, tables as the template has them."""
    services = Aws()
    services.lend()
    yield services
    clients.lend()


@pytest.fixture
def context() -> Any:
    """The Lambda context of an invocation."""
    return runtime.context()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Return the lines that functions logged so far in this test."""
    stream = io.StringIO()
    monkeypatch.setattr(cast("Any", logger).registered_handler, "stream", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many runs under faults there were."""
    reports = [one for outcome in ("passed", "failed") for one in terminalreporter.stats.get(outcome, ())]
    if runs := report.collected(reports):
        terminalreporter.section("runs under faults")
        for line in report.table(runs):
            terminalreporter.write_line(line)
