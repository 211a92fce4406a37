"""The operations on invoices and credit notes, and their problems."""

from typing import Any

from devtools.checks.openapi.parts import problem_answers, ref
from devtools.checks.openapi.problems import GENERAL, READING, Problem

INVOICING = (
    Problem("invoice-not-found", 404, "Invoice not found", "invoices are issued soon after the order is confirmed; try again later"),
)
CREDITING = (Problem("credit-note-not-found", 404, "Credit note not found", "the order's events list its credit notes"),)


def get_invoice() -> dict[str, Any]:
    return {
        "operationId": "readInvoice",
        "tags": ["orders"],
        "summary": "Get the invoice of an order",
        "parameters": [ref("parameters", "CorrelationId")],
        "responses": {"200": html_page("The invoice")} | problem_answers(*READING, *INVOICING, *GENERAL),
    }


def get_credit_note() -> dict[str, Any]:
    return {
        "operationId": "readCreditNote",
        "tags": ["orders"],
        "summary": "Get a credit note of an order",
        "parameters": [ref("parameters", "CorrelationId")],
        "responses": {"200": html_page("The credit note")} | problem_answers(*READING, *CREDITING, *GENERAL),
    }


def html_page(what: str) -> dict[str, Any]:
    return {
        "description": f"{what} as an HTML page without external resources.",
        "headers": {"X-Correlation-Id": ref("headers", "CorrelationId")},
        "content": {"text/html": {"schema": {"type": "string"}}},
    }
