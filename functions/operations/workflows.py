"""Starts a workflow for an order: the fulfilment saga or the review. Both may be started again at any time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class Workflow:
    """A state machine that works on one order."""

    def __init__(self, arn: str, client: SFNClient) -> None:
        """Start executions of the state machine `arn`."""
        self._arn = arn
        self._client = client

    def start(self, order_id: str, correlation_id: str, event_id: str) -> None:
        """Start an execution for the order; its log lines name `event_id` as their cause.

        Raises:
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: it may not have started.
        """
        ids = {"order_id": order_id, "correlation_id": correlation_id, "event_id": event_id}
        self._client.start_execution(stateMachineArn=self._arn, input=json.dumps(ids))
