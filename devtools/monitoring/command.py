"""`make observability`: write the nested stack of alarms, dashboards and queries, the documents about them, and their names."""

import re
import textwrap
from argparse import Namespace
from pathlib import Path

from devtools import ui
from devtools.cli import UserError
from devtools.monitoring import alarms, metric_catalogue, service_levels, template
from devtools.target import ROOT

RUNBOOKS = ROOT / "docs" / "runbooks.md"
ALARM_NAMES = ROOT / "functions" / "operations" / "domain" / "alarm_names.py"


def with_dead_letters(text: str) -> str:
    """Return the runbooks with every alarm on dead letters named in their section."""
    names = [f"`{alarm.id}`" for alarm in alarms.every_alarm() if alarm.runbook == "dead-letters"]
    lines = textwrap.fill(", ".join(names), 125, break_on_hyphens=False)
    return re.sub(r"(?<=^## dead-letters\n\n)(?:`.*\n)+", lambda _: f"{lines}\n", text, flags=re.MULTILINE)


def alarm_names() -> str:
    """Return the module by which automatic remediation knows the stack's alarms."""
    names = "\n".join(f'        "{name}",' for name in sorted(alarm.name for alarm in alarms.every_alarm()))
    return f'''"""The names of the alarms, without the stack's. Written by `make observability`."""

NAMES = frozenset(
    {{
{names}
    }}
)
'''


def files() -> dict[Path, str]:
    """Return the generated files with their contents."""
    return {
        ROOT / "observability.yaml": template.document(),
        ROOT / "docs" / "metrics.md": metric_catalogue.document(),
        ROOT / "docs" / "service-levels.md": service_levels.document(),
        ALARM_NAMES: alarm_names(),
        RUNBOOKS: with_dead_letters(RUNBOOKS.read_text("utf-8")),
    }


def main(arguments: Namespace) -> None:
    """Write the files; with CHECK, raise UserError where a committed file is out of date."""
    for path, text in files().items():
        name = path.relative_to(ROOT)
        if path.exists() and path.read_text("utf-8") == text:
            ui.done(str(name), "is current")
        elif arguments.check:
            raise UserError(f"{name} differs from devtools/monitoring; run `make observability`")
        else:
            path.write_text(text, "utf-8")
            ui.done(str(name), "written")
