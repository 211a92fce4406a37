"""Finds the document that a request of the API asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.http import Problem

if TYPE_CHECKING:
    from orderflow.domain.order import Order


def document_of(order: Order, credit_note: str | None) -> tuple[str, str]:
    """Return kind and number of the order's invoice, or of one of its credit notes.

    Raises:
        Problem: 404 if the order has no such document.
    """
    if credit_note is not None:
        if all(one.credit_note != credit_note for one in order.corrections):
            raise Problem(404, "credit-note-not-found", "Credit note not found", "the order's events list its credit notes")
        return "credit-note", credit_note
    if order.invoice is None:
        raise Problem(
            404, "invoice-not-found", "Invoice not found", "invoices are issued soon after the order is confirmed; try again later"
        )
    return "invoice", order.invoice
