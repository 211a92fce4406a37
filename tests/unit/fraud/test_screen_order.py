"""The saga step `screen_order`: outcomes, re-runs, faults and flags."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fraud.domain import fraud_rules
from fraud.handlers import screen_order
from orderflow.aws.dynamodb import timestamp
from orderflow.aws.flags import Flags, version
from orderflow.aws.order_log import OrderNotFound
from orderflow.domain.commands import ApproveReview
from orderflow.domain.events import OrderHeldForReview, OrderScreened
from tests.fakes.aws.dynamodb import Crash, crash_at, server_error, throttled
from tests.support.prepared import advance, expire, place, prepare

EVENTS = Path(__file__).resolve().parents[3] / "events" / "fraud" / "screen_order"
SAMPLES = sorted(path.stem for path in EVENTS.glob("*.json") if not path.stem.endswith(".answer"))
RESERVED = ("inventory.handlers.reserve_stock",)


@pytest.fixture
def call(aws: Any, context: Any) -> Callable[..., str]:
    def invoke(order_id: str = "ord_1") -> str:
        event: Any = {"order_id": order_id, "correlation_id": "correlation-1", "execution": "execution-1"}
        return screen_order.handler(event, context)["outcome"]

    return invoke


def reserved(order_id: str = "ord_1", **order: Any) -> None:
    place(screen_order.LOG, order_id, **order)
    advance(screen_order.LOG, order_id, *RESERVED)


def last_event_data(order_id: str = "ord_1") -> Any:
    return screen_order.LOG.history(order_id)[-1].data


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_has_its_answer(name: str, aws: Any, context: Any) -> None:
    event = json.loads((EVENTS / f"{name}.json").read_text())
    prepare(screen_order.LOG, event["order_id"], *RESERVED)

    assert screen_order.handler(event, context) == json.loads((EVENTS / f"{name}.answer.json").read_text())


def test_small_order_of_a_new_customer_is_approved(call: Callable[..., str]) -> None:
    reserved()

    assert call() == "approved"
    assert last_event_data() == OrderScreened("approve", 10, ("new_customer",))


def test_expensive_order_is_held_with_its_details(call: Callable[..., str]) -> None:
    reserved(lines={"ESPRESSO-PRO": 1})

    assert call() == "held"
    held = last_event_data()
    assert isinstance(held, OrderHeldForReview)
    assert (held.customer.id, held.total.amount, held.reasons) == ("ann", 289_900, ("amount_large", "new_customer"))
    assert screen_order.LOG.load("ord_1").state == "held"


def test_all_rules_together_refuse_the_order(call: Callable[..., str]) -> None:
    for number in range(5):
        reserved(f"ord_before_{number}")
        assert call(f"ord_before_{number}") == "approved"
    reserved("ord_suspicious", lines={"ESPRESSO-PRO": 3}, country="US", payment_country="GB")

    assert call("ord_suspicious") == "refused"
    assert last_event_data("ord_suspicious") == OrderScreened("refuse", 150, ("amount_very_large", "velocity", "country_mismatch"))
    assert screen_order.LOG.load("ord_suspicious").state == "failing"


def test_orders_of_other_customers_do_not_count(call: Callable[..., str]) -> None:
    for number in range(5):
        reserved(f"ord_before_{number}")
        call(f"ord_before_{number}")
    reserved("ord_bob", customer="bob")

    call("ord_bob")

    assert last_event_data("ord_bob").reasons == ("new_customer",)


@pytest.mark.parametrize(("order", "outcome"), [({}, "approved"), ({"lines": {"ESPRESSO-PRO": 1}}, "held")])
def test_repeated_screening_returns_the_recorded_outcome(order: dict[str, Any], outcome: str, aws: Any, call: Callable[..., str]) -> None:
    reserved(**order)
    call()
    length = len(screen_order.LOG.history("ord_1"))
    aws.dynamodb.calls.clear()

    assert call() == outcome
    assert aws.dynamodb.calls == {"Query": 1}
    assert len(screen_order.LOG.history("ord_1")) == length


def test_approved_review_leads_to_approved(call: Callable[..., str]) -> None:
    reserved(lines={"ESPRESSO-PRO": 1})
    call()
    screen_order.LOG.record(screen_order.LOG.load("ord_1"), ApproveReview("rex"), source="operations")

    assert call() == "approved"


def test_failing_order_is_not_screened(call: Callable[..., str]) -> None:
    reserved()
    advance(screen_order.LOG, "ord_1", "orders.handlers.record_failure")

    assert call() == "failing"


def test_order_that_fails_during_screening_is_failing(aws: Any, call: Callable[..., str]) -> None:
    reserved()

    def fail_order(operation: str, parameters: dict[str, Any]) -> None:
        if operation == "PutItem" and parameters["TableName"] == "Fraud":
            aws.dynamodb.after = None
            advance(screen_order.LOG, "ord_1", "orders.handlers.record_failure")

    aws.dynamodb.after = fail_order

    assert call() == "failing"


def test_finished_order_is_not_screened(call: Callable[..., str]) -> None:
    reserved()
    call()
    advance(screen_order.LOG, "ord_1", "payments.handlers.authorize_payment", "orders.handlers.confirm_order")

    assert call() == "inactive"


def test_later_orders_do_not_change_an_earlier_score(aws: Any, call: Callable[..., str]) -> None:
    reserved("ord_first")
    aws.dynamodb.after = crash_at("Query", call=2)  # after scoring, before recording
    with pytest.raises(Crash):
        call("ord_first")
    aws.dynamodb.after = None
    for number in range(6):
        reserved(f"ord_later_{number}")
        call(f"ord_later_{number}")

    assert call("ord_first") == "approved"
    assert last_event_data("ord_first").reasons == ("new_customer",)


def seed_history(aws: Any, *ages: timedelta) -> None:
    for number, age in enumerate(ages):
        placed = f"{timestamp(datetime.now(UTC) - age)}#ord_old_{number}"
        aws.dynamodb.seed("Fraud", {"customer_id": {"S": "ann"}, "placed": {"S": placed}, "expires_at": {"N": "1"}})


def test_velocity_uses_the_latest_orders_of_a_long_history(aws: Any, call: Callable[..., str]) -> None:
    seed_history(aws, *[timedelta(days=30)] * 20, *[timedelta(minutes=5)] * 5)
    reserved()
    call()

    assert last_event_data().reasons == ("velocity",)


@pytest.mark.parametrize(("days", "reasons"), [(179, ()), (181, ("new_customer",))])
def test_customer_is_known_for_180_days(days: int, reasons: tuple[str, ...], aws: Any, call: Callable[..., str]) -> None:
    seed_history(aws, timedelta(days=days))
    reserved()
    call()

    assert last_event_data().reasons == reasons


@pytest.mark.parametrize("operation", ["Query", "PutItem"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("fault", [Crash, throttled, server_error])
def test_rerun_after_any_fault_leaves_one_screening(
    operation: str, moment: str, number: int, fault: Any, aws: Any, call: Callable[..., str]
) -> None:
    reserved()
    seen: list[str] = []

    def fail_at_number(name: str, _: dict[str, Any]) -> None:
        seen.append(name)
        if name == operation and seen.count(name) == number:
            raise fault(name)

    setattr(aws.dynamodb, moment, fail_at_number)
    with pytest.raises(BaseException):  # noqa: B017, PT011 - any fault
        call()
    setattr(aws.dynamodb, moment, None)

    assert call() == "approved"
    assert [event.type for event in screen_order.LOG.history("ord_1")] == ["OrderPlaced", "StockReserved", "OrderScreened"]
    assert len(aws.dynamodb.items("Fraud")) == 1


def test_history_items_expire_after_the_window_and_a_margin(aws: Any, call: Callable[..., str]) -> None:
    reserved()
    call()

    [row] = aws.dynamodb.items("Fraud")
    placed_at = screen_order.LOG.load("ord_1").placed_at
    assert placed_at
    assert int(row["expires_at"]["N"]) == int((placed_at + timedelta(days=194)).timestamp())


@pytest.mark.parametrize("screened", [False, True])
def test_order_without_reservation_is_unreserved(call: Callable[..., str], *, screened: bool) -> None:
    reserved()
    if screened:
        call()
    expire(screen_order.LOG, "ord_1")
    before = screen_order.LOG.load("ord_1")

    assert call() == "unreserved"
    assert screen_order.LOG.load("ord_1") == before


@pytest.fixture
def uncached_flags(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start with an empty flags cache."""
    monkeypatch.setattr(screen_order, "FLAGS", Flags(fraud_rules.parse_flags, fraud_rules.FraudFlags()))


@pytest.mark.parametrize(
    ("flags", "outcome", "reasons"),
    [
        ({"hold_every_order": True}, "held", ("new_customer", "hold_every_order")),
        ({"hold_countries": ["GB"]}, "held", ("new_customer", "hold_countries")),
        ({"hold_countries": ["FR"]}, "approved", ("new_customer",)),
        ({"fraud": {"hold_score": 10}}, "held", ("new_customer",)),
        ({"fraud": {"weights": {"new_customer": 0}}}, "approved", ("new_customer",)),
        ({"fraud": {"hold_score": 5, "refuse_score": 10}}, "refused", ("new_customer",)),
    ],
)
@pytest.mark.usefixtures("uncached_flags")
def test_current_flags_decide_and_appear_as_reasons(
    flags: dict[str, Any], outcome: str, reasons: tuple[str, ...], aws: Any, call: Callable[..., str]
) -> None:
    aws.appconfigdata.deploy(**flags)
    reserved()

    assert call() == outcome
    assert last_event_data().reasons == reasons


@pytest.mark.usefixtures("uncached_flags")
@pytest.mark.parametrize("fraud", [{"hold_score": -1}, {"hold_score": 200}, {"weights": {"velocity": "40"}}, {"hold": 1}])
def test_invalid_threshold_flags_are_ignored(fraud: dict[str, Any], aws: Any, call: Callable[..., str]) -> None:
    aws.appconfigdata.deploy(fraud=fraud, hold_every_order=True)
    reserved()

    assert call() == "approved"


@pytest.mark.usefixtures("uncached_flags")
def test_recorded_screening_ignores_changed_flags(aws: Any, call: Callable[..., str]) -> None:
    aws.appconfigdata.deploy(hold_every_order=True)
    reserved("ord_before")
    assert call("ord_before") == "held"
    screen_order.FLAGS = Flags(fraud_rules.parse_flags, fraud_rules.FraudFlags())
    aws.appconfigdata.deploy()
    reserved("ord_after")

    assert (call("ord_before"), call("ord_after")) == ("held", "approved")
    screen_order.LOG.record(screen_order.LOG.load("ord_before"), ApproveReview("rex"), source="operations")
    screen_order.FLAGS = Flags(fraud_rules.parse_flags, fraud_rules.FraudFlags(hold_every_order=True))
    assert call("ord_before") == "approved"


@pytest.mark.usefixtures("uncached_flags")
def test_recorded_screening_reads_no_flags(aws: Any, call: Callable[..., str]) -> None:
    reserved()
    call()
    screen_order.FLAGS = Flags(fraud_rules.parse_flags, fraud_rules.FraudFlags())
    aws.appconfigdata.calls.clear()
    call()

    assert not aws.appconfigdata.calls


@pytest.mark.usefixtures("uncached_flags")
def test_log_line_of_a_screening_names_its_flags(aws: Any, call: Callable[..., str], logged: Callable[[], list[dict[str, Any]]]) -> None:
    aws.appconfigdata.deploy(hold_every_order=True)
    reserved()
    call()

    [line] = logged()
    assert (line["outcome"], line["flags"]) == ("held", version(aws.appconfigdata.document))


def test_unknown_order_raises(call: Callable[..., str]) -> None:
    with pytest.raises(OrderNotFound):
        call("ord_unknown")


def test_personal_data_is_not_logged(call: Callable[..., str], logged: Callable[[], list[dict[str, Any]]]) -> None:
    reserved(lines={"ESPRESSO-PRO": 1})
    call()

    [line] = logged()
    assert (line["order_id"], line["correlation_id"], line["outcome"]) == ("ord_1", "correlation-1", "held")
    assert "ann@example.com" not in json.dumps(line)


def test_suspicious_order_is_refused_without_reviews(call: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen_order, "REVIEWED", False)
    reserved(lines={"ESPRESSO-PRO": 1})

    assert call() == "refused"
    assert last_event_data() == OrderScreened("refuse", 60, ("amount_large", "new_customer"))
