"""`make audit SQL='select …'`: asks the archive of events; QUERY=name asks one of the template's questions for Athena.

Without either it tells how many events there are by day and type. The template's questions are about the days FROM to TO
(as 2026-11-21, UTC), which are the last 30 where they are not given. The tables are `archive` and `events`, see docs/audit.md.
"""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
from rich.table import Table
from rich.text import Text

from devtools import cli, template, ui
from devtools import target as targets
from devtools.cli import UserError
from devtools.ops.audit_archive import Archive, rows

DEFAULT = "events-by-day"
DEFAULT_DAYS = 30


def queries() -> dict[str, str]:
    """The questions that the template has for Athena, by their names."""
    resources = template.source()["Resources"].values()
    named = [resource["Properties"] for resource in resources if resource["Type"] == "AWS::Athena::NamedQuery"]
    return {query["Name"]: query["QueryString"] for query in named}


def lock(database: duckdb.DuckDBPyConnection) -> None:
    """Keep what is asked from this machine's files and from the network."""
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")


def table(columns: list[str], found: list[tuple[Any, ...]]) -> Table:
    """An answer for people; numbers stand on the right."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2))
    for number, column in enumerate(columns):
        counted = all(isinstance(row[number], int | float) for row in found)
        shown.add_column(column, header_style="dim", justify="right" if found and counted else "left", overflow="fold")
    for row in found:
        shown.add_row(*(Text(_text(value)) for value in row))
    return shown


def _text(value: Any) -> str:
    match value:
        case None:
            return "null"
        case int() if not isinstance(value, bool):
            return f"{value:,}"
        case _:
            return ui.one_line(str(value))


def days(today: date) -> list[str]:
    """Return the days FROM and TO, by default the last 30. Raises UserError for anything but two days in order."""
    last = _day("TO", today)
    first = _day("FROM", last - min(timedelta(days=DEFAULT_DAYS - 1), last - date.min))
    if first > last:
        raise UserError(f"FROM={first} is after TO={last}; give the earlier day first")
    return [str(first), str(last)]


def _day(name: str, default: date) -> date:
    text = cli.option(name, str(default))
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UserError(f"{name} must be a day such as 2026-11-21, not {text!r}") from None


def _question() -> tuple[str, list[str]]:
    """Return what is asked and its parameters. Raises UserError for a name that the template does not have, and for wrong options."""
    sql = cli.option("SQL")
    if sql:
        return sql, []
    known, name = queries(), cli.option("QUERY", DEFAULT)
    if name not in known:
        raise UserError(f"QUERY must be one of {', '.join(sorted(known))}, not {name!r}")
    given = days(datetime.now(UTC).date())
    if known[name].count("?") > len(given):
        order = cli.option("ORDER")
        if not order:
            raise UserError(f"QUERY={name} needs ORDER=ord_…")
        given.append(order)
    return known[name], given


def main() -> None:
    """Read the archive, ask, and print the answer."""
    question, given = _question()
    with TemporaryDirectory() as folder:
        archive = Archive(targets.from_environment(), Path(folder))
        with ui.stage("archive") as step:
            archive.read(step)
        lock(archive.database)
        with ui.stage("answer") as step:
            columns, found = rows(archive.database, question, given)
            step.detail = f"{len(found):,} rows"
        ui.console.print(table(columns, found))
        archive.database.close()


if __name__ == "__main__":
    cli.run(main)
