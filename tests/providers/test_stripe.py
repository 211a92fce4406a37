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
from tests.providers.conftest import Wire

TOTAL = Money(2500, "EUR")
VISA = "pm_card_visa"
FAULTS = (ProviderTimeout, ProviderUnavailable)


@pytest.fixture
def account(localstripe: str, wire: Wire) -> stripe.V1Services:
    """The account as in Stripe's dashboard."""
    return create_client("sk_test_123456", localstripe, wire).v1


def euros(amount: int) -> Money:
    return Money(amount, "EUR")


def lost(_: str, __: str) -> None:
    raise stripe.APIConnectionError("no answer")


def once(number: int, struck: Callable[[str, str], None]) -> Callable[[str, str], None]:
    """Fail only the request of this number."""
    calls = iter(range(1, 100))
    return lambda method, path: struck(method, path) if next(calls) == number else None


def again[T](wire: Wire, request: Callable[[], T]) -> T:
    """Call, and retry once after a fault."""
    try:
        return request()
    except FAULTS:
        wire.before = wire.after = lambda _, __: None
        return request()


def intents(account: stripe.V1Services, key: str) -> list[Any]:
    found = account.payment_intents.list({"created": {"gte": 0, "lt": 2**40}, "limit": 100}).auto_paging_iter()
    return [intent for intent in found if intent.metadata.to_dict().get("payment_key") == key]


def answering(status: int, error: dict[str, Any]) -> Callable[..., Any]:
    return lambda *_: (json.dumps({"error": error}).encode(), status, {"request-id": "req_1", "stripe-should-retry": "false"})


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_lost_answer_leaves_one_authorization(
    through_stripe: StripeProvider, account: stripe.V1Services, wire: Wire, key: str, moment: str, number: int
) -> None:
    setattr(wire, moment, once(number, lost))

    payment = again(wire, lambda: through_stripe.authorize(key, VISA, TOTAL))

    assert isinstance(payment, Authorized)
    assert [intent.status for intent in intents(account, key)] == ["requires_capture"]


def test_a_lost_answer_is_found_by_looking_up(through_stripe: StripeProvider, wire: Wire, key: str) -> None:
    wire.after = once(2, lost)
    with pytest.raises(ProviderTimeout):
        through_stripe.authorize(key, VISA, TOTAL)

    assert isinstance(through_stripe.look_up(key), Authorized)


def test_intent_with_lost_id_never_holds_an_amount(
    through_stripe: StripeProvider, account: stripe.V1Services, database: FakeDynamoDB, wire: Wire, key: str
) -> None:
    wire.after = once(1, lost)
    with pytest.raises(ProviderTimeout):
        through_stripe.authorize(key, VISA, TOTAL)
    assert through_stripe.look_up(key) is None

    assert through_stripe.void(key) == Voided()
    assert through_stripe.authorize(key, VISA, TOTAL) == Voided()
    assert [intent.status for intent in intents(account, key)] == ["requires_payment_method"]


@pytest.mark.parametrize("number", [1, 2])
def test_void_during_authorization_holds_nothing(
    through_stripe: StripeProvider, account: stripe.V1Services, wire: Wire, key: str, number: int
) -> None:
    def void(_: str, __: str) -> None:
        wire.before = wire.after = lambda _, __: None
        through_stripe.void(key)

    # Before it is written down, and before it is confirmed.
    setattr(wire, "after" if number == 1 else "before", once(number, void))

    assert through_stripe.authorize(key, VISA, TOTAL) == Voided()
    assert through_stripe.look_up(key) == Voided()
    assert "requires_capture" not in [intent.status for intent in intents(account, key)]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_lost_answer_leaves_one_capture(through_stripe: StripeProvider, wire: Wire, key: str, moment: str, number: int) -> None:
    through_stripe.authorize(key, VISA, TOTAL)
    setattr(wire, moment, once(number, lost))

    capture = again(wire, lambda: through_stripe.capture(key, f"{key}:c", euros(900)))

    payment = through_stripe.look_up(key)
    assert isinstance(payment, Authorized)
    assert payment.captures == (capture,)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_lost_answer_leaves_one_refund(through_stripe: StripeProvider, wire: Wire, key: str, moment: str, number: int) -> None:
    through_stripe.authorize(key, VISA, TOTAL)
    through_stripe.capture(key, f"{key}:c", euros(900))
    setattr(wire, moment, once(number, lost))

    refund = again(wire, lambda: through_stripe.refund(key, f"{key}:r", euros(300)))

    payment = through_stripe.look_up(key)
    assert isinstance(payment, Authorized)
    assert payment.refunds == (refund,)


@pytest.mark.parametrize("captured", [0, 900])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_lost_answer_leaves_nothing_held(
    through_stripe: StripeProvider, wire: Wire, key: str, captured: int, moment: str, number: int
) -> None:
    through_stripe.authorize(key, VISA, TOTAL)
    if captured:
        through_stripe.capture(key, f"{key}:c", euros(captured))
    setattr(wire, moment, once(number, lost))

    payment = again(wire, lambda: through_stripe.void(key))

    assert isinstance(payment, Voided)
    assert payment.captured == captured


@pytest.mark.parametrize("operation", ["GetItem", "PutItem"])
def test_a_table_that_does_not_answer_is_unavailability(
    through_stripe: StripeProvider, account: stripe.V1Services, database: FakeDynamoDB, key: str, operation: str
) -> None:
    def lose(name: str, _: Any) -> None:
        if name == operation:
            raise answer_lost()

    database.after = lose
    with pytest.raises(ProviderUnavailable):
        through_stripe.authorize(key, VISA, TOTAL)
    database.after = None

    assert isinstance(through_stripe.authorize(key, VISA, TOTAL), Authorized)
    assert [intent.status for intent in intents(account, key)] == ["requires_capture"]


def test_the_usual_payment_takes_two_requests_and_two_calls(
    through_stripe: StripeProvider, database: FakeDynamoDB, wire: Wire, key: str
) -> None:
    asked: list[str] = []
    wire.before = lambda method, path: asked.append(f"{method} {path.split('/')[-1]}")

    through_stripe.authorize(key, VISA, TOTAL)

    assert asked == ["post payment_intents", "post confirm"]
    assert database.calls == {"GetItem": 1, "PutItem": 1}


def test_card_without_partial_captures_releases_the_rest(through_stripe: StripeProvider, key: str) -> None:
    through_stripe.authorize(key, "pm_card_credit_disableEnterpriseCardFeatures", TOTAL)
    capture = through_stripe.capture(key, f"{key}:c1", euros(900))

    payment = through_stripe.look_up(key)
    assert isinstance(payment, Voided)
    assert payment.captures == (capture,)
    with pytest.raises(ProviderRefused, match="not_authorized"):
        through_stripe.capture(key, f"{key}:c2", euros(1))


@pytest.mark.parametrize(
    ("token", "code"),
    [("pm_card_visa_chargeDeclinedStolenCard", "card_declined"), ("pm_card_authenticationRequired", "authentication_required")],
)
def test_decline_has_the_customer_facing_code(through_stripe: StripeProvider, key: str, token: str, code: str) -> None:
    assert through_stripe.authorize(key, token, TOTAL) == Declined(code)
    assert through_stripe.look_up(key) == Declined(code)


def test_refusal_of_our_own_parameters_is_a_fault(through_stripe: StripeProvider, key: str) -> None:
    with pytest.raises(ProviderRefused, match="not_accepted"):
        through_stripe.authorize(key, "pm_card_ours", TOTAL)
    assert through_stripe.look_up(key) is None


@pytest.fixture
def bank(localstripe: str, through_stripe: StripeProvider, key: str) -> Callable[..., dict[str, Any]]:
    """Dispute a captured payment, or decide on a dispute (by its id), and return it."""
    payment = through_stripe.authorize(key, VISA, TOTAL)
    assert isinstance(payment, Authorized)
    through_stripe.capture(key, f"{key}:c", TOTAL)

    def disputed(status: str, **more: Any) -> dict[str, Any]:
        about = {"status": status, **({} if "dispute" in more else {"payment_intent": payment.authorization_id, "amount": 2500}), **more}
        return requests.post(f"{localstripe}/_config/disputes", json=about, timeout=10).json()

    return disputed


def said(through_stripe: StripeProvider, dispute: dict[str, Any], kind: str) -> list[tuple[str, Any]]:
    """Return the webhook events parsed from a dispute's event, and the outcome."""
    event = {"id": "evt_1", "type": f"charge.dispute.{kind}", "data": {"object": {**dispute, "metadata": {}}}}
    return [(type(one).__name__, getattr(one, "outcome", None)) for one in through_stripe.parse_webhook(json.dumps(event))]


OPEN: list[tuple[str, Any]] = [("Disputed", None), ("Reopened", None)]


def test_dispute_event_has_the_current_state(through_stripe: StripeProvider, bank: Callable[..., dict[str, Any]]) -> None:
    inquiry = bank("warning_needs_response")
    assert said(through_stripe, inquiry, "created") == []
    escalated = bank("needs_response", dispute=inquiry["id"], withdrawn=2500)
    # Late, and of a type that says less than the dispute.
    assert said(through_stripe, inquiry, "created") == said(through_stripe, escalated, "funds_withdrawn") == OPEN
    lost = bank("lost", dispute=inquiry["id"], withdrawn=2500)
    assert said(through_stripe, escalated, "updated") == said(through_stripe, lost, "closed") == [("Disputed", None), ("Decided", "lost")]
    appeal = bank("appeal_under_review", dispute=inquiry["id"], withdrawn=2500)
    assert said(through_stripe, appeal, "updated") == OPEN
    won = bank("won", dispute=inquiry["id"])
    assert said(through_stripe, won, "funds_reinstated") == [("Disputed", None), ("Decided", "won")]
    assert said(through_stripe, won, "invented") == [("Disputed", None), ("Decided", "won")]


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
def test_money_decides_where_the_status_of_a_dispute_does_not(
    through_stripe: StripeProvider,
    bank: Callable[..., dict[str, Any]],
    status: str,
    withdrawn: int,
    parsed: list[Any],
    logged: Callable[[], list[Any]],
) -> None:
    assert said(through_stripe, bank(status, withdrawn=withdrawn), "created") == parsed
    assert ("dispute_status_unknown" in [line["message"] for line in logged()]) == (status == "arbitration")


def test_all_disputes_of_a_payment_are_found(through_stripe: StripeProvider, bank: Callable[..., dict[str, Any]], key: str) -> None:
    first, second = bank("lost", withdrawn=2600, amount=2600, currency="usd"), bank("needs_response", withdrawn=100, amount=100)

    found = through_stripe.disputes(key)

    disputed = {one.dispute_id: one.amount for one in found if isinstance(one, webhook_events.Disputed)}
    assert disputed == {first["id"]: Money(2600, "USD"), second["id"]: euros(100)}
    assert [one.outcome for one in found if isinstance(one, webhook_events.Decided)] == ["lost"]
    assert through_stripe.disputes("ord_unknown:authorize") == []


def test_disputed_payment_is_among_those_of_the_day(through_stripe: StripeProvider, bank: Callable[..., dict[str, Any]], key: str) -> None:
    today = datetime.now(UTC).date()
    bank("needs_response", withdrawn=2500)

    assert [*through_stripe.recent(today)].count(key) == 2


def test_manual_changes_at_stripe_are_seen(through_stripe: StripeProvider, account: stripe.V1Services, key: str) -> None:
    through_stripe.authorize(key, VISA, TOTAL)
    [intent] = intents(account, key)
    account.payment_intents.capture(intent.id, {"amount_to_capture": 1000, "final_capture": False})
    account.refunds.create({"payment_intent": intent.id, "amount": 300})

    payment = through_stripe.look_up(key)

    assert isinstance(payment, Authorized)
    assert [(one.key, one.amount) for one in (*payment.captures, *payment.refunds)] == [(MANUAL, euros(1000)), (MANUAL, euros(300))]


def test_another_stack_in_the_same_account_has_payments_of_its_own(
    through_stripe: StripeProvider, localstripe: str, wire: Wire, key: str
) -> None:
    database = FakeDynamoDB(Table("other", {"key": "S"}))
    other = StripeProvider(lambda: create_client("sk_test_123456", localstripe, wire), "other", database.client)

    payments: set[Payment] = {through_stripe.authorize(key, VISA, TOTAL), other.authorize(key, VISA, TOTAL)}

    assert len(payments) == 2


def test_a_payment_is_found_by_its_number_at_stripe(through_stripe: StripeProvider, localstripe: str, wire: Wire, key: str) -> None:
    payment = through_stripe.authorize(key, VISA, TOTAL)
    other = StripeProvider(lambda: create_client("sk_test_123456", localstripe, wire), "other", FakeDynamoDB().client)

    assert isinstance(payment, Authorized)
    assert through_stripe.key_of(payment.authorization_id) == key
    assert other.key_of(payment.authorization_id) is None
    assert through_stripe.key_of("pi_unknown") is None


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
def test_stripe_refusals(
    through_stripe: StripeProvider,
    wire: Wire,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    error: dict[str, Any],
    raised: type[Exception],
) -> None:
    monkeypatch.setattr(wire, "request", answering(status, error))

    with pytest.raises(raised):
        through_stripe.authorize(key, VISA, TOTAL)


def test_reading_leaves_no_effect_in_doubt(through_stripe: StripeProvider, wire: Wire, key: str) -> None:
    through_stripe.authorize(key, VISA, TOTAL)
    wire.before = lost

    with pytest.raises(ProviderUnavailable):
        through_stripe.look_up(key)


def test_a_key_that_is_refused_is_read_anew(localstripe: str, wire: Wire, database: FakeDynamoDB, key: str) -> None:
    keys = iter(["revoked", "sk_test_123456", "never read"])
    provider = StripeProvider(lambda: create_client(next(keys), localstripe, wire), "payments", database.client)
    with pytest.raises(ProviderUnavailable):
        provider.authorize(key, VISA, TOTAL)

    assert isinstance(provider.authorize(key, VISA, TOTAL), Authorized)
    assert isinstance(provider.look_up(key), Authorized)


def test_tokens_are_in_no_log_line_no_error_and_no_table(
    through_stripe: StripeProvider,
    database: FakeDynamoDB,
    wire: Wire,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    logged: Callable[[], list[Any]],
) -> None:
    error = {"type": "invalid_request_error", "code": "parameter_unknown", "message": "No such PaymentMethod: 'pm_secret'"}
    through_stripe.authorize(key, "pm_secret", TOTAL)
    monkeypatch.setattr(wire, "request", answering(400, error))
    with pytest.raises(ProviderRefused) as refused:
        through_stripe.authorize(f"{key}:other", "pm_secret", TOTAL)

    assert refused.value.code == Contradiction.NOT_ACCEPTED
    assert refused.value.__suppress_context__
    assert refused.value.__cause__ is None
    assert logged()
    assert "pm_secret" not in json.dumps(logged()) + json.dumps(database.items("payments"))
