"""Issues invoices and credit notes: a batch of orders takes the next numbers, all in one transaction.

If several functions take the same number, the first transaction wins and the others take the numbers after it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import batched
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from invoices.document_store import DocumentStore, document_key
from invoices.domain import document
from invoices.invoice_store import CREDIT_NOTES, INVOICES, DocumentNumber, InvoiceStore
from orderflow.aws.dynamodb import Conflict, TransactionConditionFailed, TransactionConflict
from orderflow.aws.observability import logger
from orderflow.aws.order_log import OrderLog
from orderflow.aws.parallel import Each
from orderflow.domain.commands import RecordCreditNote, RecordInvoice, Refusal, decide
from orderflow.domain.order import Correction, Order

if TYPE_CHECKING:
    from datetime import datetime

    from orderflow.domain.commands import Command
    from orderflow.domain.events import EventData
    from orderflow.domain.money import Money

# Each is an event and a row in a transaction of 100.
MAX_ORDERS = 40
_ATTEMPTS = 8

type Outcomes = dict[str, Order | Exception]


class NotConfirmed(RuntimeError):
    """The order is not confirmed, so no invoice is due."""


class NumbersTaken(RuntimeError):
    """Other orders took the next number in every attempt; retry later."""


class Stores(Struct, frozen=True):
    """The stores of events, numbers and documents; `each` may read orders and store documents in parallel."""

    log: OrderLog
    invoices: InvoiceStore
    documents: DocumentStore
    each: Each = map


class DueDocument(Struct, frozen=True):
    """A document that is due for an order: its invoice, or the credit note for a correction."""

    order: Order
    correction: Correction | None = None

    @property
    def dated(self) -> datetime:
        """The time (UTC) of the confirmation or the correction. Raises NotConfirmed."""
        if self.correction:
            return self.correction.since
        if self.order.confirmed_at is None:
            raise NotConfirmed(self.order.order_id)
        return self.order.confirmed_at

    @property
    def amount(self) -> Money:
        """The amount of the document."""
        return self.correction.amount if self.correction else self.order.total

    @property
    def prefix(self) -> str:
        """The prefix of the document's series."""
        return CREDIT_NOTES if self.correction else INVOICES

    def events(self, number: DocumentNumber, key: str) -> tuple[EventData, ...]:
        """Return the events that record the document in the order's log."""
        if self.correction:
            return _decide(self.order, RecordCreditNote(str(number), key, self.correction.cause))
        return _decide(self.order, RecordInvoice(str(number), key))

    def render(self, number: DocumentNumber) -> str:
        """Return the document as HTML."""
        if self.correction:
            return document.render_credit_note(self.order, self.correction, str(number))
        return document.render_invoice(self.order, str(number), self.dated)


def issue(stores: Stores, order_ids: Iterable[str]) -> Outcomes:
    """Issue the due documents of orders: an invoice unless cancelled before, and a credit note for each correction.

    Return each order after that, or its error: OrderNotFound, NotConfirmed, NumbersTaken, or an error of a store.
    """
    outcomes: Outcomes = {}
    for some in batched(dict.fromkeys(order_ids), MAX_ORDERS, strict=False):
        outcomes |= _issue_batch(stores, some)
    return outcomes


def errors(outcomes: Outcomes) -> dict[str, Exception]:
    """Return the errors by order id, and log a line for each other order."""
    for order_id, order in outcomes.items():
        if isinstance(order, Order):
            line = "invoice_issued" if order.invoice else "invoice_not_due"
            logger.info(line, order_id=order_id, correlation_id=order.correlation_id, number=order.invoice, state=order.state)
    return {order_id: error for order_id, error in outcomes.items() if isinstance(error, Exception)}


def _issue_batch(stores: Stores, order_ids: Sequence[str]) -> Outcomes:
    """Issue for all orders together; if that fails, for one after the other, so that a failing order does not block the others."""
    try:
        return _issue_together(stores, order_ids)
    except Exception as error:  # noqa: BLE001 - returned per order
        if len(order_ids) == 1:
            return {order_ids[0]: error}
        logger.warning("orders_invoiced_one_by_one", orders=len(order_ids), exc_info=True)
        return {order_id: outcome for one in order_ids for order_id, outcome in _issue_batch(stores, [one]).items()}


def _issue_together(stores: Stores, order_ids: Sequence[str]) -> Outcomes:
    outcomes: Outcomes = {}
    orders: dict[str, Order] = {}
    for attempt in range(_ATTEMPTS):
        if attempt:
            # Briefly: the other functions load the orders of their next batch now.
            time.sleep(random.uniform(0, 0.005))  # noqa: S311 - jitter, not a secret
        left = [order_id for order_id in order_ids if order_id not in orders and order_id not in outcomes]
        for order_id, order in zip(left, stores.each(lambda order_id: _caught(_load, stores.log, order_id), left), strict=True):
            if isinstance(order, Exception):
                outcomes[order_id] = order
            else:
                orders[order_id] = order
        try:
            if failed := _issue_due(stores, orders):
                outcomes |= failed
                orders = {order_id: order for order_id, order in orders.items() if order_id not in failed}
            else:
                return outcomes | orders
        except Conflict:
            # Another writer appended to one of the orders.
            orders.clear()
        except (TransactionConditionFailed, TransactionConflict):
            continue
    return outcomes | {order_id: NumbersTaken(order_id) for order_id in order_ids if order_id not in outcomes}


def _load(log: OrderLog, order_id: str) -> Order:
    order = log.load(order_id)
    if order.confirmed_at is None and _next_due(order):
        raise NotConfirmed(order_id)
    return order


def _issue_due(stores: Stores, orders: dict[str, Order]) -> Outcomes:
    """Issue the due documents of orders until none is due, and update `orders`.

    Return the errors of orders whose document could not be stored; no number of this round is taken then.
    """
    while dues := [due for order in orders.values() if (due := _next_due(order))]:
        numbered = list(_numbered(stores.invoices, dues))
        written = stores.each(lambda one: _caught(_document, stores, *one), numbered)
        if failed := {due.order.order_id: error for (due, *_), error in zip(numbered, written, strict=True) if error}:
            return failed
        events = [(due.order, due.events(number, key)) for due, number, key in numbered]
        rows = [stores.invoices.put_request(due.order, number, key, due.amount, due.dated) for due, number, key in numbered]
        after = stores.log.append_together(events, source="invoices", extra_writes=rows, attempts=1)
        orders |= {order.order_id: order for order in after}
    return {}


def _next_due(order: Order) -> DueDocument | None:
    """Return the next due document of an order; no credit note is due without an invoice."""
    if not order.invoice:
        return None if order.state in {"rejected", "cancelled"} else DueDocument(order)
    return next((DueDocument(order, correction) for correction in order.corrections if correction.credit_note is None), None)


def _numbered(invoices: InvoiceStore, dues: Iterable[DueDocument]) -> Iterator[tuple[DueDocument, DocumentNumber, str]]:
    """Yield documents with their next numbers, in the series of the document's year (UTC), and their keys."""
    last: dict[tuple[str, int], DocumentNumber] = {}
    for due in dues:
        series = due.prefix, due.dated.year
        number = last[series].following() if series in last else invoices.next_number(*series)
        last[series] = number
        yield due, number, document_key(due.order.order_id, str(number))


def _document(stores: Stores, due: DueDocument, number: DocumentNumber, key: str) -> None:
    stores.documents.put(key, due.render(number))


def _caught[A](work: Callable[..., A], *given: Any) -> A | Exception:
    """Return the result of a call, or the exception that it raises."""
    try:
        return work(*given)
    except Exception as error:  # noqa: BLE001 - the error belongs to one order and its message
        return error


def _decide(order: Order, command: Command) -> tuple[EventData, ...]:
    match decide(order, command):
        case Refusal(why=why):
            raise RuntimeError(why)
        case events:
            return events
