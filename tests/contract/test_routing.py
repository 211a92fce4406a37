"""Which event goes where: the rules' patterns against every event that there is."""

from contextlib import suppress
from typing import Any

import pytest

from ledger import rules
from orderflow.events import FACTS
from orders import listing
from tests.contract.stack import Stack, referred
from tests.support.orders import STATES, history

ROUTES = {
    "LedgerRule": {"PaymentAuthorized", "PaymentVoided", "PaymentCaptured", "PaymentRefunded", "PaymentDisputed", "DisputeClosed"},
    "FulfilmentRule": {"OrderPlaced", "OrderReviewApproved", "OrderReviewRejected", "CancellationRequested"},
    "PaymentsSettleRule": {"ShipmentDispatched", "ShipmentLost", "ReturnReceived", "OrderLinesCancelled"},
    "NotificationsRule": {
        "OrderConfirmed",
        "OrderRejected",
        "OrderHeldForReview",
        "OrderCancelled",
        "OrderLinesCancelled",
        "ShipmentDispatched",
        "PaymentRefunded",
    },
    "ShippingRequestRule": {"OrderConfirmed", "CancellationFailed"},
    "OrderViewRule": set(listing.SHOWN),
    "InventorySettleRule": {"ShipmentDispatched", "ReturnReceived"},
    "InvoicesIssueRule": {"OrderConfirmed"},
    "LoyaltyAwardRule": {"OrderConfirmed", "OrderCancelled", "OrderLinesCancelled", "PaymentRefunded"},
    "ReviewRule": {"OrderHeldForReview"},
    "ReviewsCloseRule": {"OrderReviewApproved", "OrderReviewRejected", "CancellationRequested"},
}
# What these lead to is made again from the log at any time, or has happened once for all: a replay does no harm.
REPLAYED = {"LedgerRule", "OrderViewRule", "LoyaltyAwardRule"}


def matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    """Tell whether EventBridge's pattern takes an event; knows literals and `exists`, and refuses to guess at more."""
    return all(any(_takes(condition, event, field) for condition in conditions) for field, conditions in pattern.items())


def _takes(condition: Any, event: dict[str, Any], field: str) -> bool:
    match condition:
        case {"exists": bool() as wanted}:
            return (field in event) is wanted
        case str():
            return event.get(field) == condition
        case _:
            raise NotImplementedError(condition)


def delivered(fact: str, **more: str) -> dict[str, Any]:
    return {"source": "orders", "detail-type": fact, "detail": {"order_id": "ord_1"}, **more}


def test_every_rule_is_listed_here(stack: Stack) -> None:
    assert set(stack.of("Events::Rule")) == set(ROUTES)


@pytest.mark.parametrize("rule", ROUTES)
def test_a_rule_takes_its_events_and_no_other(stack: Stack, rule: str) -> None:
    pattern = stack.of("Events::Rule")[rule]["EventPattern"]
    assert {fact for fact in FACTS if matches(pattern, delivered(fact))} == ROUTES[rule]


@pytest.mark.parametrize("rule", sorted(set(ROUTES) - REPLAYED))
@pytest.mark.parametrize("fact", FACTS)
def test_a_replay_reaches_nothing_that_acts_outside(stack: Stack, rule: str, fact: str) -> None:
    pattern = stack.of("Events::Rule")[rule]["EventPattern"]
    assert not matches(pattern, delivered(fact, **{"replay-name": "rebuild"}))


def test_the_ledger_is_sent_what_it_has_an_entry_for(stack: Stack) -> None:
    posted = set[str]()
    for event in (event for commands in STATES.values() for event in history(*commands)):
        with suppress(rules.Unpostable):
            posted.add(rules.entry(event, rules.Fees()).type)
    assert posted == ROUTES["LedgerRule"]


def test_the_proof_may_only_speak_for_the_ledger(stack: Stack) -> None:
    role = referred(stack.of("Lambda::Function")["LedgerProve"]["Role"])
    [statement] = [s for s in stack.statements(role) if "events:PutEvents" in s["Action"]]
    assert statement["Condition"] == {"ForAllValues:StringEquals": {"events:source": ["ledger"]}}


def test_the_mail_queue_is_sent_what_leads_to_a_mail(stack: Stack) -> None:
    subscription = stack.of("SNS::Subscription")["MailSubscription"]
    assert subscription["FilterPolicyScope"] == "MessageBody"
    taken = {fact for fact in FACTS if matches(subscription["FilterPolicy"], delivered(fact))}
    assert taken == ROUTES["NotificationsRule"]


def test_the_stream_carries_new_events_and_not_their_marks(stack: Stack) -> None:
    mapping = stack.of("Lambda::EventSourceMapping")["OrdersPublishAppended"]
    assert [entry["Pattern"] for entry in mapping["FilterCriteria"]["Filters"]] == ['{"eventName": ["INSERT"]}']


@pytest.mark.parametrize("function", ["OrdersPublish", "OperationsReconcile", "OperationsRedrive"])
def test_what_publishes_the_log_may_only_speak_for_the_contexts_that_append(stack: Stack, function: str) -> None:
    role = referred(stack.of("Lambda::Function")[function]["Role"])
    [statement] = [s for s in stack.statements(role) if "events:PutEvents" in s["Action"]]
    assert statement["Condition"] == {
        "ForAllValues:StringEquals": {"events:source": ["orders", "inventory", "fraud", "payments", "shipping", "invoices", "reviews"]}
    }
