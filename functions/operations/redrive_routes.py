"""The routes of the redrive: queues whose messages wait for an operator, and the targets of these messages.

Names are short: those of the stack's queues without the stack's prefix. Written out as URLs, they exceed the
4 KB that a function's environment may have (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from operations.consumer_queues import QUEUES

OPERATIONS = "operations"
REVIEW = "review"


class Route(Struct, frozen=True):
    """The queue in which messages wait (`queue_url`), and the target of their redrive.

    kind `queue`: to the queue `target`. Events that a rule could not deliver go to `topic` if the rule has one. A message about a
    failed batch of a stream sends the batch's events of the types `streamed`. kind `saga`: they start `target`, or one of
    the `workflows` that a message names. kind `bus`: they are published to stream and bus.
    """

    queue_url: str
    kind: Literal["queue", "saga", "bus"]
    target: str = ""
    topic: str = ""
    streamed: frozenset[str] = frozenset()
    workflows: dict[str, str] = {}


def dead_letters(name: str) -> str:
    """Return the short name of the queue that a route empties."""
    return name if name == OPERATIONS else f"{name}-dead-letters"


def routes(operations_queue_url: str, *, topic: str, saga: str, workflows: dict[str, str]) -> dict[str, Route]:
    """Return the routes by short name, for the stack of the operations queue (URL), and these ARNs; `workflows` are beside the saga."""
    prefix = operations_queue_url.removesuffix(OPERATIONS)

    def to_consumer(name: str, streamed: frozenset[str]) -> Route:
        return Route(prefix + dead_letters(name), "queue", prefix + name, topic if name == "mail" else "", streamed)

    return {
        **{name: to_consumer(name, streamed) for name, streamed in QUEUES.items()},
        "publish": Route(prefix + dead_letters("publish"), "bus"),
        "saga": Route(prefix + dead_letters("saga"), "saga", saga),
        "review-rule": Route(prefix + dead_letters("review-rule"), "saga", workflows[REVIEW]),
        OPERATIONS: Route(operations_queue_url, "saga", saga, workflows=workflows),
    }
