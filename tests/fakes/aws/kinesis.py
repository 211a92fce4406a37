"""Kinesis in memory: a stream that records its records."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.aws.service import FakeService

STREAM_RECORDS = 500
STREAM_BYTES = 5 * 1024 * 1024


class FakeKinesis(FakeService):
    """A stream. Records whose number (from 0, in the order of arrival) is in `refuse` are refused once."""

    def __init__(self, attempts: int = 1) -> None:
        """Start with an empty stream."""
        super().__init__(attempts)
        self.records: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.refuse: set[int] = set()
        self.arrived = 0

    def put_records(self, *, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - botocore's names
        """Record 1 to 500 records of at most 5 MB in total; the answer marks refused records."""
        return self._call("PutRecords", {"StreamName": StreamName, "Records": Records}, lambda: self._put(Records))

    @property
    def details(self) -> list[dict[str, Any]]:
        """The written events, oldest first."""
        return [json.loads(record["Data"]) for record in self.records]

    def _put(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        assert 1 <= len(records) <= STREAM_RECORDS, "PutRecords takes 1 to 500 records"
        assert sum(len(record["Data"]) + len(record["PartitionKey"]) for record in records) <= STREAM_BYTES, "PutRecords takes 5 MB at most"
        self.batches.append(len(records))
        answers = [self._take(record) for record in records]
        return {"FailedRecordCount": sum("ErrorCode" in answer for answer in answers), "Records": answers}

    def _take(self, record: dict[str, Any]) -> dict[str, str]:
        number, self.arrived = self.arrived, self.arrived + 1
        if number in self.refuse:
            return {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"}
        self.records.append(record)
        return {"SequenceNumber": str(number), "ShardId": "shardId-000000000000"}
