"""An order's events as one line: what happened, and how many milliseconds after it was placed."""

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
    "FulfilmentFailed": ("gave up", "yellow"),
    "StockReleased": ("released", "yellow"),
    "OrderConfirmed": ("confirmed", "green"),
    "OrderRejected": ("rejected", "red"),
    "CancellationRequested": ("cancelling", "yellow"),
    "CancellationFailed": ("too late", "yellow"),
    "OrderCancelled": ("cancelled", "red"),
    "OrderLinesCancelled": ("rest cancelled", "yellow"),
    "OrderReviewRejected": ("turned down", "yellow"),
    "ReservationExpired": ("reservation expired", "yellow"),
    "ShipmentRequested": ("to be shipped", "cyan"),
    "ShipmentRecalled": ("recalled", "yellow"),
    "ShipmentDispatched": ("left", "cyan"),
    "ShipmentDelivered": ("arrived", "green"),
    "ShipmentLost": ("lost", "red"),
    "PaymentCaptured": ("paid", "green"),
    "PaymentRefunded": ("refunded", "yellow"),
    "PaymentRefundFailed": ("refund failed", "red"),
    "PaymentRefundReversed": ("refund taken back", "red"),
    "PaymentDisputed": ("disputed", "red"),
    "DisputeClosed": ("dispute closed", "yellow"),
    "DisputeOutcomeChanged": ("dispute changed", "yellow"),
    "InvoiceIssued": ("invoiced", "cyan"),
    "CreditNoteIssued": ("credited", "cyan"),
    "ReturnRequested": ("to be returned", "yellow"),
    "ReturnReceived": ("came back", "yellow"),
}


def milliseconds(events: Sequence[Mapping[str, Any]]) -> list[int]:
    """When each event occurred, in ms after the first."""
    times = [datetime.fromisoformat(event["occurred_at"]) for event in events]
    return [round((time - times[0]).total_seconds() * 1000) for time in times]


def duration(value: int) -> str:
    """Milliseconds for people: 87 ms, 1.2 s."""
    return f"{value} ms" if value < 1000 else f"{value / 1000:.1f} s"


def line(events: Sequence[Mapping[str, Any]]) -> Text:
    """The events in their order, each with its time: `placed ─ reserved 87 ms ─ confirmed 1.2 s`."""
    text = Text()
    for event, passed in zip(events, milliseconds(events), strict=True):
        word, style = LABELS.get(event["type"], (event["type"], "white"))
        text.append(" ─ " if text else "", "dim").append(word, style)
        text.append(f" {duration(passed)}" if passed else "", "dim")
    return text


def fitted(events: Sequence[Mapping[str, Any]], width: int) -> Text:
    """The timeline in at most `width` columns: without the times between if need be, then without what came first."""
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
