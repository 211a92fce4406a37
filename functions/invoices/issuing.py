"""Issuing invoices and credit notes: whoever is first to a number has it, and the others try the next one."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from invoices import document
from invoices.documents import Documents, key_of
from invoices.numbers import CREDIT_NOTES, INVOICES, Invoices
from orderflow.commands import RecordCreditNote, RecordInvoice, Refusal, decide
from orderflow.log import AlongsideFailed, Conflict, OrderLog

if TYPE_CHECKING:
    from orderflow.commands import Command
    from orderflow.events import Fact
    from orderflow.order import Correction, Order

_ATTEMPTS = 8


class NotConfirmed(RuntimeError):
    """The order is not confirmed, so there is nothing to invoice yet."""


class NumbersContended(RuntimeError):
    """Other orders kept taking the next number; trying later helps."""


class Stores(Struct, frozen=True):
    """Where events, numbers and documents are kept."""

    log: OrderLog
    invoices: Invoices
    documents: Documents


def issue(stores: Stores, order_id: str) -> Order:
    """Give the order its invoice, unless it was cancelled before, and a credit note for each of its corrections; return it afterwards.

    Raises:
        OrderNotFound: there is no such order.
        NotConfirmed: it is not confirmed.
        NumbersContended, Contention: others kept getting in the way.
    """
    for attempt in range(_ATTEMPTS):
        order = stores.log.load(order_id)
        try:
            return _credited(stores, _invoiced(stores, order))
        except (AlongsideFailed, Conflict):
            time.sleep(random.uniform(0.01, 0.05) * (attempt + 1))  # noqa: S311 - jitter, not a secret
    raise NumbersContended(order_id)


def _invoiced(stores: Stores, order: Order) -> Order:
    """Write the invoice under the next number of the year of the order's confirmation (UTC), which is its date."""
    if order.invoice or order.state in {"rejected", "cancelled"}:
        return order
    if order.confirmed_at is None:
        raise NotConfirmed(order.order_id)
    number = stores.invoices.next(INVOICES, order.confirmed_at.year)
    key = key_of(order.order_id, str(number))
    facts = _facts(order, RecordInvoice(str(number), key))
    stores.documents.put(key, document.render(order, str(number), order.confirmed_at))
    alongside = stores.invoices.numbering(order, number, key, order.total, order.confirmed_at)
    return stores.log.append(order, facts, source="invoices", alongside=alongside)


def _credited(stores: Stores, order: Order) -> Order:
    """Write the credit notes that are due, each dated when its correction came about; none where there is no invoice."""
    for correction in order.corrections if order.invoice else ():
        if correction.credit_note is None:
            order = _credit(stores, order, correction)
    return order


def _credit(stores: Stores, order: Order, correction: Correction) -> Order:
    number = stores.invoices.next(CREDIT_NOTES, correction.since.year)
    key = key_of(order.order_id, str(number))
    facts = _facts(order, RecordCreditNote(str(number), key, correction.cause))
    stores.documents.put(key, document.render_credit_note(order, correction, str(number)))
    alongside = stores.invoices.numbering(order, number, key, correction.amount, correction.since)
    return stores.log.append(order, facts, source="invoices", alongside=alongside)


def _facts(order: Order, command: Command) -> tuple[Fact, ...]:
    match decide(order, command):
        case Refusal(why=why):
            raise RuntimeError(why)
        case facts:
            return facts
