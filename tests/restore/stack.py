"""A stack in memory for the tools of `devtools.ops`: tables by name, functions by logical id."""

from __future__ import annotations

import json
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any, cast

from analytics.store import AnalyticsStore
from devtools import template
from devtools.cli import UserError
from devtools.target import Target
from tests.conftest import ENVIRONMENT
from tests.fakes.aws.dynamodb import FakeDynamoDB, Table
from tests.fakes.aws.environment import TABLES, Aws
from tests.support import runtime

# The table into which DynamoDB restores the log.
RESTORED = "OrderLog-restored"
_LOG = next(table for table in TABLES if table.name == "OrderLog")
_CONTEXT = runtime.context(milliseconds_left=600_000)

type Invoked = Callable[[str], None]


def empty_aws(storage: Callable[[], MutableMapping[Any, Any]] = dict, *, keeps_changes: bool = True) -> Aws:
    """Return empty services with a table for the restored log."""
    database = FakeDynamoDB(*TABLES, Table(RESTORED, _LOG.key, _LOG.indexes), storage=storage, keeps_changes=keeps_changes)
    return Aws(database)


@dataclass
class StackInMemory:
    """The target of a tool: its functions run in this process, on the in-memory services."""

    aws: Aws
    invoked: list[str] = field(default_factory=list[str])
    before: Invoked = lambda _: None
    stack: str = "in-memory"
    local: bool = True

    @cached_property
    def resources(self) -> dict[str, str]:
        """The names of tables, and the ARN of the review workflow, by logical id."""
        return {**{table.name: table.name for table in TABLES}, "Review": ENVIRONMENT["REVIEW_ARN"]}

    @cached_property
    def handlers(self) -> dict[str, str]:
        """The modules of functions by logical id."""
        resources = template.source()["Resources"]
        return {
            name: one["Properties"]["Handler"].removesuffix(".handler")
            for name, one in resources.items()
            if one["Type"] == "AWS::Serverless::Function"
        }

    def client(self, service: str) -> Any:
        return {"dynamodb": self.aws.dynamodb, "stepfunctions": self.aws.stepfunctions}[service]

    def invoke(self, function: str, event: object, *, seconds: float = 30) -> dict[str, Any]:
        """Invoke a function. Raises UserError where it fails."""
        del seconds
        self.invoked.append(function)
        self.before(function)
        try:
            answer = import_module(self.handlers[function]).handler(json.loads(json.dumps(event)), _CONTEXT)
        except Exception as error:
            raise UserError(f"{type(error).__name__}: {error}") from error
        return json.loads(json.dumps(answer))

    @property
    def target(self) -> Target:
        return cast("Target", self)

    @property
    def analytics(self) -> AnalyticsStore:
        return AnalyticsStore("AnalyticsSums", self.aws.dynamodb.client)
