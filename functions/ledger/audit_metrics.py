"""The metrics of a ledger audit, beside the differences that `ledger.difference_reporter` counts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from orderflow.aws.observability import measure, measure_nonzero
from orderflow.domain import metrics

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.audit import AuditReport

# An hourly audit that keeps up is behind by one hour and the delay after which an hour is complete, at most.
LATE = timedelta(hours=2)


def measure_audit(report: AuditReport, now: datetime) -> None:
    """Measure the audited entries, and how far the audit is behind at `now` (UTC) if it is late."""
    measure_nonzero(metrics.LEDGER_ENTRIES_AUDITED, report.entries)
    if report.entries and not report.differences:
        # Beside the entries, so that the share of differences has a value.
        measure(metrics.LEDGER_DIFFERENCES, 0)
    if (behind := now - report.until) > LATE:
        measure_nonzero(metrics.LEDGER_UNPROVEN_SECONDS, behind.total_seconds())
