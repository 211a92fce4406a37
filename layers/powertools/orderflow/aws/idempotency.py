"""Performs an effect once per event where the effect has no natural key, such as sending an email.

Uses Powertools Idempotency with settings that make it reliable. An effect is performed twice only if the process crashes before it
records the effect, or if the answer to the effect is lost. Use it only where such a repetition is tolerable.
"""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyPersistenceLayerError
from botocore.exceptions import BotoCoreError, ClientError

from orderflow.aws.observability import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.domain.events import Event

# Longer than a message can live in a queue, its dead-letter queue and a redrive from there (14 days each).
REMEMBERED_SECONDS = 90 * 24 * 3600
# How long writing a record takes at most, with the attempts that `orderflow.aws.clients` makes.
WRITE_SECONDS = 10
# The most records that are held in memory until they can be written.
MAX_LATE = 1000


class TooLittleTimeError(RuntimeError):
    """The invocation may time out before the effect is performed and recorded, so the effect was not started."""


class OncePerEvent[A]:
    """Performs an effect for each event once, however often the event is delivered.

    Records are keyed by `name` and the event's id. The message id is not part of the key, because a topic or a redrive sends a new
    message, and neither is the name of the function.
    """

    def __init__(self, name: str, table: str, client: DynamoDBClient, *, effect_seconds: float) -> None:
        """Store records in the DynamoDB table `table` (key `id`, time to live `expiration`).

        `effect_seconds` is the longest time that an effect takes.
        """
        self._name = name
        self._needed_milliseconds = (effect_seconds + WRITE_SECONDS) * 1000
        self._records = _Records(table, client)
        self._config = IdempotencyConfig(
            event_key_jmespath="event_id",
            payload_validation_jmespath="[type, data]",
            raise_on_no_idempotency_key=True,
            expires_after_seconds=REMEMBERED_SECONDS,
            hash_function="sha256",
        )

    def perform(self, event: Event, effect: Callable[[], A], context: LambdaContext) -> A:
        """Perform `effect` for this event unless it was performed before, and return its result, now or of the first time.

        The claim on an event expires at the timeout of this invocation (`context`). If the effect raises, the claim is deleted and the
        error passed on. After the effect, writing its record is retried until shortly before the timeout. If that fails too, an error is
        logged: this process does not perform the effect again, and writes the record before its next effect.

        Raises:
            TooLittleTimeError: the invocation may time out before the effect is performed and recorded.
            IdempotencyAlreadyInProgressError: another invocation has claimed the event.
            IdempotencyValidationError: an event with this id and other contents was processed before.
            IdempotencyPersistenceLayerError: the table cannot be reached; nothing was performed.
        """
        if context.get_remaining_time_in_millis() < self._needed_milliseconds:
            raise TooLittleTimeError
        self._records.begin(event.event_id, context)
        self._config.register_lambda_context(context)
        performed: list[A] = []

        def perform(*, event: dict[str, Any]) -> A:
            late = self._records.late.get(event["event_id"])
            performed.append(json.loads(late.response_data) if late else effect())
            return performed[0]

        once = idempotent_function(
            perform,
            data_keyword_argument="event",
            persistence_store=self._records,
            config=self._config,
            key_prefix=self._name,
        )
        try:
            return once(event=msgspec.to_builtins(event))
        except IdempotencyPersistenceLayerError:
            if not performed:
                raise
            logger.exception("effect_not_recorded")
            return performed[0]


class _Records(DynamoDBPersistenceLayer):
    """The table of records. `late` has the records of performed effects, by event id, that could not be written yet."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        super().__init__(table, boto3_client=client)
        self.late: dict[str, DataRecord] = {}

    def begin(self, event_id: str, context: LambdaContext) -> None:
        """Prepare for an event, and write late records if the table can be reached again."""
        self._event_id = event_id
        self._context = context
        try:
            for late, record in tuple(self.late.items()):
                super()._update_record(record)
                del self.late[late]
        except (BotoCoreError, ClientError):
            logger.warning("late_records_not_written", records=len(self.late))

    def _update_record(self, data_record: DataRecord) -> None:
        attempts = 0
        while True:
            attempts += 1
            try:
                super()._update_record(data_record)
            except (BotoCoreError, ClientError):
                # If Lambda ended the invocation, the messages of the whole batch would be delivered again.
                if self._context.get_remaining_time_in_millis() < (WRITE_SECONDS + 1) * 1000:
                    if len(self.late) < MAX_LATE:
                        self.late[self._event_id] = data_record
                    raise
                time.sleep(min(0.1 * attempts, 1) * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret
            else:
                self.late.pop(self._event_id, None)
                return
