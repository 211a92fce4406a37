"""Tools wait for a function as long as it may run: it continues after its caller stopped waiting."""

from __future__ import annotations

import pytest

from devtools import template
from devtools.ops import rebuild, rebuild_view, redrive, sales_report, trial_balance

WAITS = [
    ("OperationsRedrive", redrive.INVOKE_SECONDS),
    ("AnalyticsAggregate", sales_report.AGGREGATE_SECONDS),
    ("AnalyticsAggregate", rebuild.AGGREGATE_SECONDS),
    ("LedgerAudit", trial_balance.INVOKE_SECONDS),
    ("LedgerAudit", rebuild.AUDIT_SECONDS),
    ("InventoryReconcile", rebuild.AUDIT_SECONDS),
    ("OrdersRebuild", rebuild_view.INVOKE_SECONDS),
    *((function, rebuild.INVOKE_SECONDS) for function in (*rebuild.ORDER_FUNCTIONS, *rebuild.EVENT_CONSUMERS, *rebuild.ORDER_CONSUMERS)),
]


@pytest.mark.parametrize(("function", "seconds"), WAITS)
def test_tool_waits_longer_than_its_function_may_run(function: str, seconds: float) -> None:
    timeout = template.source()["Resources"][function]["Properties"]["Timeout"]
    assert seconds > timeout
