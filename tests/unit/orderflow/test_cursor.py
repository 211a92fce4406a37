"""A cursor decodes to the position that it was issued for; any other text is answered with 400."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orderflow.aws import cursor
from orderflow.aws.cursor import Position
from orderflow.aws.dynamodb import timestamp
from orderflow.aws.http import Problem
from orderflow.domain.money import Money
from orders.handlers import list_orders
from orders.summaries import Row
from reviews.handlers import list_reviews
from tests.support import samples

ORDER_ID = "ord_" + "a" * 26
MOMENT = "2026-01-15T00:00:00.000000Z"
# Handler, sample event, query, and the scope that the list's cursors are bound to.
LISTS: list[tuple[Any, str, dict[str, str], tuple[str | None, ...]]] = [
    (list_orders, "orders/list_orders/first-page", {}, ("orders", "bob", None)),
    (list_orders, "orders/list_orders/first-page", {"state": "held"}, ("orders", "bob", "held")),
    (list_reviews, "reviews/list_reviews/first-page", {}, ("reviews",)),
]
order_ids = st.from_regex(r"ord_[a-z0-9]{26}", fullmatch=True)
moments = st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC)).map(timestamp)  # noqa: DTZ001 - hypothesis adds the zone


def forge(document: bytes, *scope: str | None) -> str:
    """Return a cursor for any bytes, as a client can forge it: the digest needs no secret."""
    digest = cursor._digest(document, scope)  # pyright: ignore[reportPrivateUsage]
    return base64.urlsafe_b64encode(digest + document).decode().rstrip("=")


def get_page(module: Any, sample: str, context: Any, **query: str) -> tuple[int, dict[str, Any]]:
    event = samples.sample(sample)
    event["queryStringParameters"] = query
    answer = module.handler(event, context)
    return answer["statusCode"], json.loads(answer["body"])


@given(moments, order_ids, st.text(), st.sampled_from([None, "held"]))
def test_cursor_decodes_to_its_position(moment: str, order_id: str, customer: str, state: str | None) -> None:
    position = Position(moment, order_id)
    text = cursor.encode(position, "orders", customer, state)
    assert cursor.decode(text, "orders", customer, state) == position
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,128}", text)


@pytest.mark.parametrize("scope", [(), ("reviews",), ("orders", "eve", None), ("orders", "ann", "held"), ("orders", "ann", "")])
def test_cursor_of_another_scope_is_refused(scope: tuple[str | None, ...]) -> None:
    text = cursor.encode(Position(MOMENT, ORDER_ID), "orders", "ann", None)
    with pytest.raises(Problem) as refused:
        cursor.decode(text, *scope)
    assert (refused.value.status, refused.value.document["type"]) == (400, "urn:order-pipeline:problem:cursor-invalid")


@pytest.mark.parametrize(
    "document",
    [
        [],
        [MOMENT],
        [MOMENT, ORDER_ID, ORDER_ID],
        [MOMENT, ""],
        ["", ORDER_ID],
        [1, 2],
        [None, ORDER_ID],
        [MOMENT, "ord_1"],
        [MOMENT, ORDER_ID.upper()],
        [MOMENT, ORDER_ID + "\n"],
        [MOMENT, f"{ORDER_ID}#"],
        ["2026-01-15T00:00:00Z", ORDER_ID],
        ["2026-02-30T00:00:00.000000Z", ORDER_ID],
        ["0000-01-01T00:00:00.000000Z", ORDER_ID],
        ["2026-01-15T25:00:00.000000Z", ORDER_ID],
        ["٢٠٢٦-01-15T00:00:00.000000Z", ORDER_ID],
        {"moment": MOMENT, "order_id": ORDER_ID},
        "x",
        None,
    ],
)
def test_forged_position_outside_every_list_is_refused(document: Any) -> None:
    with pytest.raises(Problem, match="no cursor for the first page"):
        cursor.decode(forge(msgspec.json.encode(document), "orders"), "orders")


@pytest.mark.parametrize(("module", "sample", "query", "scope"), LISTS)
class TestLists:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(text=st.text(max_size=200))
    @example(text="")
    @example(text="A" * 5000)
    def test_arbitrary_text_is_never_a_5xx(
        self, aws: Any, context: Any, module: Any, sample: str, query: Any, scope: Any, text: str
    ) -> None:
        status, body = get_page(module, sample, context, **query, cursor=text)
        assert (status, body["type"]) == (400, "urn:order-pipeline:problem:cursor-invalid")

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(
        document=st.binary(max_size=80)
        | st.tuples(moments | st.text(max_size=30), order_ids | st.text(max_size=30)).map(msgspec.json.encode)
    )
    @example(document=b'["\xff","\xff"]')
    @example(document=b"[" * 80)
    def test_forged_bytes_are_never_a_5xx(
        self, aws: Any, context: Any, module: Any, sample: str, query: Any, scope: Any, document: bytes
    ) -> None:
        status, body = get_page(module, sample, context, **query, cursor=forge(document, *scope))
        assert status in {200, 400}
        assert status == 200 or body["type"] == "urn:order-pipeline:problem:cursor-invalid"


def test_forged_position_reads_only_the_callers_orders(aws: Any, context: Any) -> None:
    now = datetime(2026, 1, 14, tzinfo=UTC)
    for number, customer in enumerate(("bob", "eve")):
        list_orders.VIEW.put(Row(customer, f"ord_{number:026}", now, "placed", Money(1, "EUR"), 1, 1, now))
    forged = forge(msgspec.json.encode([MOMENT, ORDER_ID]), "orders", "bob", None)
    status, body = get_page(list_orders, "orders/list_orders/first-page", context, cursor=forged)
    assert (status, [order["order_id"] for order in body["orders"]]) == (200, [f"ord_{0:026}"])
