"""The event stream: publication of events by order."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from orderflow.aws.event_bus import chunked, put_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_kinesis import KinesisClient

MAX_RECORDS = 500
MAX_BYTES = 5 * 1024 * 1024  # of one PutRecords call, keys included


class EventStream:
    """The Kinesis stream named `name`, on which an order's events are all on one shard."""

    def __init__(self, name: str, client: KinesisClient) -> None:
        """Write with this client."""
        self._name = name
        self._client = client

    def put(self, documents: Iterable[tuple[str, str]]) -> None:
        """Write any number of pairs of order id and event document.

        Raises:
            NotPublished: the stream refused some of them in every attempt; the others are written, so events may be out of order.
        """
        for batch in chunked([(key, event.encode()) for key, event in documents], _weight, most=MAX_RECORDS, most_bytes=MAX_BYTES):
            put_all(batch, self._put, key=itemgetter(0))

    def _put(self, records: list[tuple[str, bytes]]) -> Any:
        entries: Any = [{"PartitionKey": key, "Data": data} for key, data in records]
        answer = self._client.put_records(StreamName=self._name, Records=entries)
        return answer["Records"] if answer.get("FailedRecordCount") else ()


def _weight(record: tuple[str, bytes]) -> int:
    key, data = record
    return len(key.encode()) + len(data)
