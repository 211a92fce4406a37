"""The event stream: publication of events by order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.event_bus import NotPublished, chunked

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
            NotPublished: the stream refused some of them; the others are written, so events of an order may be out of order.
        """
        for batch in chunked([(key, event.encode()) for key, event in documents], _weight, most=MAX_RECORDS, most_bytes=MAX_BYTES):
            answer = self._client.put_records(StreamName=self._name, Records=[{"PartitionKey": key, "Data": data} for key, data in batch])
            if answer.get("FailedRecordCount"):
                codes = sorted({code for record in answer["Records"] if (code := record.get("ErrorCode"))})
                message = f"{answer.get('FailedRecordCount')} of {len(batch)} events were refused: {', '.join(codes)}"
                raise NotPublished(message)


def _weight(record: tuple[str, bytes]) -> int:
    key, data = record
    return len(key.encode()) + len(data)
