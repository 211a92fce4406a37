"""Render an order's events as one line, with the time since it was placed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.text import Text

LABELS = {
    "OrderPlaced": ("placed", "cyan"),
    "StockReserved": ("reserved", "cyan"),
    "StockReservationFailed": ("out of stock", "yellow"),
    "OrderScreened": ("screened", "cyan"),
    "OrderHeldForReview": ("held", "yellow"),
    "OrderReviewApproved": ("approved", "cyan"),
    "PaymentAuthorized": ("authorized", "cyan"),
    "PaymentDeclined": ("declined", "yellow"),
    "PaymentVoided": ("voided", "yellow"),
    "FulfilmentFailed": ("failed", "yellow"),
    "StockReleased": ("released", "yellow"),
    "OrderConfirmed": ("confirmed", "green"),
    "OrderRejected": ("rejected", "red"),
    "CancellationRequested": ("cancelling", "yellow"),
    "CancellationFailed": ("cancellation failed", "yellow"),
    "OrderCancelled": ("cancelled", "red"),
    "OrderLinesCancelled": ("rest cancelled", "yellow"),
    "OrderReviewRejected": ("review rejected", "yellow"),
    "ReservationExpired": ("reservation expired", "yellow"),
    "ShipmentRequested": ("shipping", "cyan"),
    "ShipmentRecalled": ("recalled", "yellow"),
    "ShipmentDispatched": ("dispatched", "cyan"),
    "ShipmentDelivered": ("delivered", "green"),
    "ShipmentLost": ("lost", "red"),
    "ShipmentReportContradicted": ("report contradicted", "red"),
    "ParcelConditionAlerted": ("alerted", "red"),
    "ParcelConditionResolved": ("alert resolved", "green"),
    "PaymentCaptured": ("captured", "green"),
    "PaymentRefunded": ("refunded", "yellow"),
    "PaymentRefundFailed": ("refund failed", "red"),
    "PaymentRefundReversed": ("refund reversed", "red"),
    "PaymentDisputed": ("disputed", "red"),
    "DisputeClosed": ("dispute closed", "yellow"),
    "DisputeOutcomeChanged": ("dispute changed", "yellow"),
    "InvoiceIssued": ("invoiced", "cyan"),
    "CreditNoteIssued": ("credited", "cyan"),
    "ReturnRequested": ("return requested", "yellow"),
    "ReturnReceived": ("returned", "yellow"),
}


def milliseconds(events: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return when each event occurred, in ms after the first."""
    times = [datetime.fromisoformat(event["occurred_at"]) for event in events]
    return [round((time - times[0]).total_seconds() * 1000) for time in times]


def duration(value: int) -> str:
    """Format milliseconds: 87 ms, 1.2 s."""
    return f"{value} ms" if value < 1000 else f"{value / 1000:.1f} s"


def line(events: Sequence[Mapping[str, Any]]) -> Text:
    """Return the events in order, each with its time: `placed ─ reserved 87 ms ─ confirmed 1.2 s`."""
    text = Text()
    for event, passed in zip(events, milliseconds(events), strict=True):
        word, style = LABELS.get(event["type"], (event["type"], "white"))
        text.append(" ─ " if text else "", "dim").append(word, style)
        text.append(f" {duration(passed)}" if passed else "", "dim")
    return text


def fitted(events: Sequence[Mapping[str, Any]], width: int) -> Text:
    """Return the timeline in at most `width` columns: without times if necessary, then without the first events."""
    text = line(events)
    for left_out in range(len(events)):
        if text.cell_len <= width:
            break
        text = _short(events, left_out)
    return text


def _short(events: Sequence[Mapping[str, Any]], left_out: int) -> Text:
    text = Text("… ─ " if left_out else "", "dim")
    for number, event in enumerate(events[left_out:]):
        word, style = LABELS.get(event["type"], (event["type"], "white"))
        text.append(" ─ " if number else "", "dim").append(word, style)
    return text.append(f" {duration(max(milliseconds(events)))}", "dim")
