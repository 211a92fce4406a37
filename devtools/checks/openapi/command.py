"""`make openapi`: write the document, or with --check verify that the committed one is current."""

import json
from argparse import Namespace
from typing import Any

from devtools import cli
from devtools.checks.openapi import invoices, operations, order_operations, reviews, undescribed
from devtools.checks.openapi.components import components
from devtools.checks.openapi.parts import ref
from devtools.target import ROOT

DOCUMENT = ROOT / "functions" / "orders" / "openapi.json"
_ORDER: dict[str, Any] = {"parameters": [ref("parameters", "OrderId")]}


def document() -> dict[str, Any]:
    """Return the OpenAPI document: the operations that are described here, and others of the template by their docstrings."""
    described = _described()
    for path, method, module in undescribed.routes(described["paths"]):
        entry = described["paths"].setdefault(path, undescribed.parameters(path))
        entry[method] = undescribed.operation(module)
        if {"name": undescribed.tag(module)} not in described["tags"]:
            described["tags"].append({"name": undescribed.tag(module)})
    return described


def _described() -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Order pipeline",
            "version": "1.0.0",
            "description": "Place orders and follow their fulfilment. Amounts are integer minor units, times are RFC 3339 in UTC.",
        },
        "servers": [{"url": ".", "description": "The stage that served this document."}],
        "security": [{"jwt": []}],
        "tags": [{"name": name} for name in ("products", "orders", "reviews", "loyalty", "analytics", "description")],
        "paths": paths(),
        "components": components(),
    }


def paths() -> dict[str, Any]:
    """Return the operations by path and method."""
    return {
        "/products": {"get": operations.list_products()},
        "/products/{sku}": {"parameters": [ref("parameters", "Sku")], "get": operations.get_product()},
        "/orders": {"get": order_operations.list_orders(), "post": order_operations.place_order()},
        "/orders/{order_id}": _ORDER | {"get": order_operations.get_order()},
        "/orders/{order_id}/events": _ORDER | {"get": order_operations.get_timeline()},
        "/orders/{order_id}/cancellation": _ORDER | {"post": order_operations.cancel_order()},
        "/orders/{order_id}/returns": _ORDER | {"post": order_operations.create_return()},
        "/orders/{order_id}/invoice": _ORDER | {"get": invoices.get_invoice()},
        "/orders/{order_id}/credit-notes/{number}": {
            "parameters": [ref("parameters", "OrderId"), ref("parameters", "CreditNote")],
            "get": invoices.get_credit_note(),
        },
        "/points": {"get": operations.get_points()},
        "/analytics/sales": {"get": operations.get_sales()},
        "/analytics/leaderboard": {"get": operations.get_leaderboard()},
        "/reviews": {"get": reviews.list_reviews()},
        "/reviews/{order_id}/decision": _ORDER | {"post": reviews.decide_review()},
        "/openapi.json": {"get": operations.get_openapi()},
    }


def rendered() -> str:
    """Return the document as it is committed: the same models give the same text."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Namespace) -> None:
    """Write the document, or with --check fail if the committed one is outdated."""
    path = DOCUMENT.relative_to(ROOT)
    text = rendered()
    if not arguments.check:
        DOCUMENT.write_text(text, "utf-8")
        print(f"wrote {path}")
    elif not DOCUMENT.exists() or DOCUMENT.read_text("utf-8") != text:
        raise cli.UserError(f"{path} differs from the models; run `make openapi` and commit it")
