"""Init script of LocalEmu: a delivery stream with dynamic partitioning writes one object for the records of each partition.

Queries take fields of a record, or parts of them, as `{date: .occurred_at[0:10], type: .type}` does. Records are not buffered.
"""

from __future__ import annotations

import functools
import json
import re
from base64 import b64decode
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from typing import Any
from uuid import uuid4

KEY = re.compile(r"(\w+): *\.(\w+)(?:\[(\d+):(\d+)\])?")
PLACEHOLDER = re.compile(r"!\{partitionKeyFromQuery:(\w+)\}")

firehose: Any = import_module("localemu.services.firehose.provider")


def partitioning(deliver: Callable[..., None]) -> Callable[..., None]:
    """Write records below their partitions' prefixes, each followed by the delimiter, where the destination is partitioned."""

    @functools.wraps(deliver)
    def delivered(provider: Any, stream_name: str, records: list[dict[str, Any]], s3_destination_description: dict[str, Any]) -> None:
        destination = s3_destination_description
        if not destination.get("DynamicPartitioningConfiguration", {}).get("Enabled"):
            deliver(provider, stream_name, records, destination)
            return
        processors = destination["ProcessingConfiguration"]["Processors"]
        options = {one["ParameterName"]: one["ParameterValue"] for processor in processors for one in processor["Parameters"]}
        delimiter = options.get("Delimiter", "").replace("\\n", "\n").encode()
        contents = defaultdict[str, bytes](bytes)
        for record in records:
            data = b64decode(record["Data"])
            keys = partition(options["MetadataExtractionQuery"], json.loads(data))
            contents[PLACEHOLDER.sub(lambda found, keys=keys: keys[found[1]], destination["Prefix"])] += data + delimiter
        bucket, s3 = firehose.s3_bucket_name(destination["BucketARN"]), firehose.connect_to().s3
        for prefix, content in contents.items():
            s3.put_object(Bucket=bucket, Key=f"{prefix}{stream_name}-{uuid4()}", Body=content)

    return delivered


def partition(query: str, record: dict[str, str]) -> dict[str, str]:
    """Return the keys that a query takes from a record."""
    return {key: record[name][slice(int(start or 0), int(end) if end else None)] for key, name, start, end in KEY.findall(query)}


firehose.FirehoseProvider._put_records_to_s3_bucket = partitioning(firehose.FirehoseProvider._put_records_to_s3_bucket)
