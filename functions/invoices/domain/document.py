"""Renders invoices and credit notes as self-contained HTML files. No AWS here.

A document depends only on the order, its number and its date. All texts are escaped, and the page loads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orderflow.domain.money import Money, format_money

if TYPE_CHECKING:
    from orderflow.domain.events import Line
    from orderflow.domain.order import Correction, Order

_PAGE = Template(Path(__file__).with_name("page.html").read_text("utf-8"))
_LINE = Template(
    '<tr><td>$name<span class="sku">$sku</span></td><td class="number">$quantity</td>'
    '<td class="number">$price</td><td class="number">$amount</td></tr>'
)


_PAID = "The amount is charged to your payment method when your order leaves our warehouse."
_CREDITED = "If this amount was charged, it has been refunded to your payment method."


def render_invoice(order: Order, number: str, issued_at: datetime) -> str:
    """Return the invoice of an order under its number, dated `issued_at` (UTC)."""
    return _page(order, order.lines, kind="Invoice", number=number, issued=_date(issued_at), total=order.total, remark=_PAID)


def render_credit_note(order: Order, correction: Correction, number: str) -> str:
    """Return the credit note for a correction of an order's invoice."""
    products = {line.sku: line for line in order.lines}
    lines = tuple(replace(products[line.sku], quantity=line.quantity) for line in correction.lines)
    corrects = f"\n<dt>For invoice</dt><dd>{escape(order.invoice or '')}</dd>"
    issued = _date(correction.since)
    return _page(
        order, lines, kind="Credit note", number=number, issued=issued, total=correction.amount, remark=_CREDITED, corrects=corrects
    )


def _page(order: Order, lines: Iterable[Line], *, number: str, total: Money, corrects: str = "", **words: str) -> str:
    address = order.shipping_address
    return _PAGE.substitute(
        words,
        number=escape(number),
        order_id=escape(order.order_id),
        ordered=_date(order.placed_at) if order.placed_at else words["issued"],
        corrects=corrects,
        name=escape(address.name),
        street="<br>".join(escape(line) for line in (address.street, address.street2) if line),
        city=escape(" ".join(part for part in (address.postal_code, address.city, address.region) if part)),
        country=escape(address.country),
        lines="\n".join(map(_line, lines)),
        total=escape(format_money(total)),
    )


def _line(line: Line) -> str:
    return _LINE.substitute(
        name=escape(line.name),
        sku=escape(line.sku),
        quantity=line.quantity,
        price=escape(format_money(line.unit_price)),
        amount=escape(format_money(line.unit_price.times(line.quantity))),
    )


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
