"""Rebuild the order view: drop its rows and project them again from the order log, one key range after the other."""

from argparse import Namespace
from typing import Any

from devtools import target as targets
from devtools import ui
from devtools.target import Target

# One invocation takes up to the function's timeout.
INVOKE_SECONDS = 90


def rebuild(target: Target) -> tuple[int, int]:
    """Rebuild the view; return how many rows were dropped and how many orders were projected. Raises UserError."""
    dropped, listed = 0, 0
    cursor: dict[str, Any] | None = {}
    with ui.stage("order view") as stage:
        while cursor is not None:
            answer = target.invoke("OrdersRebuild", cursor, seconds=INVOKE_SECONDS)
            dropped, listed, cursor = dropped + answer["dropped"], listed + answer["listed"], answer.get("next")
            stage.detail = f"{dropped} rows dropped, {listed} orders projected"
    return dropped, listed


def main(arguments: Namespace) -> None:
    """Rebuild the view and print the counts."""
    rebuild(targets.chosen(arguments.stack))
