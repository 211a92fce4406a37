"""A stack that the restore tools rebuild from the order log of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from devtools.ops.rebuild import Rebuild, Result
from devtools.ops.restore import Restore
from tests.fakes.aws.environment import Aws
from tests.fakes.aws.ses import FakeSes
from tests.restore.comparison import Audit
from tests.restore.stack import RESTORED, StackInMemory, empty_aws


class Rebuilt:
    """An empty stack beside the table into which DynamoDB restored the log."""

    def __init__(self, original: Aws, folder: Path, aws: Aws | None = None) -> None:
        """Start with the catalogue and the units ever received, which no event records."""
        self.aws = aws or empty_aws()
        self.emails = FakeSes()
        self.stack = StackInMemory(self.aws)
        self._folder = folder
        self.lend()
        self.aws.dynamodb.seed(RESTORED, *original.dynamodb.each("OrderLog"))
        self.aws.dynamodb.seed("Catalogue", *original.dynamodb.each("Catalogue"))
        self.aws.dynamodb.seed("Stock", *map(_received, original.dynamodb.each("Stock")))

    def lend(self) -> None:
        """Give the functions the services of this stack."""
        self.aws.lend(ses=self.emails)

    def restore(self, name: str = "restore") -> Restore:
        """Return the tool that copies the restored log."""
        return Restore(self.stack.target, "OrderLog", RESTORED, self._folder / f"{name}.json", 1)

    def rebuild(self, segments: int = 2) -> Result:
        return Rebuild(self.stack.target, self._folder / "rebuild.json", segments).run()

    @property
    def effects(self) -> list[object]:
        """Side effects of the stack: published events, messages, emails, started workflows."""
        published = [*self.aws.events.entries, *self.aws.kinesis.records, *self.aws.sns.published]
        return [*published, *self.aws.sqs.sent, *self.aws.stepfunctions.started, *self.emails.sent]


def audit(stack: StackInMemory) -> Audit:
    """Return a function that audits the ledger of a stack and returns its balances."""

    def balances() -> dict[str, Any]:
        stack.aws.lend(ses=FakeSes())
        return stack.invoke("LedgerAudit", {"open": True})["balances"]

    return balances


def _received(row: Any) -> Any:
    units = sum(int(row[name]["N"]) for name in ("available", "reserved", "shipped") if name in row)
    return {"sku": row["sku"], "available": {"N": str(units)}, "reserved": {"N": "0"}, "shipped": {"N": "0"}}
