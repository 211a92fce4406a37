"""Every confirmed order gets one invoice; numbers have no gap and no double, whoever is at work at the same time."""

from __future__ import annotations

import re
import threading
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from invoices import document, issue, read
from orderflow.events import Address, InvoiceIssued, Line
from orderflow.money import Money
from tests.support import clients, orders, samples
from tests.support.aws import Aws
from tests.support.prepared import PREPARED, prepare

CONFIRM = ("inventory.reserve", "fraud.screen", "payments.authorize", "orders.confirm")
FINISHED = {"batchItemFailures": []}


def numbers(aws: Aws) -> dict[str, str]:
    """Return which order has which number, after making sure that log, table and bucket say the same."""
    rows = aws.dynamodb.items("Invoices")
    found = {row["order_id"]["S"]: row["number"]["S"] for row in rows}
    assert len(found) == len(rows)
    assert [int(row["position"]["N"]) for row in rows] == list(range(1, len(rows) + 1))
    for order_id, number in found.items():
        (event,) = [event.data for event in issue.LOG.history(order_id) if isinstance(event.data, InvoiceIssued)]
        assert event.number == number
        text = aws.s3.objects["InvoiceDocuments", event.document].decode()
        assert number in text
        assert order_id in text
    return found


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invoices.issuing.time.sleep", lambda _: None)
    monkeypatch.setattr("orderflow.log.time.sleep", lambda _: None)


class TestNumbers:
    def test_they_are_given_in_turn_and_once_for_an_order(self, aws: Aws, context: Any) -> None:
        names = [f"ord_{number}" for number in range(3)]
        for name in names:
            prepare(issue.LOG, name, *CONFIRM)
        assert issue.handler(samples.waking(*names, *names), context) == FINISHED
        year = issue.LOG.load("ord_0").confirmed_at
        assert year
        assert numbers(aws) == {f"ord_{number}": f"{year.year}-{number + 1:06}" for number in range(3)}

    def test_an_order_that_was_cancelled_before_gets_none(self, aws: Aws, context: Any) -> None:
        prepare(issue.LOG, "ord_1", "customer.cancels", "orders.close")
        assert issue.handler(samples.waking("ord_1"), context) == FINISHED
        assert aws.dynamodb.items("Invoices") == []
        assert aws.s3.objects == {}

    def test_an_order_that_is_not_confirmed_comes_back(self, aws: Aws, context: Any) -> None:
        prepare(issue.LOG, "ord_1", *CONFIRM[:3])
        assert issue.handler(samples.waking("ord_1"), context) == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
        assert aws.dynamodb.items("Invoices") == []

    def test_a_number_is_taken_by_writing_the_invoice_under_it(self, aws: Aws) -> None:
        prepare(issue.LOG, "ord_1", *CONFIRM)
        written: list[str] = []

        def note(operation: str, given: Any) -> None:
            if operation == "TransactWriteItems":
                written.extend(next(iter(item.values()))["TableName"] for item in given["TransactItems"])

        aws.dynamodb.before = note
        issue.issue("ord_1")
        assert sorted(written) == ["Invoices", "OrderLog"]

    def test_what_an_older_version_counted_by_is_no_invoice(self, aws: Aws) -> None:
        prepare(issue.LOG, "ord_1", *CONFIRM)
        prepare(issue.LOG, "ord_2", *CONFIRM)
        year = (issue.LOG.load("ord_1").confirmed_at or orders.START).year
        counter = {"series": {"S": str(year)}, "position": {"N": "0"}, "last": {"N": "0"}}
        aws.dynamodb.seed("Invoices", counter)
        issue.issue("ord_1")
        issue.issue("ord_2")
        assert aws.dynamodb.items("Invoices")[0] == counter
        assert [item["number"]["S"] for item in aws.dynamodb.items("Invoices")[1:]] == [f"{year}-000001", f"{year}-000002"]

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=5))
    def test_no_gap_and_no_double_whoever_comes_in_between(self, meetings: list[tuple[int, int]]) -> None:
        """Before the n-th call of a worker another one issues an invoice, of another order or of the same."""
        aws = Aws()
        aws.lend()
        names = [f"ord_{number}" for number in range(4)]
        for name in names:
            prepare(issue.LOG, name, *CONFIRM)
        made, left = 0, sorted(meetings)

        def meet(_operation: str, _given: Any) -> None:
            nonlocal made
            made += 1
            if left and made > left[0][0]:
                issue.issue(names[left.pop(0)[1]])

        aws.dynamodb.before = aws.s3.before = meet
        issue.issue(names[0])
        aws.dynamodb.before = aws.s3.before = None
        for name in names:
            issue.issue(name)
        assert set(numbers(aws)) == set(names)
        clients.lend()

    def test_no_gap_and_no_double_among_threads(self, aws: Aws) -> None:
        names = [f"ord_{number:02}" for number in range(24)]
        for name in names:
            prepare(issue.LOG, name, *CONFIRM)

        def work(mine: list[str]) -> None:
            for name in mine:
                while True:
                    try:
                        issue.issue(name)
                    except Exception:  # noqa: BLE001, S112 - as the queue does: again
                        continue
                    break

        threads = [threading.Thread(target=work, args=[names[start::3] + names[:3]]) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert set(numbers(aws)) == set(names)

    @pytest.mark.parametrize("name", samples.names("invoices/issue"))
    def test_the_samples_have_the_answers_that_stand_beside_them(self, name: str, aws: Aws, context: Any) -> None:
        for order_id in ("ord_0000000000invoiceconfirmed", "ord_0000000000invoicecancelled"):
            assert order_id in PREPARED
            prepare(issue.LOG, order_id)
        assert issue.handler(samples.sample(name), context) == samples.expected(name)


LOADING = {"src", "href", "srcset", "action", "style"}


class Page(HTMLParser):
    """What a page shows, and what it would load."""

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
    def shown(self) -> str:
        return " ".join(" ".join(self.text).split())


def rendered(lines: tuple[Line, ...], address: Address) -> str:
    """Return the invoice of an order of these lines."""
    placed = replace(orders.PLACED, lines=lines, shipping_address=address)
    return document.render(replace(orders.after(*orders.CONFIRMED), placed=placed), "2026-000001", orders.START)


texts = st.text(min_size=1, max_size=60)


class TestDocument:
    def test_it_says_what_was_bought_for_how_much_and_when(self) -> None:
        shown = Page(document.render(orders.after(*orders.CONFIRMED), "2026-000042", orders.START)).shown
        for part in ("Invoice 2026-000042", orders.ORDER_ID, "2026-01-15", "Blue mug MUG-BLUE", "2", "EUR 12.50", "EUR 25.00", "EUR 29.90"):
            assert part in shown
        assert "Ann Lee" in shown
        assert "ann@example.com" not in shown

    @given(texts, texts, st.integers(1, 999), st.integers(0, 10**9))
    def test_no_text_becomes_a_tag_or_loads_anything(self, name: str, street: str, quantity: int, price: int) -> None:
        line = Line("SKU", name, quantity, Money(price, "JPY"))
        plain = Page(rendered((line,), Address(street, street, street, street, "GB")))
        usual = Page(rendered((orders.MUGS,), orders.ADDRESS))
        assert plain.tags == usual.tags
        assert not plain.loads

    @pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=x>', "$total ${lines}", "&amp;", "</style>"])
    def test_what_looks_like_markup_is_shown_as_it_was_written(self, evil: str) -> None:
        page = Page(rendered((Line("SKU", evil, 1, Money(1, "EUR")),), Address(evil, evil, evil, evil, "GB")))
        assert page.shown.count(evil) == 5
        assert "script" not in page.tags

    def test_nothing_in_it_comes_from_elsewhere(self) -> None:
        text = document.render(orders.after(*orders.CONFIRMED), "2026-000042", orders.START)
        assert not re.search(r"https?:|url\(|@import|<script|<link|<img", text)


class TestReading:
    @pytest.fixture
    def invoiced(self, aws: Aws) -> Aws:
        prepare(issue.LOG, "ord_0000000000invoiceconfirmed")
        prepare(issue.LOG, "ord_000000000000awardconfirmed")
        issue.issue("ord_0000000000invoiceconfirmed")
        return aws

    @pytest.mark.parametrize("name", samples.names("invoices/read"))
    def test_the_samples_have_the_answers_that_stand_beside_them(self, name: str, invoiced: Aws, context: Any) -> None:
        assert samples.agrees(read.handler(samples.sample(name), context), samples.expected(name))

    def test_the_owner_gets_the_document_and_nothing_may_be_loaded_with_it(self, invoiced: Aws, context: Any) -> None:
        answer = read.handler(samples.sample("invoices/read/invoice"), context)
        assert "ord_0000000000invoiceconfirmed" in answer["body"]
        assert answer["headers"]["content-security-policy"].startswith("default-src 'none'")
        assert "no-store" in answer["headers"]["cache-control"]

    @pytest.mark.parametrize("order_id", ["x", "ord_" + "a" * 26, "a" * 3000])
    def test_what_is_not_there_is_not_found(self, invoiced: Aws, context: Any, order_id: str) -> None:
        event = samples.sample("invoices/read/invoice")
        event["pathParameters"]["order_id"] = order_id
        assert read.handler(event, context)["statusCode"] == 404
