"""Posts the entries of test orders, falsifies them, and audits the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ledger.audit import AuditReport, LedgerAudit
from ledger.balance_store import Balances
from ledger.domain import posting_rules
from ledger.domain.events import Difference
from ledger.handlers.audit_ledger import BALANCES, ENTRIES, LOG
from orderflow.domain.events import Event, encode
from tests.fakes.aws.dynamodb import FakeDynamoDB
from tests.support.orders import POSTED_EVENTS, STATES, history

FEES = posting_rules.Fees(140, {"EUR": 25})
POSTED = datetime(2026, 1, 15, 10, 40, tzinfo=UTC)
HOUR_END = datetime(2026, 1, 15, 11, 15, tzinfo=UTC)


def add_order(
    database: FakeDynamoDB, state: str, order_id: str, *, posted_at: datetime = POSTED, without: Sequence[str] = ()
) -> list[Event]:
    """Append an order to the log and post its entries, except those of the event types `without`."""
    happened = history(*STATES[state], order_id=order_id)
    rows = [
        {
            "order_id": {"S": order_id},
            "version": {"N": str(one.order_version)},
            "event": {"S": encode(one).decode()},
            "type": {"S": one.type},
        }
        for one in happened
    ]
    database.seed("OrderLog", *rows)
    for one in happened:
        if one.type in POSTED_EVENTS and one.type not in without:
            ENTRIES.post(posting_rules.entry_for(one, FEES), posted_at)
    return happened


def audited(now: datetime = HOUR_END) -> tuple[AuditReport, list[Difference], dict[str, Balances]]:
    """Audit the complete hours; return the report, the reported differences and the closed balances."""
    reported: list[Difference] = []
    audit = LedgerAudit(ENTRIES, BALANCES, LOG, reported.extend)
    report = audit.audit(now)
    return report, reported, audit.closed_balances(report)


def audited_with_open(now: datetime) -> tuple[AuditReport, dict[str, Balances]]:
    """Audit the complete hours and include the open ones; return the report and the balances of all entries."""
    audit = LedgerAudit(ENTRIES, BALANCES, LOG, lambda _: None)
    report = audit.audit(now)
    return report, audit.include_open(report, now)


def falsify(database: FakeDynamoDB, event_id: str, **accounts: int) -> None:
    """Change an entry's postings by these amounts."""
    row = next(row for row in database.items("LedgerEntries") if row["event_id"]["S"] == event_id)
    for posting in row["postings"]["L"]:
        by = accounts.pop(posting["M"]["account"]["S"], 0)
        posting["M"]["amount"] = {"N": str(int(posting["M"]["amount"]["N"]) + by)}
    database.seed("LedgerEntries", row)


def remove(database: FakeDynamoDB, event_id: str) -> None:
    """Delete an entry."""
    row = next(row for row in database.items("LedgerEntries") if row["event_id"]["S"] == event_id)
    database.client.delete_item(TableName="LedgerEntries", Key={"order_id": row["order_id"], "event_id": row["event_id"]})


def nonzero(balances: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    return {currency: {account: balance for account, balance in accounts.items() if balance} for currency, accounts in balances.items()}
