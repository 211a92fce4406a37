"""The current contract of every event: the model's schema, with the versions and examples stored in schemas/."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devtools.checks.contracts import models
from devtools.checks.contracts.releases import Published, published
from devtools.cli import UserError
from devtools.target import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMAS = ROOT / "schemas"
EXAMPLE = ".example.json"


@dataclass(frozen=True)
class Contract:
    """An event type: its current version with schema and example, and all versions."""

    version: int
    schema: dict[str, Any]
    example: dict[str, Any]
    versions: tuple[int, ...]


def contracts() -> dict[str, Contract]:
    """Return the contract of every event type.

    Raises:
        UserError: a version has no example.
    """
    return {
        name: Contract(version, schema, example(name, version), tuple(sorted({version, *_stored(name)})))
        for name, (version, schema) in models.current_schemas().items()
    }


def catalogue(known: Mapping[str, Contract]) -> dict[str, dict[int, Published]]:
    """Return every version of every contract as a release stores it; older ones come from schemas/."""
    return {
        name: {
            version: published(contract.schema if version == contract.version else schema(name, version), example(name, version))
            for version in contract.versions
        }
        for name, contract in known.items()
    }


def schema(name: str, version: int) -> dict[str, Any]:
    """Return the stored schema of a version."""
    return json.loads((SCHEMAS / name / f"{version}.json").read_text("utf-8"))


def example(name: str, version: int) -> dict[str, Any]:
    """Return the stored example of a version.

    Raises:
        UserError: there is none.
    """
    path = SCHEMAS / name / f"{version}{EXAMPLE}"
    if not path.exists():
        message = f"{path.relative_to(ROOT)} is missing: store an example of it there, an event as it is on the bus"
        raise UserError(message)
    return json.loads(path.read_text("utf-8"))


def _stored(name: str) -> list[int]:
    return [int(path.stem) for path in (SCHEMAS / name).glob("*.json") if path.stem.isdigit()]
