"""Doing something once per event that has no natural key of its own, such as sending a mail.

Powertools Idempotency does the work; this module holds the settings under which it can be relied on.
What it cannot give is the moment between an effect and its record: a process that dies there leaves
a claim that runs out, and the effect comes again. Use it only where that is tolerable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyPersistenceLayerError

from orderflow.observability import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.events import Event

# Longer than a message can live in a queue, its dead-letter queue and a redrive from there (14 days each).
REMEMBERED_SECONDS = 90 * 24 * 3600


class OncePerEvent[A]:
    """Performs an effect for each event once, however often the event is delivered.

    Records are keyed by `name` and the event's id. Neither the message, which is another one at each
    delivery by a topic or a redrive, nor the name of a function is part of the key.
    """

    def __init__(self, name: str, table: str, client: DynamoDBClient) -> None:
        """Keep the records in the DynamoDB table `table` (key `id`, time to live `expiration`)."""
        self._name = name
        self._store = DynamoDBPersistenceLayer(table, boto3_client=client)
        self._config = IdempotencyConfig(
            event_key_jmespath="event_id",
            payload_validation_jmespath="[type, data]",
            raise_on_no_idempotency_key=True,
            expires_after_seconds=REMEMBERED_SECONDS,
            hash_function="sha256",
        )

    def perform(self, event: Event, effect: Callable[[], A], context: LambdaContext) -> A:
        """Return what `effect` returned for this event, now or when it was first performed.

        The claim on an event runs out with the time that `context` leaves this invocation. When the
        effect raises, the claim is given up and the error goes on. When the effect took place and
        only its record could not be completed, that is logged and the effect counts as done.

        Raises:
            IdempotencyAlreadyInProgressError: another invocation has claimed the event.
            IdempotencyValidationError: an event of this id, with other contents, was seen before.
            IdempotencyPersistenceLayerError: the table cannot be reached, nothing was performed.
        """
        self._config.register_lambda_context(context)
        performed: list[A] = []

        def perform(*, event: dict[str, Any]) -> A:  # noqa: ARG001 - Powertools takes the key from it
            performed.append(effect())
            return performed[0]

        once = idempotent_function(
            perform,
            data_keyword_argument="event",
            persistence_store=self._store,
            config=self._config,
            key_prefix=self._name,
        )
        try:
            return once(event=msgspec.to_builtins(event))
        except IdempotencyPersistenceLayerError:
            if not performed:
                raise
            logger.exception("performed, but not recorded")
            return performed[0]
