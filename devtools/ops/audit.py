"""Query the archive of events, by SQL or by one of the template's named queries for Athena, whose days are UTC."""

from argparse import Namespace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
from rich.table import Table
from rich.text import Text

from devtools import target as targets
from devtools import template, ui
from devtools.cli import UsageError
from devtools.ops.audit_archive import Archive, rows
from devtools.target import ROOT

DEFAULT_DAYS = 30


def queries() -> dict[str, str]:
    """Return the SQL of the template's named queries by name."""
    resources = template.source(ROOT / "observability.yaml")["Resources"].values()
    named = [resource["Properties"] for resource in resources if resource["Type"] == "AWS::Athena::NamedQuery"]
    return {query["Name"]: query["QueryString"] for query in named}


def restrict(database: duckdb.DuckDBPyConnection) -> None:
    """Deny queries access to files and to the network."""
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")


def table(columns: list[str], found: list[tuple[Any, ...]]) -> Table:
    """Return a result as a table, numbers aligned right."""
    result = Table(box=None, pad_edge=False, padding=(0, 2))
    for number, column in enumerate(columns):
        counted = all(isinstance(row[number], int | float) for row in found)
        result.add_column(column, header_style="dim", justify="right" if found and counted else "left", overflow="fold")
    for row in found:
        result.add_row(*(Text(_text(value)) for value in row))
    return result


def _text(value: Any) -> str:
    match value:
        case None:
            return "null"
        case int() if not isinstance(value, bool):
            return f"{value:,}"
        case _:
            return ui.one_line(str(value))


def days(today: date, start: str = "", end: str = "") -> list[str]:
    """Return the first and the last day of a query, by default the last 30 days. Raises UsageError for malformed days or a wrong order."""
    last = _day("TO", end, today)
    first = _day("FROM", start, last - min(timedelta(days=DEFAULT_DAYS - 1), last - date.min))
    if first > last:
        raise UsageError(f"FROM={first} is after TO={last}; give the earlier day first")
    return [str(first), str(last)]


def _day(name: str, text: str, default: date) -> date:
    try:
        return date.fromisoformat(text) if text else default
    except ValueError:
        raise UsageError(f"{name} must be a day such as 2026-11-21, not {text!r}") from None


def _query(arguments: Namespace) -> tuple[str, list[str]]:
    """Return the query and its parameters. Raises UsageError for a name that the template does not have, and for wrong options."""
    if arguments.sql:
        return arguments.sql, []
    known, name = queries(), arguments.query
    if name not in known:
        raise UsageError(f"QUERY must be one of {', '.join(sorted(known))}, not {name!r}")
    given = days(datetime.now(UTC).date(), arguments.from_, arguments.to)
    if known[name].count("?") > len(given):
        if not arguments.order:
            raise UsageError(f"QUERY={name} needs ORDER=ord_…")
        given.append(arguments.order)
    return known[name], given


def main(arguments: Namespace) -> None:
    """Read the archive, run the query, and print the result."""
    query, parameters = _query(arguments)
    with TemporaryDirectory() as folder:
        archive = Archive(targets.chosen(arguments.stack), Path(folder))
        with ui.stage("archive") as step:
            archive.read(step)
        restrict(archive.database)
        with ui.stage("query") as step:
            columns, found = rows(archive.database, query, parameters)
            step.detail = f"{len(found):,} rows"
        ui.console.print(table(columns, found))
        archive.database.close()
