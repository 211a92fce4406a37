"""Rebuild of the rows and documents of issued invoices."""

from __future__ import annotations

from typing import Any

import pytest

from invoices import issuing
from invoices.handlers import issue_invoices, rebuild_invoices
from invoices.invoice_store import NumberTaken
from tests.conftest import Aws
from tests.support import samples
from tests.support.prepared import an_order, prepare


@pytest.fixture
def invoiced(aws: Aws) -> Aws:
    """An order with an invoice."""
    an_order(issue_invoices.LOG, "ord_1").confirmed()
    assert not issuing.errors(issuing.issue(issue_invoices.STORES, ["ord_1"]))
    return aws


def lose_row(aws: Aws) -> dict[str, Any]:
    [row] = aws.dynamodb.items("Invoices")
    aws.dynamodb.client.delete_item(TableName="Invoices", Key={name: row[name] for name in ("series", "position")})
    return row


@pytest.mark.parametrize("name", samples.names("invoices/rebuild_invoices"))
def test_samples_have_their_answers(name: str, aws: Aws, context: Any) -> None:
    prepare(issue_invoices.LOG, "ord_0000000000invoiceconfirmed")
    samples.assert_answer(rebuild_invoices.handler, name, context)


def test_lost_row_and_document_are_written_again(invoiced: Aws, context: Any) -> None:
    row, documents = lose_row(invoiced), dict(invoiced.s3.objects)
    invoiced.s3.objects.clear()
    assert rebuild_invoices.handler({"orders": ["ord_1"]}, context) == {"outcome": "rebuilt", "documents": 1}
    assert invoiced.dynamodb.items("Invoices") == [row]
    assert invoiced.s3.objects == documents


def test_existing_document_is_not_overwritten(invoiced: Aws, context: Any) -> None:
    [place] = invoiced.s3.objects
    invoiced.s3.objects[place] = b"as it was printed"
    rebuild_invoices.handler({"orders": ["ord_1"]}, context)
    assert invoiced.s3.objects == {place: b"as it was printed"}


def test_number_of_another_order_is_an_error(invoiced: Aws, context: Any) -> None:
    invoiced.dynamodb.seed("Invoices", {**lose_row(invoiced), "order_id": {"S": "ord_2"}})
    with pytest.raises(NumberTaken, match="belongs to ord_2, not to ord_1"):
        rebuild_invoices.handler({"orders": ["ord_1"]}, context)
