"""Scheduled, and invoked by people: proves the books, and tells of every difference on the log, as a metric and on the bus."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools.metrics import MetricUnit

from ledger.audit import LedgerAudit
from ledger.balance_store import BalanceStore
from ledger.domain import posting_rules
from ledger.domain.events import SOURCE, Difference, LedgerDifferenceFound, difference_found
from ledger.entry_store import EntryStore
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import add_nonzero_metric, logger, observed
from orderflow.aws.order_log import OrderLog

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

BUS = settings.required("EVENT_BUS")
ENTRIES = EntryStore(settings.required("LEDGER_ENTRIES_TABLE"), client("dynamodb"))
BALANCES = BalanceStore(settings.required("LEDGER_BALANCES_TABLE"), client("dynamodb"))
LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
_events = client("events")
# An hourly proof that keeps up leaves at most an hour and what it waits for an hour's last entries.
LATE = timedelta(hours=2)
_MAX_ENTRIES = 10
# Of one call: where everything is wrong, a person need not be told a million times.
_MOST_REPORTED = 100
# More than a sheet takes, so that a run ends between two.
_RESERVE_MILLISECONDS = 120_000


class NotReported(RuntimeError):
    """The bus did not take every event; the proof has to run again."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prove what is complete; with `open`, look at what is not complete as well."""

    open: bool = False


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer what was looked at, the balances of it and all before, and what does not add up.

    Raises:
        msgspec.ValidationError: the event is no such request.
        NotReported: the bus did not take what there is to tell.
    """
    wanted = msgspec.convert(event, Request)
    now = datetime.now(UTC)
    prover = LedgerAudit(ENTRIES, BALANCES, LOG, report)
    proof = prover.audit(now, goes_on=lambda: context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS)
    balances = prover.include_open(proof, now) if wanted.open else prover.closed_balances(proof)
    if (unproven := now - proof.until) > LATE:
        add_nonzero_metric("LedgerUnprovenSeconds", MetricUnit.Seconds, unproven.total_seconds())
    return {
        "outcome": "different" if proof.differences else "proven",
        **msgspec.to_builtins(proof),
        "balances": {
            currency: {"accounts": dict(one.accounts), "entries": one.entries, "sum": posting_rules.total(one.accounts)}
            for currency, one in sorted(balances.items())
        },
    }


def report(differences: list[Difference]) -> None:
    """Count differences, log them and put them on the bus.

    Raises:
        NotReported: the bus refused some of them.
    """
    now = datetime.now(UTC)
    add_nonzero_metric("LedgerDifferences", MetricUnit.Count, len(differences))
    for difference in differences[:_MOST_REPORTED]:
        logger.error("the books do not add up", **msgspec.to_builtins(difference))
    if len(differences) > _MOST_REPORTED:
        logger.error("the books do not add up in more places", more=len(differences) - _MOST_REPORTED)
    for batch in batched(differences[:_MOST_REPORTED], _MAX_ENTRIES, strict=False):
        _put([_entry(difference_found(difference, now)) for difference in batch])


def _entry(event: LedgerDifferenceFound) -> PutEventsRequestEntryTypeDef:
    return {
        "EventBusName": BUS,
        "Source": SOURCE,
        "DetailType": event.type,
        "Detail": msgspec.json.encode(event).decode(),
        "Time": event.found_at,
    }


def _put(entries: list[PutEventsRequestEntryTypeDef]) -> None:
    answer = _events.put_events(Entries=entries)
    if answer["FailedEntryCount"]:
        message = f"{answer['FailedEntryCount']} of {len(entries)} differences were not taken by the bus"
        raise NotReported(message)
