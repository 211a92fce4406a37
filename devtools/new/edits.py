"""Edits of the files that list contexts and consumers: template.yaml, functions/Makefile, pyproject.toml."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# The section of the template before which a new context stands.
LAST_SECTION = "  # == Operations:"
WIDTH = 140
# A list of more queues than any context has is one of all.
MANY = 6


def add_context(root: Path, context: str) -> list[Path]:
    """Give a context its section of the template, its build rule, and its name in the lists of pyproject.toml."""
    title = "".join(map(str.title, context.split("_")))
    template, makefile, project = root / "template.yaml", root / "functions" / "Makefile", root / "pyproject.toml"
    properties = f"{{LogGroupName: !Sub '/aws/lambda/${{AWS::StackName}}-{context}', RetentionInDays: 30}}"
    logs = f"  {title}Logs: {{Type: AWS::Logs::LogGroup,\n    Properties: {properties}}}\n"
    text = template.read_text("utf-8")
    template.write_text(text.replace(LAST_SECTION, f"  # == {title} ==\n{logs}\n{LAST_SECTION}", 1), "utf-8")
    rule = f"build-{title}%:\n\t$(call context,{context})\n\n"
    makefile.write_text(makefile.read_text("utf-8").replace("build-Operations%:", f"{rule}build-Operations%:", 1), "utf-8")
    project.write_text(re.sub(r'"operations", "identity"', f'"operations", "{context}", "identity"', project.read_text("utf-8")), "utf-8")
    return [template, makefile, project]


def denies_other_queues(root: Path, context: str) -> bool:
    """Return whether the consumers of a context are denied every queue but their own."""
    section = _section((root / "template.yaml").read_text("utf-8"), context)
    return "NotResource: !GetAtt" in section


def add_part(root: Path, context: str, part: str, redriven: str = "") -> list[Path]:
    """Insert a part before the log group of its context; let the redrive reach the queues of the consumer `redriven`."""
    path = root / "template.yaml"
    text = path.read_text("utf-8")
    group = _log_group(context)
    text = text.replace(group, f"{part}{group}" if text[: text.index(group)].endswith("==\n") else f"\n{part}{group}", 1)
    if redriven:
        before, marker, after = text.partition(LAST_SECTION)
        after = _with_queue(after, "['sqs:ReceiveMessage'", f"!GetAtt {redriven}DeadLetters.Arn")
        after = _with_queue(after, "['sqs:SendMessage']", f"!GetAtt {redriven}Queue.Arn")
        text = before + marker + after
    path.write_text(text, "utf-8")
    return [path]


def _log_group(context: str) -> str:
    return f"  {''.join(map(str.title, context.split('_')))}Logs: {{Type: AWS::Logs::LogGroup,"


def _section(text: str, context: str) -> str:
    before = text[: text.index(_log_group(context))] if _log_group(context) in text else ""
    return before[before.rfind("  # == ") :]


def _with_queue(text: str, actions: str, resource: str) -> str:
    """Append a queue to every list of all consumers' queues that a statement allows these actions on."""

    def appended(found: re.Match[str]) -> str:
        if found[0].count("!GetAtt") < MANY:
            return found[0]
        last = found[0].rpartition("\n")[2]
        indent = " " * (len(last) - len(last.lstrip()))
        separator = ", " if len(last) + len(resource) + 3 <= WIDTH else f",\n{indent}"
        return f"{found[0].removesuffix(']')}{separator}{resource}]"

    return re.sub(rf"Action: {re.escape(actions)}[^\n]*\n +Resource: \[!GetAtt [^\]]*\]", appended, text)
