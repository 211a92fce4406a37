"""Rebuilds the rows and documents of issued invoices and credit notes from the order log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from invoices.document_store import document_key
from invoices.invoice_store import DocumentNumber
from invoices.issuing import DueDocument, Stores

if TYPE_CHECKING:
    from orderflow.domain.order import Order


def rebuild(stores: Stores, order_ids: Iterable[str]) -> int:
    """Write the missing rows and documents of orders; return how many documents the log has issued for them.

    A stored document is not replaced, because the customer received it.

    Raises:
        OrderNotFound: the log has no such order.
        NumberTaken: another order has the number.
    """
    issued = [one for order_id in order_ids for one in _issued(stores.log.load(order_id))]
    list(stores.each(lambda one: _restore(stores, *one), issued))
    return len(issued)


def _issued(order: Order) -> Iterator[tuple[DueDocument, DocumentNumber]]:
    if order.invoice:
        yield DueDocument(order), DocumentNumber.parse(order.invoice)
    for correction in order.corrections:
        if correction.credit_note:
            yield DueDocument(order, correction), DocumentNumber.parse(correction.credit_note)


def _restore(stores: Stores, document: DueDocument, number: DocumentNumber) -> None:
    key = document_key(document.order.order_id, str(number))
    stores.documents.restore(key, document.render(number))
    stores.invoices.restore(document.order, number, key, document.amount, document.dated)
