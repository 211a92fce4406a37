"""`make contracts`: writes the events' contracts and lists the changes since the last release.

RELEASE=1.2.3 records the current contracts as the last release. Exits with 1 if a change breaks consumers or stored events.
"""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from devtools import cli, template
from devtools.checks.contracts import documents, registry, releases
from devtools.checks.contracts.catalogue import SCHEMAS, Contract, catalogue, contracts
from devtools.checks.contracts.routes import modules, routes, with_archived_types
from devtools.target import ROOT
from orderflow.domain.events import UPCASTERS

TEMPLATE = ROOT / "template.yaml"
RELEASED = SCHEMAS / "released.json"
DECISION = "0021-version-events-with-compatibility-rules.md"


def rendered(known: dict[str, Contract], release: str) -> dict[Path, str]:
    """Return the text of every generated file by its path."""
    ways = routes(known)
    return {
        **{SCHEMAS / name / f"{contract.version}.json": _json(contract.schema) for name, contract in known.items()},
        SCHEMAS / "asyncapi.yaml": documents.asyncapi(known, ways, release),
        SCHEMAS / "registry.yaml": registry.template(known),
        ROOT / "docs" / "events.md": documents.page(known, ways, DECISION),
        TEMPLATE: with_archived_types(TEMPLATE.read_text("utf-8")),
        **modules(template.translated()["Resources"]),
    }


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def stale(files: dict[Path, str]) -> list[str]:
    """Return the outdated files and the folders without an event, as paths below the project."""
    outdated = [path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text]
    left = {path for path in SCHEMAS.iterdir() if path.is_dir()} - {path.parent for path in files}
    return [str(path.relative_to(ROOT)) for path in [*outdated, *sorted(left)]]


def main(arguments: Namespace) -> int:
    """Write or check the files; print a line per change since the last release."""
    known, release = contracts(), releases.read(RELEASED)
    now = catalogue(known)
    found = releases.differences(release.events, now, UPCASTERS)
    for finding in found:
        print(finding)
    broken = sum(not finding.change.compatible for finding in found)
    print(f"{len(found)} changes since release {release.version}, {broken} of them incompatible")
    if broken:
        raise cli.UserError("give the incompatible events a new schema_version and an upcaster (docs/decisions/0021), or revert the change")
    if name := arguments.release:
        release = _released(name, release, now)
    files = rendered(known, release.version)
    if not arguments.check:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        print(f"wrote {len(files)} files: schemas/, docs/events.md, the archived types in template.yaml, modules with routed events")
    elif outdated := stale(files):
        raise cli.UserError(f"outdated: {', '.join(outdated)}; run `make contracts` and commit the result")
    return 0


def _released(name: str, before: releases.Release, now: releases.Catalogue) -> releases.Release:
    try:
        newer = releases.numbered(name) > releases.numbered(before.version)
    except ValueError as error:
        raise cli.UserError(str(error)) from None
    if not newer:
        raise cli.UserError(f"release {name} does not follow {before.version}")
    release = releases.Release(name, now)
    RELEASED.write_text(releases.written(release), "utf-8")
    print(f"wrote {RELEASED.relative_to(ROOT)}: release {name}")
    return release
