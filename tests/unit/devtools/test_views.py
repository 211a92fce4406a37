"""How tools render orders, log lines and reports."""

import json
from typing import Any

import pytest
from rich.console import Console, RenderableType

from devtools.cli import UserError
from devtools.local import analytics, api_client, demo_output
from devtools.ops import function_logs, logs, sales_report, timeline, trace
from devtools.ops.function_logs import LogLine


def _event(version: int, kind: str, milliseconds: int, cause: int | None = None, **data: Any) -> dict[str, Any]:
    return {
        "event_id": f"ord_1:{version}",
        "type": kind,
        "occurred_at": f"2026-01-05T10:00:{milliseconds / 1000:09.6f}Z",
        "source": "orders",
        "correlation_id": "cor_1",
        "causation_id": cause and f"ord_1:{cause}",
        "order_id": "ord_1",
        "order_version": version,
        "data": data,
    }


PLACED = _event(1, "OrderPlaced", 0)
RESERVED = _event(2, "StockReserved", 87, 1)
DECLINED = _event(3, "PaymentDeclined", 1200, 2, code="card_declined")
REJECTED = _event(4, "OrderRejected", 1300, 3, reason="payment_declined", details=[])


def _rendered(view: RenderableType) -> str:
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(view)
    return captured.get()


def test_timeline_has_events_with_time_since_the_first() -> None:
    assert timeline.line([PLACED, RESERVED, REJECTED]).plain == "placed ─ reserved 87 ms ─ rejected 1.3 s"


def test_timeline_includes_unknown_events() -> None:
    assert timeline.line([PLACED, _event(2, "OrderTeleported", 5)]).plain == "placed ─ OrderTeleported 5 ms"


def test_timeline_without_events_is_empty() -> None:
    assert timeline.line([]).plain == ""


@pytest.mark.parametrize(
    ("kinds", "state", "ended"),
    [
        ([], "placed", False),
        (["OrderPlaced", "StockReserved"], "placed", False),
        (["OrderPlaced", "OrderHeldForReview"], "held", True),
        (["OrderPlaced", "OrderHeldForReview", "OrderReviewApproved"], "placed", False),
        (["OrderPlaced", "OrderConfirmed"], "confirmed", True),
        (["OrderPlaced", "OrderRejected"], "rejected: ?", True),
        (["OrderPlaced", "OrderConfirmed", "CancellationRequested"], "cancelling", False),
        (["OrderPlaced", "OrderConfirmed", "CancellationRequested", "CancellationFailed"], "confirmed", True),
        (["OrderPlaced", "CancellationRequested", "OrderCancelled"], "cancelled", True),
    ],
)
def test_state_follows_from_events(kinds: list[str], state: str, ended: bool) -> None:
    found = api_client.state_of([_event(version, kind, 0) for version, kind in enumerate(kinds, 1)])
    assert (found, api_client.is_final(found)) == (state, ended)


def test_rejected_state_has_the_reason() -> None:
    assert api_client.state_of([PLACED, REJECTED]) == "rejected: payment_declined"


def test_trace_places_events_below_their_cause() -> None:
    lines = _rendered(trace.tree([PLACED, RESERVED, DECLINED, REJECTED])).splitlines()
    assert lines[0].startswith("ord_1")
    assert [line.index(" ms") for line in lines[1:]] == sorted({line.index(" ms") for line in lines[1:]})
    assert "PaymentDeclined" in lines[3]
    assert "+1113" in lines[3]
    assert "code=card_declined" in lines[3]


def test_trace_keeps_events_without_a_known_cause() -> None:
    text = _rendered(trace.tree([PLACED, RESERVED | {"causation_id": "unknown"}, DECLINED | {"causation_id": "ord_1:3"}]))
    assert "StockReserved" in text
    assert "PaymentDeclined" in text


def test_log_line_is_rendered_with_its_own_fields() -> None:
    text = json.dumps({"level": "INFO", "message": "done", "service": "fraud", "outcome": "approved", "order_id": "ord_1"})
    text = function_logs.rendered(LogLine(0, "fraud-screen", text)).plain
    assert text.startswith("00:00:00.000  fraud-screen  INFO")
    assert "done  outcome=approved  order_id=ord_1" in text
    assert "service" not in text


def test_line_that_is_not_json_is_rendered_unchanged() -> None:
    assert function_logs.rendered(LogLine(0, "f", "Traceback [most] {recent")).plain.endswith("Traceback [most] {recent")


def test_lines_name_an_order_by_either_id() -> None:
    belongs = function_logs.belongs_to("ord_1", "cor_1")
    assert [belongs(LogLine(0, "f", text)) for text in ("x ord_1", "x cor_1", "x ord_2")] == [True, True, False]
    assert not function_logs.belongs_to("ord_1")(LogLine(0, "f", "anything"))


def test_functions_are_found_by_part_of_their_name() -> None:
    names = ["order-pipeline-orders-place", "order-pipeline-fraud-screen"]
    assert logs.matching(names, "") == names
    assert logs.matching(names, "OrdersPlace") == names[:1]
    with pytest.raises(UserError, match="orders-place, fraud-screen"):
        logs.matching(names, "shipping")


def test_results_show_differences() -> None:
    text = _rendered(demo_output.result([demo_output.Row("one", "201", "201", "5 ms"), demo_output.Row("two", "404", "200")])).splitlines()
    assert "✓" in text[1]
    assert "✗" in text[2]


@pytest.mark.parametrize(("found", "right"), [(6, False), (7, True), (9, True)])
def test_uncounted_order_is_a_difference(found: int, right: bool) -> None:
    assert analytics.sales_row(7, found).right is right


def test_bars_are_proportional_to_amounts():
    assert [len(sales_report.bar(amount, 100)) for amount in (100, 50, 0)] == [sales_report.BAR, sales_report.BAR // 2, 0]
    assert sales_report.bar(1, 320) == "▏"
    assert (sales_report.bar(0, 0), sales_report.bar(-5, 10)) == ("", "")


def test_revenue_has_a_row_for_each_minute_and_a_chart_for_each_currency():
    euros, dollars = {"amount": 1250, "currency": "EUR"}, {"amount": 1900, "currency": "USD"}
    sales = [{"period": "2026-01-15T10:30", "revenue": [euros]}, {"period": "2026-01-15T10:31", "revenue": [euros, dollars]}]
    rows = [line.split() for line in _rendered(sales_report.revenue(sales)).splitlines()]
    assert [row[:3] for row in rows] == [
        ["10:30", "EUR", "12.50"],
        ["10:31", "EUR", "12.50"],
        ["10:30", "USD", "0.00"],
        ["10:31", "USD", "19.00"],
    ]
