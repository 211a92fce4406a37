"""The saga steps of payments: at most one authorization, under any fault between provider and log."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orderflow.aws.order_log import OrderNotFound
from orderflow.domain.events import PaymentVoided
from orderflow.domain.money import Money
from orderflow.domain.order import Order
from payments.domain.payment_keys import payment_key
from payments.handlers import authorize_payment, void_payment
from payments.provider import Authorized, Payment, ProviderTimeout, ProviderUnavailable, Voided
from payments.sandbox.provider import SandboxProvider
from payments.settlement_service import InconsistentPayment
from tests.fakes.aws.dynamodb import Crash, answer_lost, server_error, throttled
from tests.support.prepared import advance, expire, place, prepare

EVENTS = Path(__file__).resolve().parents[3] / "events" / "payments"
SAMPLES = sorted(str(path.relative_to(EVENTS).with_suffix("")) for path in EVENTS.glob("[av]*/*.json") if ".answer" not in path.name)
SCREENED = ("inventory.handlers.reserve_stock", "fraud.handlers.screen_order")
# The steps of an order before a sample that continues it.
BEFORE = {
    "authorize_payment/approved": SCREENED,
    "void_payment/too-late": (*SCREENED, "payments.handlers.authorize_payment", "orders.handlers.confirm_order"),
}
LOG = authorize_payment.LOG
KEY = payment_key("ord_1")
type Step = Callable[[], str]
type Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def sandbox(aws: Any, monkeypatch: pytest.MonkeyPatch) -> SandboxProvider:
    provider = SandboxProvider("SandboxPayments", aws.dynamodb.client, slow_seconds=0)
    monkeypatch.setattr(authorize_payment, "PROVIDER", provider)
    monkeypatch.setattr(void_payment, "PROVIDER", provider)
    return provider


@pytest.fixture
def invoke(context: Any) -> Callable[[str, Any], Any]:
    handlers = {"authorize_payment": authorize_payment.handler, "void_payment": void_payment.handler}
    return lambda step, event: handlers[step](event, context)


@pytest.fixture
def run_authorize(invoke: Callable[[str, Any], Any]) -> Step:
    return lambda: invoke("authorize_payment", step("ord_1"))["outcome"]


@pytest.fixture
def run_void(invoke: Callable[[str, Any], Any]) -> Step:
    return lambda: invoke("void_payment", step("ord_1"))["outcome"]


def step(order_id: str) -> Any:
    return {"order_id": order_id, "correlation_id": "correlation-1", "execution": "execution-1"}


def screened(token: str = "tok_approved", **order: Any) -> Order:
    place(LOG, payment_token=token, **order)
    return advance(LOG, "ord_1", *SCREENED)


def fail_order() -> None:
    advance(LOG, "ord_1", "orders.handlers.record_failure")


def types() -> list[str]:
    return [event.type for event in LOG.history("ord_1")[len(SCREENED) + 1 :]]


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_has_its_answer(sample: str, invoke: Callable[[str, Any], Any]) -> None:
    event = json.loads((EVENTS / f"{sample}.json").read_text())
    real_steps = {"payments.handlers.authorize_payment": lambda order_id: invoke("authorize_payment", step(order_id))}
    prepare(LOG, event["order_id"], *BEFORE.get(sample, ()), real_steps=real_steps)

    answer = invoke(sample.partition("/")[0], event)

    assert answer == json.loads((EVENTS / f"{sample}.answer.json").read_text())


def test_recorded_authorization_is_that_of_the_provider(run_authorize: Step, sandbox: SandboxProvider) -> None:
    order = screened()

    assert run_authorize() == "authorized"
    payment = sandbox.look_up(KEY)
    assert isinstance(payment, Authorized)
    assert payment.amount == order.total
    assert LOG.load("ord_1").authorization_id == payment.authorization_id


def test_decline_fails_the_order_with_its_code(run_authorize: Step, run_void: Step) -> None:
    screened("tok_insufficient_funds")

    assert run_authorize() == "declined"
    assert run_authorize() == "declined"
    order = LOG.load("ord_1")
    assert order.failure
    assert (order.state, order.failure.details) == ("failing", ("insufficient_funds",))
    assert run_void() == "nothing_to_void"
    assert types() == ["PaymentDeclined"]


def test_authorizing_again_answers_from_the_log(run_authorize: Step, aws: Any) -> None:
    screened()
    run_authorize()
    aws.dynamodb.calls.clear()

    assert run_authorize() == "authorized"
    assert aws.dynamodb.calls == {"Query": 1, "DeleteItem": 1}


def test_authorization_takes_five_calls(run_authorize: Step, aws: Any) -> None:
    screened()
    aws.dynamodb.calls.clear()

    run_authorize()

    assert aws.dynamodb.calls == {"Query": 1, "GetItem": 1, "PutItem": 2, "DeleteItem": 1}


@pytest.mark.parametrize("token", ["tok_approved", "tok_declined"])
def test_token_is_deleted_after_the_authorization(token: str, run_authorize: Step, aws: Any) -> None:
    screened(token)
    assert len(aws.dynamodb.items("PaymentTokens")) == 1
    run_authorize()
    assert aws.dynamodb.items("PaymentTokens") == []


def test_token_that_cannot_be_deleted_changes_no_outcome(run_authorize: Step, aws: Any, logged: Lines) -> None:
    screened()

    def refuse(operation: str, _: Any) -> None:
        if operation == "DeleteItem":
            raise throttled(operation)

    aws.dynamodb.before = refuse
    assert run_authorize() == "authorized"
    assert "payment_token_not_deleted" in {line["message"] for line in logged()}


def test_token_deleted_by_a_concurrent_run_is_no_fault(run_authorize: Step, aws: Any) -> None:
    screened()

    def overtake(operation: str, _: Any) -> None:
        if operation == "GetItem":
            aws.dynamodb.before = None
            assert run_authorize() == "authorized"

    aws.dynamodb.before = overtake
    assert run_authorize() == "authorized"
    assert types() == ["PaymentAuthorized"]


def test_order_with_an_expired_token_is_not_authorized(run_authorize: Step, run_void: Step, aws: Any) -> None:
    screened()
    aws.dynamodb.client.delete_item(TableName="PaymentTokens", Key={"order_id": {"S": "ord_1"}})
    with pytest.raises(InconsistentPayment, match="the payment token has expired"):
        run_authorize()
    fail_order()
    assert run_void() == "nothing_to_void"


def test_order_of_version_1_0_is_authorized_with_the_token_in_the_log(run_authorize: Step, aws: Any) -> None:
    screened()
    aws.dynamodb.client.delete_item(TableName="PaymentTokens", Key={"order_id": {"S": "ord_1"}})
    [first, *_] = aws.dynamodb.items("OrderLog")
    aws.dynamodb.client.put_item(TableName="OrderLog", Item=first | {"payment_token": {"S": "tok_insufficient_funds"}})

    assert run_authorize() == "declined"
    assert types() == ["PaymentDeclined"]


def test_lost_answer_is_looked_up(run_authorize: Step) -> None:
    screened("tok_timeout_after")

    assert run_authorize() == "authorized"
    assert types() == ["PaymentAuthorized"]


def test_attempt_lost_without_effect_succeeds_on_retry(run_authorize: Step) -> None:
    screened("tok_timeout_before")
    with pytest.raises(ProviderTimeout):
        run_authorize()
    assert types() == []

    assert run_authorize() == "authorized"


def test_unavailable_provider_leaves_nothing_held(run_authorize: Step, run_void: Step) -> None:
    screened("tok_unavailable")
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            run_authorize()
    fail_order()

    assert run_void() == "nothing_to_void"
    assert run_authorize() == "failing"


@pytest.mark.parametrize("token", ["tok_approved", "tok_timeout_after", "tok_slow"])
def test_concurrent_executions_make_one_authorization(token: str, invoke: Callable[[str, Any], Any], aws: Any) -> None:
    screened(token)
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda _: invoke("authorize_payment", step("ord_1"))["outcome"], range(6)))

    assert set(outcomes) == {"authorized"}
    assert types() == ["PaymentAuthorized"]
    assert len(aws.dynamodb.items("SandboxPayments")) == 1


@pytest.mark.parametrize("token", ["tok_approved", "tok_declined", "tok_timeout_after"])
@pytest.mark.parametrize("fault", [Crash, throttled, server_error, lambda _: answer_lost()])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 6))
def test_fault_at_any_call_leaves_one_authorization_after_a_rerun(
    token: str, fault: Any, moment: str, number: int, run_authorize: Step, aws: Any
) -> None:
    screened(token)
    calls: list[str] = []

    def fail_at_number(operation: str, _: Any) -> None:
        calls.append(operation)
        if len(calls) == number:
            raise fault(operation)

    setattr(aws.dynamodb, moment, fail_at_number)
    with contextlib.suppress(Crash, Exception):  # any fault
        run_authorize()
    setattr(aws.dynamodb, moment, None)

    assert run_authorize() == ("declined" if token == "tok_declined" else "authorized")
    assert types() == ["PaymentDeclined" if token == "tok_declined" else "PaymentAuthorized"]
    assert len(aws.dynamodb.items("SandboxPayments")) == 1
    assert aws.dynamodb.items("PaymentTokens") == []


@pytest.mark.parametrize("fault", [Crash, throttled, server_error, lambda _: answer_lost()])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 5))
def test_fault_at_any_call_of_a_void_leaves_no_hold_after_a_rerun(
    fault: Any, moment: str, number: int, run_authorize: Step, run_void: Step, aws: Any, sandbox: SandboxProvider
) -> None:
    screened()
    run_authorize()
    fail_order()
    calls: list[str] = []

    def fail_at_number(operation: str, _: Any) -> None:
        calls.append(operation)
        if len(calls) == number:
            raise fault(operation)

    setattr(aws.dynamodb, moment, fail_at_number)
    with contextlib.suppress(Crash, Exception):  # any fault
        run_void()
    setattr(aws.dynamodb, moment, None)

    assert run_void() == "voided"
    assert types() == ["PaymentAuthorized", "FulfilmentFailed", "PaymentVoided"]
    assert isinstance(sandbox.look_up(KEY), Voided)


def test_authorization_missing_in_the_log_is_voided(run_void: Step, sandbox: SandboxProvider) -> None:
    order = screened()
    payment = sandbox.authorize(KEY, "tok_approved", order.total)
    fail_order()

    assert run_void() == "voided"
    assert isinstance(payment, Authorized)
    assert sandbox.look_up(KEY) == Voided(payment.authorization_id)
    assert LOG.history("ord_1")[-1].data == PaymentVoided(payment.authorization_id, order.total)
    assert run_void() == "voided"
    assert types() == ["FulfilmentFailed", "PaymentAuthorized", "PaymentVoided"]


class InterruptedProvider(SandboxProvider):
    """A provider that calls `before` and `after` around each authorization."""

    before: Callable[[], object] = staticmethod(lambda: None)
    after: Callable[[], object] = staticmethod(lambda: None)

    def authorize(self, key: str, token: str, amount: Money) -> Payment:
        self.before()
        payment = super().authorize(key, token, amount)
        self.after()
        return payment


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("voided", [False, True])
def test_order_failing_during_authorization_leaves_nothing_held(
    moment: str, voided: bool, run_authorize: Step, run_void: Step, aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    screened()
    provider = InterruptedProvider("SandboxPayments", aws.dynamodb.client)
    monkeypatch.setattr(authorize_payment, "PROVIDER", provider)

    def another_execution() -> None:
        fail_order()
        if voided:
            run_void()

    setattr(provider, moment, another_execution)

    assert run_authorize() == "failing"
    run_void()
    assert isinstance(provider.look_up(KEY), Voided)
    assert types() in (["FulfilmentFailed"], ["FulfilmentFailed", "PaymentAuthorized", "PaymentVoided"])
    assert LOG.load("ord_1").payment in {"none", "voided"}


def test_void_with_lost_answer_is_looked_up(run_authorize: Step, run_void: Step, aws: Any) -> None:
    screened()
    run_authorize()
    fail_order()

    def lose(operation: str, parameters: Any) -> None:
        if operation == "PutItem" and parameters["TableName"] == "SandboxPayments":
            raise answer_lost()

    aws.dynamodb.after = lose

    assert run_void() == "voided"


def test_confirmed_order_is_never_voided(run_authorize: Step, run_void: Step, sandbox: SandboxProvider) -> None:
    screened()
    run_authorize()
    advance(LOG, "ord_1", "orders.handlers.confirm_order")

    assert run_void() == "inactive"
    assert run_authorize() == "inactive"
    assert isinstance(sandbox.look_up(KEY), Authorized)


def test_active_order_is_not_voided(run_authorize: Step, run_void: Step, sandbox: SandboxProvider) -> None:
    screened()
    run_authorize()

    with pytest.raises(InconsistentPayment, match="recorded before the void"):
        run_void()
    assert isinstance(sandbox.look_up(KEY), Authorized)


@pytest.mark.parametrize("outcome", ["authorized", "cancelling"])
def test_cancelled_order_is_voided(outcome: str, run_authorize: Step, run_void: Step, sandbox: SandboxProvider) -> None:
    """An earlier authorization is voided; none is made after the cancellation."""
    screened()
    if outcome == "authorized":
        run_authorize()
    advance(LOG, "ord_1", "customer.cancels")

    assert run_void() == ("voided" if outcome == "authorized" else "nothing_to_void")
    assert run_authorize() == "cancelling"
    assert not isinstance(sandbox.look_up(KEY), Authorized)


def test_order_cancelled_during_authorization_leaves_no_hold(
    run_authorize: Step, run_void: Step, aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    screened()
    provider = InterruptedProvider("SandboxPayments", aws.dynamodb.client)
    monkeypatch.setattr(authorize_payment, "PROVIDER", provider)
    provider.after = lambda: advance(LOG, "ord_1", "customer.cancels")

    assert run_authorize() == "cancelling"
    assert run_void() == "voided"
    assert isinstance(provider.look_up(KEY), Voided)
    assert types() == ["CancellationRequested", "PaymentAuthorized", "PaymentVoided"]


def test_confirmed_order_is_voided_after_the_recall_only(run_authorize: Step, run_void: Step, sandbox: SandboxProvider) -> None:
    screened()
    run_authorize()
    advance(LOG, "ord_1", "orders.handlers.confirm_order", "customer.cancels")
    with pytest.raises(InconsistentPayment, match="must be recalled before the void"):
        run_void()
    assert isinstance(sandbox.look_up(KEY), Authorized)

    advance(LOG, "ord_1", "shipping.handlers.recall_shipment")
    assert run_void() == "voided"
    assert isinstance(sandbox.look_up(KEY), Voided)


def test_captured_payment_is_not_voided_silently(run_authorize: Step, run_void: Step, sandbox: SandboxProvider) -> None:
    order = screened()
    run_authorize()
    fail_order()
    sandbox.capture(KEY, "ord_1:capture", order.total)

    with pytest.raises(InconsistentPayment, match="the provider captured 2500, the log has 0"):
        run_void()


def test_authorization_unknown_to_the_provider_is_a_fault(run_authorize: Step, run_void: Step, aws: Any) -> None:
    screened()
    run_authorize()
    fail_order()
    aws.dynamodb.delete_item(TableName="SandboxPayments", Key={"key": {"S": KEY}})

    with pytest.raises(InconsistentPayment, match="does not know the authorization"):
        run_void()


def test_payment_voided_at_the_provider_is_a_fault(run_authorize: Step, sandbox: SandboxProvider) -> None:
    screened()
    sandbox.void(KEY)

    with pytest.raises(InconsistentPayment, match="the provider voided the payment"):
        run_authorize()


def test_unscreened_order_is_not_authorized(run_authorize: Step, aws: Any) -> None:
    place(LOG)
    advance(LOG, "ord_1", "inventory.handlers.reserve_stock")

    with pytest.raises(InconsistentPayment, match="must be screened before it is authorized"):
        run_authorize()
    assert aws.dynamodb.items("SandboxPayments") == []


def test_order_without_reservation_is_not_authorized(run_authorize: Step, aws: Any) -> None:
    screened()
    expire(LOG, "ord_1")

    assert run_authorize() == "unreserved"
    assert aws.dynamodb.items("SandboxPayments") == []


def test_authorization_after_expiry_is_recorded_with_a_new_reservation(run_authorize: Step, sandbox: SandboxProvider) -> None:
    screened()
    sandbox.authorize(KEY, "tok_approved", LOG.load("ord_1").total)
    expire(LOG, "ord_1")
    assert run_authorize() == "unreserved"

    advance(LOG, "ord_1", "inventory.handlers.reserve_stock")

    assert run_authorize() == "authorized"


@pytest.mark.parametrize("name", ["authorize_payment", "void_payment"])
def test_unknown_order_is_a_fault(name: str, invoke: Callable[[str, Any], Any]) -> None:
    with pytest.raises(OrderNotFound):
        invoke(name, step("ord_unknown"))


@pytest.mark.parametrize("token", ["tok_approved", "tok_declined", "tok_timeout_before", "tok_unavailable", "4111111111111111"])
def test_tokens_reach_neither_the_log_lines_nor_the_events(
    token: str, run_authorize: Step, aws: Any, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    screened(token)
    for _ in range(2):
        try:
            run_authorize()
        except (ProviderTimeout, ProviderUnavailable):
            continue

    assert logged()
    assert token not in json.dumps(logged())
    assert all(token not in item["event"]["S"] for item in aws.dynamodb.items("OrderLog"))
