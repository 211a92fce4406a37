"""Running the fulfilment saga of an order; it can be run again from its start at any time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class Workflow:
    """The state machine that fulfils orders."""

    def __init__(self, arn: str, client: SFNClient) -> None:
        """Run the state machine named `arn`."""
        self._arn = arn
        self._client = client

    def start(self, order_id: str, correlation_id: str, event_id: str) -> None:
        """Start an execution for the order; `event_id` is what its log lines name as their cause.

        Raises:
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: it was perhaps not started.
        """
        ids = {"order_id": order_id, "correlation_id": correlation_id, "event_id": event_id}
        self._client.start_execution(stateMachineArn=self._arn, input=json.dumps(ids))
