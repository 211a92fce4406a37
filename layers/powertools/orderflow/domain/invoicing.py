"""Invoicing: a confirmed order gets an invoice, and a credit note for each correction of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orderflow.domain.event import EventData
from orderflow.domain.money import Money
from orderflow.domain.registry import Command, decides, evolves, refuse

if TYPE_CHECKING:
    from orderflow.domain.event import Event
    from orderflow.domain.order_state import Order
    from orderflow.domain.registry import Decision


class InvoiceIssued(EventData, frozen=True):
    """The order's invoice was numbered and stored."""

    number: str
    document: str
    total: Money


class CreditNoteIssued(EventData, frozen=True):
    """A credit note with its own number reduces an issued invoice by `amount`, which was cancelled or refunded."""

    number: str
    document: str
    invoice: str
    cause: str
    amount: Money


class RecordInvoice(Command, frozen=True):
    """Record the order's invoice."""

    number: str
    document: str


class RecordCreditNote(Command, frozen=True):
    """Record the credit note for one of the order's corrections, named by its cause."""

    number: str
    document: str
    cause: str


@decides(RecordInvoice)
def _issue_invoice(order: Order, command: RecordInvoice) -> Decision:
    if order.invoice:
        return ()
    if not order.confirmed_at or order.state == "cancelled":
        return refuse(order, command)
    return (InvoiceIssued(command.number, command.document, order.total),)


@decides(RecordCreditNote)
def _issue_credit_note(order: Order, command: RecordCreditNote) -> Decision:
    due = order.corrections.get(command.cause)
    if due is None or order.invoice is None:
        return refuse(order, command)
    if due.credit_note:
        return ()
    return (CreditNoteIssued(command.number, command.document, order.invoice, due.cause, due.amount),)


@evolves(InvoiceIssued, appended_by="invoices", stream_only=True)
def _invoiced(order: Order, data: InvoiceIssued, _event: Event) -> Order:
    return replace(order, invoice=data.number)


@evolves(CreditNoteIssued, appended_by="invoices")
def _credited(order: Order, data: CreditNoteIssued, _event: Event) -> Order:
    due = order.corrections.get(data.cause)
    if due is None:
        return order
    return replace(order, corrections=order.corrections.put(data.cause, replace(due, credit_note=data.number)))
