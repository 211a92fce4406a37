"""Reports differences of a ledger audit: a metric, log lines and events on the bus."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import batched
from typing import TYPE_CHECKING

import msgspec

from ledger.domain.events import SOURCE, Difference, LedgerDifferenceFound, difference_found
from orderflow.aws.observability import logger, measure_nonzero
from orderflow.domain import metrics

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

_MAX_ENTRIES = 10
# Of one call: the metric counts all differences, so a damaged ledger needs no million log lines.
_MAX_REPORTED = 100


class NotReported(RuntimeError):
    """The bus refused some events; the audit has to run again."""


class DifferenceReporter:
    """Reports differences on the bus, in the log and as a metric."""

    def __init__(self, bus: str, client: EventBridgeClient) -> None:
        """Put events on the bus named `bus`."""
        self._bus = bus
        self._client = client

    def report(self, differences: list[Difference]) -> None:
        """Count differences, log them and put them on the bus.

        Raises:
            NotReported: the bus refused some of them.
        """
        now = datetime.now(UTC)
        measure_nonzero(metrics.LEDGER_DIFFERENCES, len(differences))
        reported = differences[:_MAX_REPORTED]
        for difference in reported:
            logger.error("ledger_difference_found", **msgspec.to_builtins(difference))
        if len(differences) > len(reported):
            logger.error("further_ledger_differences_found", count=len(differences) - len(reported))
        for batch in batched(reported, _MAX_ENTRIES, strict=False):
            self._put([self._entry(difference_found(difference, now)) for difference in batch])

    def _entry(self, event: LedgerDifferenceFound) -> PutEventsRequestEntryTypeDef:
        return {
            "EventBusName": self._bus,
            "Source": SOURCE,
            "DetailType": event.type,
            "Detail": msgspec.json.encode(event).decode(),
            "Time": event.found_at,
        }

    def _put(self, entries: list[PutEventsRequestEntryTypeDef]) -> None:
        answer = self._client.put_events(Entries=entries)
        if answer["FailedEntryCount"]:
            message = f"the bus refused {answer['FailedEntryCount']} of {len(entries)} differences; run the audit again"
            raise NotReported(message)
