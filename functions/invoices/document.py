"""The invoice as a document: one HTML file with everything in it. No AWS here.

It depends on the order and its number alone. Every text that came from outside is escaped, and nothing
is loaded from anywhere.
"""

from __future__ import annotations

from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from orderflow.money import written

if TYPE_CHECKING:
    from orderflow.events import Line
    from orderflow.order import Order

_PAGE = Template(Path(__file__).with_name("invoice.html").read_text("utf-8"))
_LINE = Template(
    '<tr><td>$name<span class="sku">$sku</span></td><td class="number">$quantity</td>'
    '<td class="number">$price</td><td class="number">$amount</td></tr>'
)


def render(order: Order, number: str, issued_at: datetime) -> str:
    """Return the invoice of an order under its number, dated `issued_at` (UTC)."""
    address = order.shipping_address
    return _PAGE.substitute(
        number=escape(number),
        order_id=escape(order.order_id),
        issued=_date(issued_at),
        ordered=_date(order.placed_at or issued_at),
        name=escape(address.name),
        street=escape(address.street),
        city=escape(f"{address.postal_code} {address.city}"),
        country=escape(address.country),
        lines="\n".join(map(_line, order.lines)),
        total=escape(written(order.total)),
    )


def _line(line: Line) -> str:
    return _LINE.substitute(
        name=escape(line.name),
        sku=escape(line.sku),
        quantity=line.quantity,
        price=escape(written(line.unit_price)),
        amount=escape(written(line.unit_price.times(line.quantity))),
    )


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
