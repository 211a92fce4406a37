"""Alerts for an operator: one log line that names the case, and the metric that raises the alarm."""

from __future__ import annotations

from typing import Any

from orderflow.aws.observability import logger, measure_nonzero
from orderflow.domain import metrics


def alert_operator(event: str, **fields: Any) -> None:
    """Log `event`, a name in the past tense, as an error, and count it in the metric PaymentsNeedAttention."""
    logger.error(event, **fields)
    measure_nonzero(metrics.PAYMENTS_NEED_ATTENTION, 1)
