"""Scheduled, and invoked by operators: audits the ledger and reports every difference."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from ledger import audit_metrics
from ledger.audit import LedgerAudit
from ledger.balance_store import BalanceStore
from ledger.difference_reporter import DifferenceReporter
from ledger.domain import posting_rules
from ledger.entry_store import EntryStore
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented
from orderflow.aws.order_log import OrderLog

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ENTRIES = EntryStore(settings.required("LEDGER_ENTRIES_TABLE"), client("dynamodb"))
BALANCES = BalanceStore(settings.required("LEDGER_BALANCES_TABLE"), client("dynamodb"))
LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
REPORTER = DifferenceReporter(settings.required("EVENT_BUS"), client("events"))
# More than one period shard takes, so that a run ends between two.
_RESERVE_MILLISECONDS = 120_000


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Audit the complete hours; with `open`, include the hours that are not complete."""

    open: bool = False


@instrumented
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Return the audited range, the balances up to its end, and the differences.

    Raises:
        msgspec.ValidationError: the event does not have the fields of a request.
        NotReported: the bus refused some differences.
    """
    wanted, now = msgspec.convert(event, Request), datetime.now(UTC)
    audit = LedgerAudit(ENTRIES, BALANCES, LOG, REPORTER.report)
    report = audit.audit(now, has_time=lambda: context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS)
    balances = audit.include_open(report, now) if wanted.open else audit.closed_balances(report)
    audit_metrics.measure_audit(report, now)
    return {
        "outcome": "different" if report.differences else "proven",
        **msgspec.to_builtins(report),
        "balances": {
            currency: {"accounts": dict(one.accounts), "entries": one.entries, "sum": posting_rules.total(one.accounts)}
            for currency, one in sorted(balances.items())
        },
    }
