"""A stack that is restored and rebuilt from the order log of another one, by the tools that do it on AWS."""

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
        """Begin with the products and their pieces ever received, which no event records."""
        self.aws = aws or empty_aws()
        self.emails = FakeSes()
        self.stack = StackInMemory(self.aws)
        self._folder = folder
        self.lend()
        self.aws.dynamodb.seed(RESTORED, *original.dynamodb.each("OrderLog"))
        self.aws.dynamodb.seed("Catalogue", *original.dynamodb.each("Catalogue"))
        self.aws.dynamodb.seed("Stock", *map(_received, original.dynamodb.each("Stock")))

    def lend(self) -> None:
        """Put these services behind the functions' clients."""
        self.aws.lend(ses=self.emails)

    def restore(self, name: str = "restore") -> Restore:
        """Return the tool that copies the log."""
        return Restore(self.stack.target, "OrderLog", RESTORED, self._folder / f"{name}.json", 1)

    def rebuild(self, segments: int = 2) -> Result:
        """Rebuild everything."""
        return Rebuild(self.stack.target, self._folder / "rebuild.json", segments).run()

    @property
    def effects(self) -> list[object]:
        """Everything that left the stack: published events, messages, emails, started workflows."""
        published = [*self.aws.events.entries, *self.aws.kinesis.records, *self.aws.sns.published]
        return [*published, *self.aws.sqs.sent, *self.aws.stepfunctions.started, *self.emails.sent]


def audit(stack: StackInMemory) -> Audit:
    """Return the trial balance of a stack with the number of entries."""

    def balances() -> dict[str, Any]:
        stack.aws.lend(ses=FakeSes())
        return stack.invoke("LedgerAudit", {"open": True})["balances"]

    return balances


def _received(row: Any) -> Any:
    pieces = sum(int(row[name]["N"]) for name in ("available", "reserved", "shipped") if name in row)
    return {"sku": row["sku"], "available": {"N": str(pieces)}, "reserved": {"N": "0"}, "shipped": {"N": "0"}}
