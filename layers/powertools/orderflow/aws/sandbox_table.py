"""The tables of the sandboxes: a JSON document per key, replaced under optimistic locking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import HTTPClientError
from msgspec import Struct

from orderflow.aws import dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

_ATTEMPTS = 10


class Stored[D](Struct, frozen=True):
    """A document with its revision number and the item's other attributes; revision 0 is an unknown key."""

    document: D | None = None
    revision: int = 0
    attributes: Mapping[str, str] = {}


class SandboxTable[D]:
    """Reads and changes documents of the type `document_type`. Every write is conditional on the revision that it replaces."""

    def __init__(
        self,
        table: str,
        client: DynamoDBClient,
        document_type: type[D],
        *,
        key_name: str,
        document_name: str,
        unavailable: type[Exception],
        timeout: type[Exception],
        first_attributes: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """Use the table named `table`, with the key and the document under these attribute names.

        Without an answer of the table, a read raises `unavailable` and a write, whose outcome is unknown, raises `timeout`.
        `first_attributes` returns further attributes of a new item, which later revisions keep.
        """
        self._table = table
        self._client = client
        self._decoder = msgspec.json.Decoder(document_type)
        self._key_name = key_name
        self._document_name = document_name
        self._unavailable = unavailable
        self._timeout = timeout
        self._first_attributes = first_attributes

    def read(self, key: str) -> Stored[D]:
        """Return the stored document of a key. Raises `unavailable`."""
        try:
            item = dynamodb.read_item(self._client, self._table, dynamodb.key(**{self._key_name: key}))
        except HTTPClientError as lost:
            raise self._unavailable from lost
        return self._stored(item) if item else Stored()

    def change(self, key: str, decide: Callable[[D | None], D], assumed: Stored[D] | None = None) -> tuple[D | None, D]:
        """Replace a document by the result of `decide`, and return it before and after.

        `assumed` saves the read: a wrong assumption costs one refused write. Raises `timeout`, and `unavailable` also if every attempt
        lost against a concurrent change.
        """
        stored = assumed or self.read(key)
        for _ in range(_ATTEMPTS):
            after = decide(stored.document)
            if after == stored.document:
                return stored.document, after
            current = self._replace(key, after, stored)
            if current is None:
                return stored.document, after
            stored = current
        raise self._unavailable

    def _replace(self, key: str, document: D, before: Stored[D]) -> Stored[D] | None:
        """Replace the revision `before` and return None, or return the stored document if it has another revision."""
        item = {
            self._key_name: key,
            "revision": before.revision + 1,
            **(before.attributes or self._first_attributes()),
            self._document_name: msgspec.json.encode(document).decode(),
        }
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(revision)"}
        if before.revision:
            values = dynamodb.values(revision=before.revision)
            condition = {"ConditionExpression": "revision = :revision", "ExpressionAttributeValues": values}
        try:
            self._client.put_item(
                TableName=self._table, Item=dynamodb.encode_item(item), ReturnValuesOnConditionCheckFailure="ALL_OLD", **condition
            )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            return self._stored(dynamodb.stored_item(refused))
        except HTTPClientError as lost:
            raise self._timeout from lost
        return None

    def _stored(self, item: dict[str, Any]) -> Stored[D]:
        others = {name: value for name, value in item.items() if name not in {self._key_name, "revision", self._document_name}}
        return Stored(self._decoder.decode(item[self._document_name]), item["revision"], others)
