"""Issuing an invoice: whoever is first to a number has it, and the others try the next one."""

from __future__ import annotations

import random
import time
from datetime import datetime
from typing import TYPE_CHECKING

from invoices import document
from invoices.documents import key_of
from orderflow.commands import RecordInvoice, Refusal, decide
from orderflow.log import AlongsideFailed, Conflict

if TYPE_CHECKING:
    from invoices.documents import Documents
    from invoices.numbers import Invoices
    from orderflow.events import Fact
    from orderflow.log import OrderLog
    from orderflow.order import Order

_ATTEMPTS = 8


class NotConfirmed(RuntimeError):
    """The order is not confirmed, so there is nothing to invoice yet."""


class NumbersContended(RuntimeError):
    """Other orders kept taking the next number; trying later helps."""


def issue(log: OrderLog, invoices: Invoices, documents: Documents, order_id: str) -> Order:
    """Give the order its invoice, unless it has one or was cancelled, and return the order afterwards.

    Raises:
        OrderNotFound: there is no such order.
        NotConfirmed: it is not confirmed.
        NumbersContended, Contention: others kept getting in the way.
    """
    for attempt in range(_ATTEMPTS):
        order = log.load(order_id)
        if order.invoice or order.state in {"rejected", "cancelled"}:
            return order
        if order.confirmed_at is None:
            raise NotConfirmed(order_id)
        try:
            return _numbered(log, invoices, documents, order, order.confirmed_at)
        except (AlongsideFailed, Conflict):
            time.sleep(random.uniform(0.01, 0.05) * (attempt + 1))  # noqa: S311 - jitter, not a secret
    raise NumbersContended(order_id)


def _numbered(log: OrderLog, invoices: Invoices, documents: Documents, order: Order, confirmed_at: datetime) -> Order:
    """Write the document and then, under the next number of the year of its confirmation (UTC), everything else."""
    number = invoices.next(confirmed_at.year)
    key = key_of(order.order_id, str(number))
    facts = _facts(order, RecordInvoice(str(number), key))
    documents.put(key, document.render(order, str(number), confirmed_at))
    return log.append(order, facts, source="invoices", alongside=invoices.numbering(order, number, key, confirmed_at))


def _facts(order: Order, command: RecordInvoice) -> tuple[Fact, ...]:
    match decide(order, command):
        case Refusal(why=why):
            raise RuntimeError(why)
        case facts:
            return facts
