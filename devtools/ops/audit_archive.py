"""Read the archive of events into DuckDB, in tables with Athena's names.

`archive` has a row for every delivered record, `events` one for every event. Both have the envelope's fields, `data` as JSON, and
the day and type of the object's key.
"""

import gzip
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb

from devtools import ui
from devtools.cli import UserError
from devtools.target import Target

PREFIX, FAILED = "events/", "errors/"
# DuckDB loads no extension from the network; JSON is built in.
OFFLINE: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
AT_ONCE = 8

_PARTITION = re.compile(r"date=(\d{4}-\d{2}-\d{2})/type=(\w+)/")
_GZIP = b"\x1f\x8b"
_SCHEMA = """
CREATE TABLE records (
  reading INTEGER, record VARCHAR,
  event_id VARCHAR, schema_version INTEGER, occurred_at VARCHAR, recorded_at VARCHAR, source VARCHAR,
  correlation_id VARCHAR, causation_id VARCHAR, order_id VARCHAR, order_version INTEGER, data JSON, trace VARCHAR,
  date VARCHAR, type VARCHAR
);
CREATE VIEW archive AS SELECT * EXCLUDE (reading, record) FROM records;
CREATE VIEW events AS SELECT DISTINCT ON (event_id) * FROM archive;
-- Athena's names of DuckDB's functions.
CREATE MACRO json_extract_scalar(document, path) AS json_extract_string(document, path);
CREATE MACRO from_iso8601_timestamp(moment) AS CAST(moment AS TIMESTAMPTZ);
"""
_LOAD = """
INSERT INTO records
SELECT ?, json::VARCHAR,
  json->>'$.event_id', (json->>'$.schema_version')::INTEGER, json->>'$.occurred_at', json->>'$.recorded_at', json->>'$.source',
  json->>'$.correlation_id', json->>'$.causation_id', json->>'$.order_id', (json->>'$.order_version')::INTEGER, json->'$.data',
  json->>'$.trace', date, type
FROM read_json_objects(?, format = 'newline_delimited', hive_partitioning = true, hive_types_autocast = false)
"""


class Archive:
    """A copy of a target's archive in a database in `folder`, which the caller removes."""

    def __init__(self, target: Target, folder: Path) -> None:
        """Create an empty copy. Raises UserError when the deployed stack has no archive."""
        bucket = target.resources.get("AuditArchive")
        if not bucket:
            raise UserError("the deployed stack has no archive; run `make run` to deploy the present one")
        self._s3 = target.client("s3")
        self._bucket = bucket
        self._folder = folder
        self._known: set[str] = set()
        self.readings = 0
        self.database = duckdb.connect(str(folder / "archive.duckdb"), config=OFFLINE)
        self.database.execute(_SCHEMA)

    def read(self, step: ui.Stage) -> int:
        """Read the objects that are new since the last reading; return their number. Raises UserError for other objects."""
        keys = [key for key in self.keys(PREFIX) if key not in self._known]
        self.readings += 1
        records = self._folder / f"reading-{self.readings}"
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for count, (key, content) in enumerate(zip(keys, pool.map(self._content, keys), strict=True), 1):
                _append(records, key, content)
                step.share, step.detail = count / len(keys), f"{count:,} of {len(keys):,} objects"
        if keys:
            self.database.execute(_LOAD, [self.readings, f"{records}/**/*.ndjson"])
        self._known.update(keys)
        step.share, step.detail = None, f"{len(self._known):,} objects"
        return len(keys)

    def keys(self, prefix: str) -> Iterator[str]:
        """Return the keys of all objects with a prefix."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return (found["Key"] for page in pages for found in page.get("Contents", []))

    def _content(self, key: str) -> bytes:
        content: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        # The delivery stream compresses on AWS, not on the emulator.
        return gzip.decompress(content) if content.startswith(_GZIP) else content


def _append(folder: Path, key: str, content: bytes) -> None:
    """Append an object to the file of its day and type: DuckDB reads few long files faster than many short ones."""
    partition = _PARTITION.search(key)
    if not partition:
        raise UserError(f"the archive has an object without day and type in its key: {key}")
    path = folder / f"date={partition[1]}" / f"type={partition[2]}" / "records.ndjson"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(content if content.endswith(b"\n") else content + b"\n")


def rows(database: duckdb.DuckDBPyConnection, query: str, parameters: Iterable[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the column names and rows of a query. Raises UserError for an invalid query."""
    try:
        result = database.execute(query, list(parameters))
        return [column[0] for column in result.description or []], result.fetchall()
    except duckdb.Error as error:
        # After a blank line, DuckDB quotes the query.
        raise UserError(" ".join(str(error).partition("\n\n")[0].split())) from None
