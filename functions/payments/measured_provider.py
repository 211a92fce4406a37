"""Measures how long the payment provider takes, and how often an outcome is unknown."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orderflow.aws.observability import measure
from orderflow.domain import metrics
from payments.provider import Capture, Payment, PaymentProvider, ProviderTimeout, Refund

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from datetime import date

    from orderflow.domain.money import Money
    from payments.domain.webhook_events import WebhookEvent


class MeasuredProvider:
    """A PaymentProvider that forwards each request to `provider` and measures those that move money or look a payment up."""

    def __init__(self, provider: PaymentProvider) -> None:
        """Measure the requests to `provider`."""
        self._provider = provider

    def authorize(self, key: str, token: str, amount: Money) -> Payment:
        """Authorize, see PaymentProvider.authorize."""
        with _timed("authorize"):
            return self._provider.authorize(key, token, amount)

    def capture(self, payment_key: str, key: str, amount: Money) -> Capture:
        """Capture, see PaymentProvider.capture."""
        with _timed("capture"):
            return self._provider.capture(payment_key, key, amount)

    def void(self, payment_key: str) -> Payment:
        """Void, see PaymentProvider.void."""
        with _timed("void"):
            return self._provider.void(payment_key)

    def refund(self, payment_key: str, key: str, amount: Money) -> Refund:
        """Refund, see PaymentProvider.refund."""
        with _timed("refund"):
            return self._provider.refund(payment_key, key, amount)

    def look_up(self, payment_key: str) -> Payment | None:
        """Look the payment up, see PaymentProvider.look_up."""
        with _timed("look_up"):
            return self._provider.look_up(payment_key)

    def parse_webhook(self, body: str) -> Sequence[WebhookEvent]:
        """Parse a webhook, see PaymentProvider.parse_webhook."""
        return self._provider.parse_webhook(body)

    def disputes(self, payment_key: str) -> Sequence[WebhookEvent]:
        """Return the payment's disputes, see PaymentProvider.disputes."""
        return self._provider.disputes(payment_key)

    def recent(self, day: date) -> Iterable[str]:
        """Return the keys of a day's payments, see PaymentProvider.recent."""
        return self._provider.recent(day)


@contextmanager
def _timed(operation: str) -> Generator[None]:
    started = time.perf_counter()
    try:
        yield
    except ProviderTimeout:
        measure(metrics.PROVIDER_UNKNOWN_OUTCOMES, 1)
        raise
    finally:
        measure(metrics.PROVIDER_MILLISECONDS, round((time.perf_counter() - started) * 1000, 1), operation=operation)
