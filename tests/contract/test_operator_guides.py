"""The steps that the documents give operators fit the template, the alarms and the dashboards."""

from __future__ import annotations

import re
from collections.abc import Iterator

from devtools import environments
from devtools.target import ROOT
from tests.contract.stack import Stack

RESTORE = (ROOT / "docs" / "restore.md").read_text("utf-8")
_LOOP = re.compile(r"for function in ([\w -]+); do\n\s*(aws [^\n]+)\n\s*done")


def shell_commands(text: str) -> Iterator[str]:
    """Yield the AWS commands of a document's indented lines, those of a loop over functions once for each."""
    for names, command in _LOOP.findall(text):
        for name in names.split():
            yield command.replace("$function", name)
    yield from re.findall(r"^ {4,}(aws .+)$", _LOOP.sub("", text), re.MULTILINE)


def concurrency_commands(text: str) -> dict[str, str]:
    """Return the command about its reserved concurrency by the function's name without the stack's."""
    found = (re.match(r"aws lambda (\S+-function-concurrency) --function-name <stack>-(\S+)(.*)", one) for one in shell_commands(text))
    return {one[2]: f"{one[1]}{one[3]}" for one in found if one}


def test_restore_opens_every_function_that_it_closes(stack: Stack) -> None:
    """A deployment does not: it leaves a property that the template does not change."""
    before, _, after = RESTORE.partition("\n6. ")
    closed, opened = concurrency_commands(before), concurrency_commands(after)
    assert set(closed.values()) == {"put-function-concurrency --reserved-concurrent-executions 0"}
    functions = {one["FunctionName"]["Fn::Sub"].removeprefix("${AWS::StackName}-"): one for one in stack.of("Lambda::Function").values()}
    reserved = environments.parameters()["prod"]["WebhookConcurrency"]
    assert opened == {
        name: f"put-function-concurrency --reserved-concurrent-executions {reserved}"
        if "ReservedConcurrentExecutions" in functions[name]
        else "delete-function-concurrency"
        for name in closed
    }
