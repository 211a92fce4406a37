"""Alerts for an operator: one log line that names the case, and the metric that raises the alarm."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from orderflow.aws.observability import add_nonzero_metric, logger


def alert_operator(event: str, **fields: Any) -> None:
    """Log `event`, a name in the past tense, as an error, and count it in the metric PaymentsNeedAttention."""
    logger.error(event, **fields)
    add_nonzero_metric("PaymentsNeedAttention", MetricUnit.Count, 1)
