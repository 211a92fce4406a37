"""Every confirmed order has one invoice, and credit notes; concurrent functions leave no gap and no duplicate number."""

from __future__ import annotations

import json
import re
import threading
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from invoices import issuing
from invoices.domain import document
from invoices.handlers import get_invoice, issue_invoices
from orderflow.domain.commands import Command
from orderflow.domain.events import Address, CreditNoteIssued, InvoiceIssued, Line
from orderflow.domain.money import Money
from tests.fakes.aws import clients
from tests.fakes.aws.dynamodb import client_error
from tests.fakes.aws.environment import Aws
from tests.support import orders, samples
from tests.support.prepared import PREPARED, an_order, place, prepare

FINISHED = {"batchItemFailures": []}


def issue(order_ids: list[str]) -> dict[str, Exception]:
    """Issue the documents of orders; return the errors by order id."""
    return issuing.errors(issuing.issue(issue_invoices.STORES, order_ids))


def invoice(*order_ids: str) -> None:
    """Issue the documents of orders; raise the first error."""
    for error in issue(list(order_ids)).values():
        raise error


def numbers(aws: Aws) -> dict[str, str]:
    """Return the invoice number of each order, after comparing log, table and bucket."""
    rows = aws.dynamodb.items("Invoices")
    found = {row["order_id"]["S"]: row["number"]["S"] for row in rows}
    assert len(found) == len(rows)
    assert [int(row["position"]["N"]) for row in rows] == list(range(1, len(rows) + 1))
    for order_id, number in found.items():
        (event,) = [event.data for event in issue_invoices.LOG.history(order_id) if isinstance(event.data, InvoiceIssued)]
        assert event.number == number
        text = aws.s3.objects["InvoiceDocuments", event.document].decode()
        assert number in text
        assert order_id in text
    return found


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invoices.issuing.time.sleep", lambda _: None)
    monkeypatch.setattr("orderflow.aws.dynamodb.time.sleep", lambda _: None)


class TestNumbers:
    def test_numbers_are_consecutive_and_one_per_order(self, aws: Aws, context: Any) -> None:
        names = [f"ord_{number}" for number in range(3)]
        for name in names:
            an_order(issue_invoices.LOG, name).confirmed()
        assert issue_invoices.handler(samples.order_batch(*names, *names), context) == FINISHED
        year = issue_invoices.LOG.load("ord_0").confirmed_at
        assert year
        assert numbers(aws) == {f"ord_{number}": f"{year.year}-{number + 1:06}" for number in range(3)}

    def test_order_cancelled_before_gets_no_invoice(self, aws: Aws, context: Any) -> None:
        an_order(issue_invoices.LOG, "ord_1").cancelled_by_customer().finalized()
        assert issue_invoices.handler(samples.order_batch("ord_1"), context) == FINISHED
        assert aws.dynamodb.items("Invoices") == []
        assert aws.s3.objects == {}

    def test_unconfirmed_order_is_redelivered(self, aws: Aws, context: Any) -> None:
        an_order(issue_invoices.LOG, "ord_1").authorized()
        assert issue_invoices.handler(samples.order_batch("ord_1"), context) == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
        assert aws.dynamodb.items("Invoices") == []

    def test_number_and_event_are_written_in_one_transaction(self, aws: Aws) -> None:
        an_order(issue_invoices.LOG, "ord_1").confirmed()
        written: list[str] = []

        def note(operation: str, given: Any) -> None:
            if operation == "TransactWriteItems":
                written.extend(next(iter(item.values()))["TableName"] for item in given["TransactItems"])

        aws.dynamodb.before = note
        invoice("ord_1")
        assert sorted(written) == ["Invoices", "OrderLog"]

    def test_counter_of_an_older_version_is_ignored(self, aws: Aws) -> None:
        an_order(issue_invoices.LOG, "ord_1").confirmed()
        an_order(issue_invoices.LOG, "ord_2").confirmed()
        year = (issue_invoices.LOG.load("ord_1").confirmed_at or orders.START).year
        counter = {"series": {"S": str(year)}, "position": {"N": "0"}, "last": {"N": "0"}}
        aws.dynamodb.seed("Invoices", counter)
        invoice("ord_1")
        invoice("ord_2")
        assert aws.dynamodb.items("Invoices")[0] == counter
        assert [item["number"]["S"] for item in aws.dynamodb.items("Invoices")[1:]] == [f"{year}-000001", f"{year}-000002"]

    @settings(max_examples=50)
    @given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=5))
    def test_interleaved_functions_leave_no_gap_and_no_duplicate(self, interruptions: list[tuple[int, int]]) -> None:
        """Before the n-th call, another function issues an invoice of the same or another order."""
        aws = Aws()
        aws.lend()
        names = [f"ord_{number}" for number in range(4)]
        for name in names:
            an_order(issue_invoices.LOG, name).confirmed()
        made, left = 0, sorted(interruptions)

        def interrupt(_operation: str, _given: Any) -> None:
            nonlocal made
            made += 1
            if left and made > left[0][0]:
                invoice(names[left.pop(0)[1]])

        aws.dynamodb.before = aws.s3.before = interrupt
        invoice(names[0])
        aws.dynamodb.before = aws.s3.before = None
        for name in names:
            invoice(name)
        assert set(numbers(aws)) == set(names)
        clients.lend()

    def test_threads_leave_no_gap_and_no_duplicate(self, aws: Aws) -> None:
        names = [f"ord_{number:02}" for number in range(24)]
        for name in names:
            an_order(issue_invoices.LOG, name).confirmed()

        def work(mine: list[str]) -> None:
            for name in mine:
                while True:
                    try:
                        invoice(name)
                    except Exception:  # noqa: BLE001, S112 - retried, as by the queue
                        continue
                    break

        threads = [threading.Thread(target=work, args=[names[start::3] + names[:3]]) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert set(numbers(aws)) == set(names)

    @pytest.mark.parametrize("name", samples.names("invoices/issue_invoices"))
    def test_samples_have_their_documented_answers(self, name: str, aws: Aws, context: Any) -> None:
        for order_id in ("ord_0000000000invoiceconfirmed", "ord_0000000000invoicecancelled"):
            assert order_id in PREPARED
            prepare(issue_invoices.LOG, order_id)
        assert issue_invoices.handler(samples.sample(name), context) == samples.expected(name)


class TestBatches:
    NAMES = tuple(f"ord_{number:02}" for number in range(issuing.MAX_ORDERS))

    @pytest.fixture
    def confirmed(self, aws: Aws) -> Aws:
        for name in self.NAMES:
            an_order(issue_invoices.LOG, name).confirmed()
        aws.dynamodb.calls.clear()
        return aws

    def test_batch_is_numbered_in_one_transaction(self, confirmed: Aws) -> None:
        requests: list[Any] = []
        confirmed.dynamodb.before = lambda operation, given: requests.append(given) if given.get("TableName") == "Invoices" else None
        invoice(*self.NAMES)
        assert confirmed.dynamodb.calls == {"Query": len(self.NAMES) + 1, "TransactWriteItems": 1}
        assert [(one["Limit"], one["ScanIndexForward"]) for one in requests] == [(1, False)]
        assert list(numbers(confirmed)) == list(self.NAMES)

    def test_more_orders_than_a_transaction_takes_are_split(self, aws: Aws) -> None:
        names = [f"ord_{number:03}" for number in range(2 * issuing.MAX_ORDERS + 3)]
        for name in names:
            an_order(issue_invoices.LOG, name).confirmed()
        aws.dynamodb.calls.clear()
        invoice(*names)
        assert aws.dynamodb.calls["TransactWriteItems"] == 3
        assert set(numbers(aws)) == set(names)

    def test_failed_order_does_not_fail_its_neighbors(self, confirmed: Aws, context: Any) -> None:
        prepare(issue_invoices.LOG, "ord_placed")
        poison = samples.order_batch("ord_poison")["Records"][0] | {"messageId": "poison", "body": "poison"}
        event = samples.order_batch(*self.NAMES[:3], "ord_placed", "ord_none", self.NAMES[3], self.NAMES[0])
        event["Records"].insert(1, poison)
        answer = issue_invoices.handler(event, context)
        failed = {str(one["itemIdentifier"]) for one in answer["batchItemFailures"]}
        assert failed == {
            "poison",
            *(one["messageId"] for one in event["Records"] if "ord_placed" in one["body"] or "ord_none" in one["body"]),
        }
        assert set(numbers(confirmed)) == set(self.NAMES[:4])

    def test_failed_document_leaves_no_gap(self, confirmed: Aws) -> None:
        def refuse(_: str, given: Any) -> None:
            if given["Key"].startswith(self.NAMES[2]):
                raise client_error("PutObject", "SlowDown", "Please reduce your request rate.")

        confirmed.s3.before = refuse
        assert set(issue(list(self.NAMES[:5]))) == {self.NAMES[2]}
        confirmed.s3.before = None
        assert set(numbers(confirmed)) == {*self.NAMES[:2], *self.NAMES[3:5]}

    def test_unwritable_order_does_not_fail_its_neighbors(self, confirmed: Aws) -> None:
        def refuse(operation: str, given: Any) -> None:
            if operation == "TransactWriteItems" and self.NAMES[2] in json.dumps(given):
                raise client_error("TransactWriteItems", "ValidationException", "Item size has exceeded the maximum allowed size")

        confirmed.dynamodb.before = refuse
        assert set(issue(list(self.NAMES[:5]))) == {self.NAMES[2]}
        confirmed.dynamodb.before = None
        assert set(numbers(confirmed)) == {*self.NAMES[:2], *self.NAMES[3:5]}

    @settings(max_examples=30)
    @given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3), st.integers(1, 4)), max_size=4))
    def test_concurrent_batches_leave_no_gap_and_no_duplicate(self, interruptions: list[tuple[int, int, int]]) -> None:
        """Before the n-th call, another function issues invoices of an overlapping set of orders."""
        aws = Aws()
        aws.lend()
        names = [f"ord_{number}" for number in range(8)]
        for name in names:
            an_order(issue_invoices.LOG, name).confirmed()
        made, left = 0, sorted(interruptions)

        def interrupt(_operation: str, _given: Any) -> None:
            nonlocal made
            made += 1
            if left and made > left[0][0]:
                _, begin, number = left.pop(0)
                issue(names[begin : begin + number])

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(issuing.time, "sleep", lambda _: None)
            # Sequential, so that the calls have an order.
            patch.setattr(issue_invoices, "STORES", replace(issue_invoices.STORES, each=map))
            aws.dynamodb.before = aws.s3.before = interrupt
            issue(names[:5])
            aws.dynamodb.before = aws.s3.before = None
            invoice(*names)
        assert set(numbers(aws)) == set(names)
        clients.lend()


def record(*commands: Command, order_id: str = "ord_1") -> None:
    """Record further commands for a placed order."""
    order = issue_invoices.LOG.load(order_id)
    for command in commands:
        order = issue_invoices.LOG.record(order, command, source="test").order


def placed(order_id: str = "ord_1") -> None:
    """Place an order with the lines of tests.support.orders."""
    place(issue_invoices.LOG, order_id, lines={line.sku: line.quantity for line in orders.LINES})
    record(*orders.CONFIRMED[1:], order_id=order_id)


def credited(aws: Aws, order_id: str = "ord_1") -> list[tuple[str, str, int]]:
    """Return number, cause and amount of the order's credit notes, after comparing table and bucket."""
    notes = [event.data for event in issue_invoices.LOG.history(order_id) if isinstance(event.data, CreditNoteIssued)]
    rows = {item["number"]["S"]: item for item in aws.dynamodb.items("Invoices") if item["series"]["S"].startswith("CN-")}
    for note in notes:
        row = rows[note.number]
        assert (row["order_id"]["S"], row["document"]["S"], int(row["amount"]["N"])) == (order_id, note.document, note.amount.amount)
        text = aws.s3.objects["InvoiceDocuments", note.document].decode()
        assert all(part in text for part in (note.number, note.invoice, order_id))
    return [(note.number[7:], note.cause, note.amount.amount) for note in notes]


class TestCreditNotes:
    def test_cancelled_invoiced_order_is_credited_in_full(self, aws: Aws, context: Any) -> None:
        placed()
        invoice("ord_1")
        record(orders.CANCEL, orders.RECALL, orders.VOID, orders.RELEASE, orders.COMPLETE_CANCELLATION)
        for _ in range(2):
            assert issue_invoices.handler(samples.order_batch("ord_1", "ord_1"), context) == FINISHED
        assert credited(aws) == [("-000001", "cancelled", 2990)]

    def test_order_cancelled_before_its_invoice_has_no_documents(self, aws: Aws) -> None:
        placed()
        record(orders.CANCEL, orders.RECALL, orders.VOID, orders.RELEASE, orders.COMPLETE_CANCELLATION)
        invoice("ord_1")
        assert aws.dynamodb.items("Invoices") == []

    def test_cancellation_and_return_are_credited_once_each(self, aws: Aws) -> None:
        placed()
        rest = (orders.CAPTURE_PART, orders.VOID, orders.RELEASE, orders.COMPLETE_CANCELLATION)
        record(orders.SHIP, orders.DISPATCH_PART, orders.CANCEL, orders.RECALL, *rest)
        invoice("ord_1")
        assert credited(aws) == [("-000001", "cancelled", 1740)]
        record(orders.DELIVER_PART, orders.RETURN, orders.RECEIVE_RETURN)
        invoice("ord_1")
        assert len(credited(aws)) == 1
        record(orders.REFUND_RETURN)
        invoice("ord_1")
        invoice("ord_1")
        assert credited(aws) == [("-000001", "cancelled", 1740), ("-000002", "return:ret_1", 1250)]

    def test_late_invoice_and_credit_note_are_issued_by_one_message(self, aws: Aws) -> None:
        placed()
        record(*orders.PAID[len(orders.CONFIRMED) :], orders.LOSE_PART, orders.REFUND_LOST)
        invoice("ord_1")
        order = issue_invoices.LOG.load("ord_1")
        assert order.invoice
        assert credited(aws) == [("-000001", "parcel:parcel_1", 1250)]

    def test_credit_notes_have_their_own_series_without_gap(self, aws: Aws) -> None:
        names = [f"ord_{number}" for number in range(3)]
        for name in names:
            placed(name)
            invoice(name)
            record(orders.CANCEL, orders.RECALL, orders.VOID, orders.RELEASE, orders.COMPLETE_CANCELLATION, order_id=name)
        for name in reversed(names):
            invoice(name)
        assert [credited(aws, name)[0][0] for name in names] == ["-000003", "-000002", "-000001"]
        assert {item["position"]["N"] for item in aws.dynamodb.items("Invoices")} == {"1", "2", "3"}

    def test_credit_note_shows_its_invoice_and_amount(self) -> None:
        order = orders.after(*orders.DELIVERED, orders.INVOICE, orders.RETURN, orders.RECEIVE_RETURN, orders.REFUND_RETURN)
        (correction,) = order.corrections
        page = Page(document.render_credit_note(order, correction, "CN-2026-000007"))
        for part in ("Credit note CN-2026-000007", "For invoice 2026-000001", orders.ORDER_ID, "Blue mug MUG-BLUE 1", "EUR 12.50"):
            assert part in page.visible
        assert "EUR 29.90" not in page.visible
        assert not page.loads

    def test_only_the_owner_reads_the_credit_notes_of_an_order(self, aws: Aws, context: Any) -> None:
        placed(orders.ORDER_ID)
        invoice(orders.ORDER_ID)
        record(orders.CANCEL, orders.RECALL, orders.VOID, orders.RELEASE, orders.COMPLETE_CANCELLATION, order_id=orders.ORDER_ID)
        invoice(orders.ORDER_ID)
        (note,) = (one.credit_note for one in issue_invoices.LOG.load(orders.ORDER_ID).corrections)
        event = samples.sample("invoices/get_invoice/no-credit-note")

        def answer(order_id: str, number: Any, customer: str = "ann") -> Any:
            event["pathParameters"] = {"order_id": order_id, "number": number}
            event["requestContext"]["authorizer"]["customer_id"] = customer
            return get_invoice.handler(event, context)

        found = answer(orders.ORDER_ID, note)
        assert (found["statusCode"], note in found["body"]) == (200, True)
        assert found["headers"]["content-disposition"] == f'inline; filename="credit-note-{note}.html"'
        assert answer(orders.ORDER_ID, note, "bob")["statusCode"] == 404
        assert all(answer(orders.ORDER_ID, number)["statusCode"] == 404 for number in ("2026-000001", "../ord_2/CN-2026-000001", ""))


class Page(HTMLParser):
    """The visible text of a page, its tags, and the URLs that it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [
            value or "" for name, value in attrs if name in {"src", "href", "srcset", "action", "style"} or name.startswith("on")
        ]

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def visible(self) -> str:
        return " ".join(" ".join(self.text).split())


def rendered(lines: tuple[Line, ...], address: Address) -> str:
    """Return the invoice of an order with these lines."""
    placed = replace(orders.PLACED, lines=lines, shipping_address=address)
    return document.render_invoice(replace(orders.after(*orders.CONFIRMED), placed=placed), "2026-000001", orders.START)


texts = st.text(min_size=1, max_size=60)


class TestDocument:
    def test_invoice_shows_products_prices_and_date(self) -> None:
        visible = Page(document.render_invoice(orders.after(*orders.CONFIRMED), "2026-000042", orders.START)).visible
        for part in (
            "Invoice 2026-000042",
            orders.ORDER_ID,
            "2026-01-15",
            "Blue mug MUG-BLUE",
            "2",
            "EUR 12.50",
            "EUR 25.00",
            "EUR 29.90",
        ):
            assert part in visible
        assert "Ann Lee" in visible
        assert "ann@example.com" not in visible

    @given(texts, texts, st.integers(1, 999), st.integers(0, 10**9))
    def test_no_text_becomes_a_tag_or_an_address(self, name: str, street: str, quantity: int, price: int) -> None:
        line = Line("SKU", name, quantity, Money(price, "JPY"))
        plain = Page(rendered((line,), Address(street, street, street, street, "GB")))
        usual = Page(rendered((orders.MUGS,), orders.ADDRESS))
        assert plain.tags == usual.tags
        assert not plain.loads

    @pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=x>', "$total ${lines}", "&amp;", "</style>"])
    def test_markup_in_texts_is_escaped(self, evil: str) -> None:
        page = Page(rendered((Line("SKU", evil, 1, Money(1, "EUR")),), Address(evil, evil, evil, evil, "GB")))
        assert page.visible.count(evil) == 5
        assert "script" not in page.tags

    def test_invoice_references_no_external_resource(self) -> None:
        text = document.render_invoice(orders.after(*orders.CONFIRMED), "2026-000042", orders.START)
        assert not re.search(r"https?:|url\(|@import|<script|<link|<img", text)


class TestReading:
    @pytest.fixture
    def invoiced(self, aws: Aws) -> Aws:
        prepare(issue_invoices.LOG, "ord_0000000000invoiceconfirmed")
        prepare(issue_invoices.LOG, "ord_000000000000awardconfirmed")
        invoice("ord_0000000000invoiceconfirmed")
        return aws

    @pytest.mark.parametrize("name", samples.names("invoices/get_invoice"))
    def test_samples_have_their_documented_answers(self, name: str, invoiced: Aws, context: Any) -> None:
        assert samples.agrees(get_invoice.handler(samples.sample(name), context), samples.expected(name))

    def test_document_is_served_with_a_strict_content_policy(self, invoiced: Aws, context: Any) -> None:
        answer = get_invoice.handler(samples.sample("invoices/get_invoice/invoice"), context)
        assert "ord_0000000000invoiceconfirmed" in answer["body"]
        assert answer["headers"]["content-security-policy"].startswith("default-src 'none'")
        assert "no-store" in answer["headers"]["cache-control"]

    @pytest.mark.parametrize("order_id", ["x", "ord_" + "a" * 26, "a" * 3000])
    def test_unknown_order_is_not_found(self, invoiced: Aws, context: Any, order_id: str) -> None:
        event = samples.sample("invoices/get_invoice/invoice")
        event["pathParameters"]["order_id"] = order_id
        assert get_invoice.handler(event, context)["statusCode"] == 404
