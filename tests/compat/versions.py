"""Loads the functions of another release into the process of the present ones, on the same in-memory services."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from devtools.cli import UserError
from devtools.template import source
from tests.fakes.aws import clients


@dataclass
class Version:
    """The functions of a release: `handlers` by logical id, and the `modules` behind them by name."""

    code: Path
    handlers: dict[str, Any] = field(default_factory=dict[str, Any])
    modules: dict[str, ModuleType] = field(default_factory=dict[str, ModuleType])


def load(code: Path) -> Version:
    """Return the release whose template, functions and layer are below `code`.

    Raises:
        UserError: a function cannot be imported.
    """
    found = Version(code)
    template = source(code / "template.yaml")
    defaults = {name: one.get("Default") for name, one in template["Parameters"].items()}
    functions = {name: one["Properties"] for name, one in template["Resources"].items() if one["Type"] == "AWS::Serverless::Function"}
    with _importing(code, found.modules):
        try:
            setattr(importlib.import_module("orderflow.aws.clients"), "client", clients.stand_in)  # noqa: B010 - of a module
            for name, properties in functions.items():
                for variable, value in properties.get("Environment", {}).get("Variables", {}).items():
                    os.environ.setdefault(variable, _value(value, defaults) or variable.lower())
                handler = importlib.import_module(properties["Handler"].removesuffix(".handler")).handler
                found.handlers[name] = _with_own_modules(handler, found)
        except (ImportError, AttributeError) as error:
            raise UserError(f"the functions of the earlier release cannot be imported: {error}") from error
    return found


def _value(value: Any, defaults: Mapping[str, Any]) -> str:
    """Return the template's value of an environment variable that only the other release has, or "" if it is computed."""
    match value:
        case str() | int():
            return str(value)
        case {"Ref": str() as parameter}:
            return str(defaults.get(parameter) or "")
        case _:
            return ""


def _with_own_modules(handler: Any, version: Version) -> Any:
    """Return the handler, which also imports modules of its own release during an invocation."""

    @functools.wraps(handler)
    def invoke(event: Any, context: Any) -> Any:
        with _importing(version.code, version.modules):
            return handler(event, context)

    return invoke


@contextmanager
def _importing(code: Path, modules: dict[str, ModuleType]) -> Iterator[None]:
    """Import functions and layer from below `code` within the context; `modules` are its modules, and gets the new ones."""
    packages = _packages(code)
    paths = [str(code / "functions"), str(code / "layers" / "powertools")]
    present = _remove_modules(packages)
    sys.modules.update(modules)
    sys.path[:0] = paths
    try:
        yield
    finally:
        del sys.path[: len(paths)]
        modules.update(_remove_modules(packages))
        sys.modules.update(present)


@functools.cache
def _packages(code: Path) -> frozenset[str]:
    return frozenset({path.parent.name for path in (code / "functions").glob("*/__init__.py")} | {"orderflow"})


def _remove_modules(packages: frozenset[str]) -> dict[str, ModuleType]:
    """Remove the modules of these packages from `sys.modules`, and return them."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in packages}
