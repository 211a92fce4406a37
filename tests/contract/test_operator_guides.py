"""The steps that the documents give operators fit the template, the alarms and the dashboards."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from devtools import environments
from devtools.monitoring.dashboards import BOARDS
from devtools.target import ROOT
from tests.contract.stack import Stack

RESTORE = (ROOT / "docs" / "restore.md").read_text("utf-8")
_LOOP = re.compile(r"for function in ([\w -]+); do\n\s*(aws [^\n]+)\n\s*done")


def shell_commands(text: str) -> Iterator[str]:
    """Yield the AWS commands of a document's indented lines, those of a loop over functions once for each."""
    text = re.sub(r"\\\n\s*", "", text)
    for names, command in _LOOP.findall(text):
        for name in names.split():
            yield command.replace("$function", name)
    yield from re.findall(r"^ {4,}(aws .+)$", _LOOP.sub("", text), re.MULTILINE)


def functions_of(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return the functions by name without the stack's."""
    return {one["FunctionName"]["Fn::Sub"].removeprefix("${AWS::StackName}-"): one for one in stack.of("Lambda::Function").values()}


def concurrency_commands(text: str) -> dict[str, str]:
    """Return the command about its reserved concurrency by the function's name without the stack's."""
    found = (re.match(r"aws lambda (\S+-function-concurrency) --function-name <stack>-(\S+)(.*)", one) for one in shell_commands(text))
    return {one[2]: f"{one[1]}{one[3]}" for one in found if one}


def test_restore_opens_every_function_that_it_closes(stack: Stack) -> None:
    """A deployment does not: it leaves a property that the template does not change."""
    before, _, after = RESTORE.partition("\n6. ")
    closed, opened = concurrency_commands(before), concurrency_commands(after)
    assert set(closed.values()) == {"put-function-concurrency --reserved-concurrent-executions 0"}
    functions = functions_of(stack)
    reserved = environments.parameters()["prod"]["WebhookConcurrency"]
    assert opened == {
        name: f"put-function-concurrency --reserved-concurrent-executions {reserved}"
        if "ReservedConcurrentExecutions" in functions[name]
        else "delete-function-concurrency"
        for name in closed
    }


PAGES = {path.name: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
# What the CLI waits for an answer, in seconds, before it sends the request again
# (https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-options.html).
CLI_READ_SECONDS = 60


def test_job_is_invoked_without_waiting_for_its_answer(stack: Stack) -> None:
    functions = functions_of(stack)
    invoked = [shlex.split(one) for text in PAGES.values() for one in shell_commands(text) if one.startswith("aws lambda invoke ")]
    assert invoked
    for _, _, _, *words, outfile in invoked:
        options = dict(itertools.batched(words, 2, strict=True))
        # A page keeps the command of a context that was removed.
        function = functions.get(options["--function-name"].removeprefix("<stack>-"))
        assert function is None or function["Timeout"] > CLI_READ_SECONDS
        assert options["--invocation-type"] == "Event", words
        # Version 2 of the CLI takes a payload as base64 by default.
        assert options["--cli-binary-format"] == "raw-in-base64-out", words
        json.loads(options["--payload"])
        assert outfile == "/dev/null", "an event has no answer"


@pytest.mark.parametrize("page", PAGES)
def test_page_that_tells_to_invoke_a_function_gives_the_command(page: str) -> None:
    assert not re.findall(r"[Ii]nvoke\s+\S+\s+with\s+`\{", PAGES[page])


SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", PAGES["runbooks.md"], flags=re.MULTILINE)[1:]}
SERIES = {board.name: [one for chart in board.charts for line in chart.lines for one in line.series.values()] for board in BOARDS}

DIMENSIONS = {"function": "FunctionName"}


def seen(section: str) -> str:
    """Return where a runbook's section sends the operator, in one line."""
    return " ".join(SECTIONS[section].partition("- **See.**")[2].partition("- **Do.**")[0].split())


@pytest.mark.parametrize("section", SECTIONS)
class TestRunbook:
    """A runbook sends the operator only to what exists. A part of its step ends with a semicolon or a full stop."""

    def test_metric_is_on_the_dashboard_that_the_step_names(self, section: str) -> None:
        for part in re.split(r"[;.:] ", seen(section)):
            for board in re.findall(rf"on `<stack>-({'|'.join(SERIES)})`", part):
                named = re.findall(r"`([A-Z]\w+)`", part)
                parts = re.findall(r"`([a-z]+(?:-[a-z]+)*)`", part)
                dimensions = [DIMENSIONS.get(one, one) for one in re.findall(r"by (outcome|step|function)", part)]
                assert named, f"{part}: name the metrics on {board}"
                assert set(re.findall(r"\bof the ([\w']+)", part)) <= {"account"}, f"{part}: name the function or queue"
                for metric in named:
                    series = [one for one in SERIES[board] if one.metric == metric]
                    assert series, f"{metric} is not on {board}"
                    values = {value for one in series for _, value in one.dimensions}
                    assert {f"${{StackName}}-{name}" for name in parts} <= values, f"{metric} on {board} is not of {parts}"
                    assert set(dimensions) <= {name for one in series for name, _ in one.dimensions}, f"{metric} on {board}"

    def test_function_of_a_log_command_exists(self, section: str, stack: Stack) -> None:
        assert set(re.findall(r"FUNCTION=([a-z-]+)", " ".join(SECTIONS[section].split()))) <= set(functions_of(stack))


def test_data_events_are_no_source_unless_a_trail_records_them() -> None:
    """Trails record none by default."""
    before, _, rest = PAGES["operations.md"].partition("## Data events\n")
    explained, _, after = rest.partition("\n## ")
    assert all(word in explained for word in ("beforehand", "per 100,000 events", "Without them"))
    for name, text in (PAGES | {"operations.md": before + after}).items():
        assert not re.findall(r"(?<!\[)data\s+events|data\s+events(?!\]\()", text), f"{name}: link to the section"
