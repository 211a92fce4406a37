"""Fixtures of the payment providers: the sandbox, and Stripe's provider connected to localstripe."""

from __future__ import annotations

import select
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import stripe

from payments.provider import PaymentProvider
from payments.sandbox.provider import SandboxProvider
from payments.stripe.connection import create_client
from payments.stripe.provider import StripeProvider
from tests.fakes.aws.dynamodb import FakeDynamoDB, Index, Table

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60


@dataclass(frozen=True)
class Subject:
    """A provider under test, with its test tokens by outcome.

    `expire_keys` expires its idempotency keys, as a day does; `conclude_refunds` completes or fails the pending refunds of a payment.
    """

    provider: PaymentProvider
    tokens: dict[str, str]
    expire_keys: Callable[[], object]
    conclude_refunds: Callable[[str], object]


class StripeHttp(stripe.RequestsClient):
    """The HTTP client to Stripe; `before` and `after` get each request's method and path and may raise an error."""

    before: Callable[[str, str], None] = staticmethod(lambda _, __: None)
    after: Callable[[str, str], None] = staticmethod(lambda _, __: None)

    def request(self, method: str, url: str, headers: Any, post_data: Any = None) -> Any:
        path = url.partition("/v1/")[2]
        self.before(method, path)
        answer = super().request(method, url, headers, post_data)
        self.after(method, path)
        return answer


@pytest.fixture(scope="session")
def localstripe() -> Iterator[str]:
    """Start localstripe and return its address."""
    command = [ROOT / ".venv-localstripe/bin/python", ROOT / "tests/providers/server.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        port = process.stdout.readline().strip() if ready else ""
        try:
            assert port.isdigit(), f"localstripe did not start within {START_SECONDS} s"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
def http() -> Iterator[StripeHttp]:
    client = StripeHttp(timeout=(1, 10))
    yield client
    client.close()


@pytest.fixture
def database() -> FakeDynamoDB:
    """The table of payments, for either provider."""
    return FakeDynamoDB(Table("payments", {"key": "S"}, {"by-day": Index({"day": "S", "key": "S"}, "KEYS_ONLY")}))


@pytest.fixture
def stripe_provider(localstripe: str, http: StripeHttp, database: FakeDynamoDB) -> StripeProvider:
    """The Stripe provider, connected to localstripe."""
    return StripeProvider(lambda: create_client("sk_test_123456", localstripe, http), "payments", database.client)


@pytest.fixture(params=["sandbox", "stripe"])
def subject(request: pytest.FixtureRequest, database: FakeDynamoDB) -> Subject:
    """Each provider in turn."""
    if request.param == "sandbox":
        tokens = {
            "approved": "tok_approved",
            "declined": "tok_declined",
            "insufficient_funds": "tok_insufficient_funds",
            "unknown": "4111",
            "used": "4112",
            "unsupported": "tok_unsupported",
            "wrong_currency": "tok_wrong_currency",
            "refund_pending": "tok_refund_pending",
            "refund_fails": "tok_refund_fails",
            "refund_fails_later": "tok_refund_fails_later",
        }
        sandbox = SandboxProvider("payments", database.client)
        return Subject(sandbox, tokens, lambda: None, sandbox.conclude_refunds)
    address = request.getfixturevalue("localstripe")
    tokens = {
        "approved": "pm_card_visa",
        "declined": "pm_card_visa_chargeDeclined",
        "insufficient_funds": "pm_card_visa_chargeDeclinedInsufficientFunds",
        "unknown": "4111",
        "used": "pm_card_used",
        "unsupported": "pm_usBankAccount",
        "wrong_currency": "pm_card_wrongCurrency",
        "refund_pending": "pm_card_pendingRefund",
        "refund_fails": "pm_card_refundFailAtOnce",
        "refund_fails_later": "pm_card_refundFail",
    }
    conclude: Callable[[str], object] = lambda _: requests.post(f"{address}/_config/refunds", timeout=10)  # noqa: E731
    expire: Callable[[], object] = lambda: requests.delete(f"{address}/_config/idempotency", timeout=10)  # noqa: E731
    return Subject(request.getfixturevalue("stripe_provider"), tokens, expire, conclude)


@pytest.fixture
def provider(subject: Subject) -> PaymentProvider:
    return subject.provider


@pytest.fixture
def key() -> str:
    """A unique payment key."""
    return f"ord_{uuid.uuid4().hex}:authorize"
