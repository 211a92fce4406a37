"""The connection to Stripe's API, and the translation of its errors into those of a PaymentProvider."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import stripe

from orderflow.aws.observability import logger
from payments.provider import Contradiction, ProviderRefused, ProviderTimeout, ProviderUnavailable
from payments.stripe.mapping import decline_code

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

# Seconds to connect and to wait for an answer. The retry covers an idle connection that was closed.
_TIMEOUT = (1.0, 4.0)
_RETRIES = 1
_CONTRADICTIONS = {
    "payment_intent_unexpected_state": Contradiction.NOT_AUTHORIZED,
    "resource_missing": Contradiction.UNKNOWN_PAYMENT,
    "amount_too_large": Contradiction.AMOUNT_INVALID,
    "amount_too_small": Contradiction.AMOUNT_INVALID,
    "parameter_invalid_integer": Contradiction.AMOUNT_INVALID,
    "charge_already_refunded": Contradiction.AMOUNT_EXCEEDED,
}


class CardDeclined(RuntimeError):
    """Stripe's status 402: the card was declined with the decline code `code`."""

    def __init__(self, code: str) -> None:
        """Create the error with this decline code."""
        super().__init__(code)
        self.code = code


class NotAccepted(ProviderRefused):
    """Stripe's status 400: `reason` is its error code, `param` the refused parameter."""

    def __init__(self, code: Contradiction, reason: str | None, param: str | None) -> None:
        """Create the error for this contradiction."""
        super().__init__(code)
        self.reason = reason
        self.param = param


def create_client(key: str, base: str, http: stripe.HTTPClient | None = None) -> stripe.StripeClient:
    """Return a Stripe client with this secret key and API address."""
    transport = http or stripe.RequestsClient(timeout=_TIMEOUT)
    return stripe.StripeClient(key, base_addresses={"api": base}, max_network_retries=_RETRIES, http_client=transport)


class StripeConnection:
    """A Stripe client that is created at the first request, and again after Stripe refused the secret key."""

    def __init__(self, connect: Callable[[], stripe.StripeClient]) -> None:
        """Create clients with `connect`."""
        self._connect = connect
        self._client: stripe.StripeClient | None = None

    @property
    def api(self) -> stripe.V1Services:
        """The services of Stripe's API."""
        if self._client is None:
            self._client = self._connect()
        return self._client.v1

    @contextmanager
    def translated_errors(self, *, effect: bool = True) -> Generator[None]:
        """Translate the SDK's errors in the `with` block; `effect` is False for a read.

        Raises:
            CardDeclined, NotAccepted, ProviderRefused: Stripe refused the request.
            ProviderUnavailable: the request had no effect.
            ProviderTimeout: the outcome is unknown; never for a read.
        """
        try:
            yield
        except stripe.AuthenticationError as error:
            self._client = None
            _log(error)
            raise ProviderUnavailable from None
        except stripe.StripeError as error:
            _log(error)
            # Stripe's error texts can quote the token.
            raise _translate(error, effect=effect) from None


def _translate(error: stripe.StripeError, *, effect: bool) -> Exception:
    match error:
        case stripe.CardError():
            return CardDeclined(decline_code(error.code, getattr(error.error, "decline_code", None)))
        case stripe.IdempotencyError():
            return ProviderRefused(Contradiction.KEY_REUSED)
        case stripe.InvalidRequestError():
            code = _CONTRADICTIONS.get(error.code or "", Contradiction.NOT_ACCEPTED)
            return NotAccepted(code, error.code, error.param)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        case stripe.RateLimitError() | stripe.PermissionError():
            return ProviderUnavailable()
        case _:
            return ProviderTimeout() if effect else ProviderUnavailable()


def _log(error: stripe.StripeError) -> None:
    logger.warning(
        "stripe_request_failed", error=type(error).__name__, status=error.http_status, code=error.code, request_id=error.request_id
    )
