"""The Stripe provider: lost answers, refusals, and webhook events."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
import stripe

from orderflow.domain.money import Money
from payments.domain import webhook_events
from payments.provider import (
    Authorized,
    Contradiction,
    Declined,
    Payment,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
    Voided,
)
from payments.stripe.connection import create_client
from payments.stripe.mapping import MANUAL
from payments.stripe.provider import StripeProvider
from tests.fakes.aws.dynamodb import FakeDynamoDB, Table, answer_lost
from tests.providers.conftest import StripeHttp

TOTAL = Money(2500, "EUR")
VISA = "pm_card_visa"
FAULTS = (ProviderTimeout, ProviderUnavailable)


@pytest.fixture
def account(localstripe: str, http: StripeHttp) -> stripe.V1Services:
    """A client of the Stripe account, for checks and manual changes."""
    return create_client("sk_test_123456", localstripe, http).v1


def euros(amount: int) -> Money:
    return Money(amount, "EUR")


def lose(_: str, __: str) -> None:
    raise stripe.APIConnectionError("no answer")


def once(number: int, act: Callable[[str, str], None]) -> Callable[[str, str], None]:
    """Return a hook that acts only on the request of this number."""
    calls = iter(range(1, 100))
    return lambda method, path: act(method, path) if next(calls) == number else None


def with_retry[T](http: StripeHttp, request: Callable[[], T]) -> T:
    """Call, and after a fault retry once without faults."""
    try:
        return request()
    except FAULTS:
        http.before = http.after = lambda _, __: None
        return request()


def intents(account: stripe.V1Services, key: str) -> list[Any]:
    found = account.payment_intents.list({"created": {"gte": 0, "lt": 2**40}, "limit": 100}).auto_paging_iter()
    return [intent for intent in found if intent.metadata.to_dict().get("payment_key") == key]


def answering(status: int, error: dict[str, Any]) -> Callable[..., Any]:
    return lambda *_: (json.dumps({"error": error}).encode(), status, {"request-id": "req_1", "stripe-should-retry": "false"})


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
def test_lost_answer_leaves_one_authorization(
    stripe_provider: StripeProvider, account: stripe.V1Services, http: StripeHttp, key: str, moment: str, number: int
) -> None:
    setattr(http, moment, once(number, lose))

    payment = with_retry(http, lambda: stripe_provider.authorize(key, VISA, TOTAL))

    assert isinstance(payment, Authorized)
    assert [intent.status for intent in intents(account, key)] == ["requires_capture"]


def test_look_up_finds_the_payment_of_a_lost_answer(stripe_provider: StripeProvider, http: StripeHttp, key: str) -> None:
    http.after = once(2, lose)
    with pytest.raises(ProviderTimeout):
        stripe_provider.authorize(key, VISA, TOTAL)

    assert isinstance(stripe_provider.look_up(key), Authorized)


def test_intent_whose_id_was_lost_authorizes_no_amount(
    stripe_provider: StripeProvider, account: stripe.V1Services, database: FakeDynamoDB, http: StripeHttp, key: str
) -> None:
    http.after = once(1, lose)
    with pytest.raises(ProviderTimeout):
        stripe_provider.authorize(key, VISA, TOTAL)
    assert stripe_provider.look_up(key) is None

    assert stripe_provider.void(key) == Voided()
    assert stripe_provider.authorize(key, VISA, TOTAL) == Voided()
    assert [intent.status for intent in intents(account, key)] == ["requires_payment_method"]


@pytest.mark.parametrize("number", [1, 2])
def test_void_during_authorization_leaves_no_authorized_amount(
    stripe_provider: StripeProvider, account: stripe.V1Services, http: StripeHttp, key: str, number: int
) -> None:
    def void(_: str, __: str) -> None:
        http.before = http.after = lambda _, __: None
        stripe_provider.void(key)

    # Before the intent is stored, and before it is confirmed.
    setattr(http, "after" if number == 1 else "before", once(number, void))

    assert stripe_provider.authorize(key, VISA, TOTAL) == Voided()
    assert stripe_provider.look_up(key) == Voided()
    assert "requires_capture" not in [intent.status for intent in intents(account, key)]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
def test_lost_answer_leaves_one_capture(stripe_provider: StripeProvider, http: StripeHttp, key: str, moment: str, number: int) -> None:
    stripe_provider.authorize(key, VISA, TOTAL)
    setattr(http, moment, once(number, lose))

    capture = with_retry(http, lambda: stripe_provider.capture(key, f"{key}:c", euros(900)))

    payment = stripe_provider.look_up(key)
    assert isinstance(payment, Authorized)
    assert payment.captures == (capture,)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_lost_answer_leaves_one_refund(stripe_provider: StripeProvider, http: StripeHttp, key: str, moment: str, number: int) -> None:
    stripe_provider.authorize(key, VISA, TOTAL)
    stripe_provider.capture(key, f"{key}:c", euros(900))
    setattr(http, moment, once(number, lose))

    refund = with_retry(http, lambda: stripe_provider.refund(key, f"{key}:r", euros(300)))

    payment = stripe_provider.look_up(key)
    assert isinstance(payment, Authorized)
    assert payment.refunds == (refund,)


@pytest.mark.parametrize("captured", [0, 900])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_void_with_a_lost_answer_releases_the_uncaptured_amount(
    stripe_provider: StripeProvider, http: StripeHttp, key: str, captured: int, moment: str, number: int
) -> None:
    stripe_provider.authorize(key, VISA, TOTAL)
    if captured:
        stripe_provider.capture(key, f"{key}:c", euros(captured))
    setattr(http, moment, once(number, lose))

    payment = with_retry(http, lambda: stripe_provider.void(key))

    assert isinstance(payment, Voided)
    assert payment.captured == captured


@pytest.mark.parametrize("operation", ["GetItem", "PutItem"])
def test_lost_answer_of_the_table_raises_provider_unavailable(
    stripe_provider: StripeProvider, account: stripe.V1Services, database: FakeDynamoDB, key: str, operation: str
) -> None:
    def lose_answer(name: str, _: Any) -> None:
        if name == operation:
            raise answer_lost()

    database.after = lose_answer
    with pytest.raises(ProviderUnavailable):
        stripe_provider.authorize(key, VISA, TOTAL)
    database.after = None

    assert isinstance(stripe_provider.authorize(key, VISA, TOTAL), Authorized)
    assert [intent.status for intent in intents(account, key)] == ["requires_capture"]


def test_authorization_takes_two_requests_and_two_calls(
    stripe_provider: StripeProvider, database: FakeDynamoDB, http: StripeHttp, key: str
) -> None:
    requested: list[str] = []
    http.before = lambda method, path: requested.append(f"{method} {path.split('/')[-1]}")

    stripe_provider.authorize(key, VISA, TOTAL)

    assert requested == ["post payment_intents", "post confirm"]
    assert database.calls == {"GetItem": 1, "PutItem": 1}


def test_card_without_partial_captures_releases_the_rest(stripe_provider: StripeProvider, key: str) -> None:
    stripe_provider.authorize(key, "pm_card_credit_disableEnterpriseCardFeatures", TOTAL)
    capture = stripe_provider.capture(key, f"{key}:c1", euros(900))

    payment = stripe_provider.look_up(key)
    assert isinstance(payment, Voided)
    assert payment.captures == (capture,)
    with pytest.raises(ProviderRefused, match="not_authorized"):
        stripe_provider.capture(key, f"{key}:c2", euros(1))


@pytest.mark.parametrize(
    ("token", "code"),
    [("pm_card_visa_chargeDeclinedStolenCard", "card_declined"), ("pm_card_authenticationRequired", "authentication_required")],
)
def test_decline_has_the_customer_facing_code(stripe_provider: StripeProvider, key: str, token: str, code: str) -> None:
    assert stripe_provider.authorize(key, token, TOTAL) == Declined(code)
    assert stripe_provider.look_up(key) == Declined(code)


def test_refused_parameter_of_the_request_is_a_fault(stripe_provider: StripeProvider, key: str) -> None:
    with pytest.raises(ProviderRefused, match="not_accepted"):
        stripe_provider.authorize(key, "pm_card_ours", TOTAL)
    assert stripe_provider.look_up(key) is None


@pytest.fixture
def dispute(localstripe: str, stripe_provider: StripeProvider, key: str) -> Callable[..., dict[str, Any]]:
    """Dispute a captured payment, or decide on a dispute (by its id), and return it."""
    payment = stripe_provider.authorize(key, VISA, TOTAL)
    assert isinstance(payment, Authorized)
    stripe_provider.capture(key, f"{key}:c", TOTAL)

    def change(status: str, **more: Any) -> dict[str, Any]:
        new = {} if "dispute" in more else {"payment_intent": payment.authorization_id, "amount": 2500}
        return requests.post(f"{localstripe}/_config/disputes", json={"status": status, **new, **more}, timeout=10).json()

    return change


def parse(stripe_provider: StripeProvider, about: dict[str, Any], kind: str) -> list[tuple[str, Any]]:
    """Return the types and outcomes of the webhook events that are parsed from Stripe's event about a dispute."""
    event = {"id": "evt_1", "type": f"charge.dispute.{kind}", "data": {"object": {**about, "metadata": {}}}}
    return [(type(one).__name__, getattr(one, "outcome", None)) for one in stripe_provider.parse_webhook(json.dumps(event))]


OPEN: list[tuple[str, Any]] = [("Disputed", None), ("Reopened", None)]


def test_dispute_event_has_the_current_state(stripe_provider: StripeProvider, dispute: Callable[..., dict[str, Any]]) -> None:
    inquiry = dispute("warning_needs_response")
    assert parse(stripe_provider, inquiry, "created") == []
    escalated = dispute("needs_response", dispute=inquiry["id"], withdrawn=2500)
    # A late event, whose type does not name the dispute's state.
    assert parse(stripe_provider, inquiry, "created") == parse(stripe_provider, escalated, "funds_withdrawn") == OPEN
    lost = dispute("lost", dispute=inquiry["id"], withdrawn=2500)
    assert (
        parse(stripe_provider, escalated, "updated") == parse(stripe_provider, lost, "closed") == [("Disputed", None), ("Decided", "lost")]
    )
    appeal = dispute("appeal_under_review", dispute=inquiry["id"], withdrawn=2500)
    assert parse(stripe_provider, appeal, "updated") == OPEN
    won = dispute("won", dispute=inquiry["id"])
    assert parse(stripe_provider, won, "funds_reinstated") == [("Disputed", None), ("Decided", "won")]
    assert parse(stripe_provider, won, "invented") == [("Disputed", None), ("Decided", "won")]


@pytest.mark.parametrize(
    ("status", "withdrawn", "parsed"),
    [
        ("warning_closed", 0, []),
        ("prevented", 0, []),
        ("prevented", 2500, [("Disputed", None), ("Decided", "lost")]),
        ("arbitration", 0, []),
        ("arbitration", 2500, OPEN),
    ],
)
def test_ambiguous_dispute_status_is_decided_by_the_withdrawn_amount(
    stripe_provider: StripeProvider,
    dispute: Callable[..., dict[str, Any]],
    status: str,
    withdrawn: int,
    parsed: list[Any],
    logged: Callable[[], list[Any]],
) -> None:
    assert parse(stripe_provider, dispute(status, withdrawn=withdrawn), "created") == parsed
    assert ("dispute_status_unknown" in [line["message"] for line in logged()]) == (status == "arbitration")


def test_all_disputes_of_a_payment_are_found(stripe_provider: StripeProvider, dispute: Callable[..., dict[str, Any]], key: str) -> None:
    first, second = dispute("lost", withdrawn=2600, amount=2600, currency="usd"), dispute("needs_response", withdrawn=100, amount=100)

    found = stripe_provider.disputes(key)

    disputed = {one.dispute_id: one.amount for one in found if isinstance(one, webhook_events.Disputed)}
    assert disputed == {first["id"]: Money(2600, "USD"), second["id"]: euros(100)}
    assert [one.outcome for one in found if isinstance(one, webhook_events.Decided)] == ["lost"]
    assert stripe_provider.disputes("ord_unknown:authorize") == []


def test_day_has_the_keys_of_payments_disputed_on_it(
    stripe_provider: StripeProvider, dispute: Callable[..., dict[str, Any]], key: str
) -> None:
    today = datetime.now(UTC).date()
    dispute("needs_response", withdrawn=2500)

    assert [*stripe_provider.recent(today)].count(key) == 2


def test_look_up_includes_manual_changes_at_stripe(stripe_provider: StripeProvider, account: stripe.V1Services, key: str) -> None:
    stripe_provider.authorize(key, VISA, TOTAL)
    [intent] = intents(account, key)
    account.payment_intents.capture(intent.id, {"amount_to_capture": 1000, "final_capture": False})
    account.refunds.create({"payment_intent": intent.id, "amount": 300})

    payment = stripe_provider.look_up(key)

    assert isinstance(payment, Authorized)
    assert [(one.key, one.amount) for one in (*payment.captures, *payment.refunds)] == [(MANUAL, euros(1000)), (MANUAL, euros(300))]


def test_stacks_that_share_an_account_have_separate_payments(
    stripe_provider: StripeProvider, localstripe: str, http: StripeHttp, key: str
) -> None:
    database = FakeDynamoDB(Table("other", {"key": "S"}))
    other = StripeProvider(lambda: create_client("sk_test_123456", localstripe, http), "other", database.client)

    payments: set[Payment] = {stripe_provider.authorize(key, VISA, TOTAL), other.authorize(key, VISA, TOTAL)}

    assert len(payments) == 2


def test_payment_key_is_found_by_the_intent_id(stripe_provider: StripeProvider, localstripe: str, http: StripeHttp, key: str) -> None:
    payment = stripe_provider.authorize(key, VISA, TOTAL)
    other = StripeProvider(lambda: create_client("sk_test_123456", localstripe, http), "other", FakeDynamoDB().client)

    assert isinstance(payment, Authorized)
    assert stripe_provider.key_of(payment.authorization_id) == key
    assert other.key_of(payment.authorization_id) is None
    assert stripe_provider.key_of("pi_unknown") is None


@pytest.mark.parametrize(
    ("status", "error", "raised"),
    [
        (429, {"code": "lock_timeout"}, ProviderUnavailable),
        (401, {"message": "Invalid API Key provided"}, ProviderUnavailable),
        (403, {"message": "not allowed"}, ProviderUnavailable),
        (409, {"code": "idempotency_key_in_use"}, ProviderTimeout),
        (500, {"type": "api_error"}, ProviderTimeout),
        (400, {"type": "idempotency_error"}, ProviderRefused),
        (400, {"type": "invalid_request_error", "code": "country_unsupported"}, ProviderRefused),
    ],
)
def test_errors_of_stripe_raise_provider_errors(
    stripe_provider: StripeProvider,
    http: StripeHttp,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    error: dict[str, Any],
    raised: type[Exception],
) -> None:
    monkeypatch.setattr(http, "request", answering(status, error))

    with pytest.raises(raised):
        stripe_provider.authorize(key, VISA, TOTAL)


def test_look_up_without_an_answer_raises_provider_unavailable(stripe_provider: StripeProvider, http: StripeHttp, key: str) -> None:
    stripe_provider.authorize(key, VISA, TOTAL)
    http.before = lose

    with pytest.raises(ProviderUnavailable):
        stripe_provider.look_up(key)


def test_refused_api_key_is_read_again(localstripe: str, http: StripeHttp, database: FakeDynamoDB, key: str) -> None:
    keys = iter(["revoked", "sk_test_123456", "never read"])
    provider = StripeProvider(lambda: create_client(next(keys), localstripe, http), "payments", database.client)
    with pytest.raises(ProviderUnavailable):
        provider.authorize(key, VISA, TOTAL)

    assert isinstance(provider.authorize(key, VISA, TOTAL), Authorized)
    assert isinstance(provider.look_up(key), Authorized)


def test_payment_token_is_not_logged_raised_or_stored(
    stripe_provider: StripeProvider,
    database: FakeDynamoDB,
    http: StripeHttp,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    logged: Callable[[], list[Any]],
) -> None:
    error = {"type": "invalid_request_error", "code": "parameter_unknown", "message": "No such PaymentMethod: 'pm_secret'"}
    stripe_provider.authorize(key, "pm_secret", TOTAL)
    monkeypatch.setattr(http, "request", answering(400, error))
    with pytest.raises(ProviderRefused) as refused:
        stripe_provider.authorize(f"{key}:other", "pm_secret", TOTAL)

    assert refused.value.code == Contradiction.NOT_ACCEPTED
    assert refused.value.__suppress_context__
    assert refused.value.__cause__ is None
    assert logged()
    assert "pm_secret" not in json.dumps(logged()) + json.dumps(database.items("payments"))
