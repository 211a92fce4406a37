"""The environments of samconfig.toml, and the resources that the template has in each."""

import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from devtools import template
from devtools.cli import UserError
from devtools.target import ROOT


def parameters(path: Path = ROOT / "samconfig.toml") -> dict[str, dict[str, str]]:
    """Return the template's parameters that each environment of samconfig.toml deploys with."""
    deploys: dict[str, dict[str, Any]] = {name: one["deploy"]["parameters"] for name, one in _read(path).items()}
    return {name: dict(map(_override, _overrides(one.get("parameter_overrides", [])))) for name, one in deploys.items()}


def deploy_settings(environment: str, path: Path = ROOT / "samconfig.toml") -> dict[str, Any]:
    """Return the settings of samconfig.toml for `sam deploy` in an environment, such as `region`: its own over the global ones."""
    found = _read(path)[environment]
    return found.get("global", {}).get("parameters", {}) | found["deploy"]["parameters"]


def stacks(path: Path = ROOT / "samconfig.toml") -> dict[str, str]:
    """Return the name of the stack of each environment of samconfig.toml."""
    return {name: deploy_settings(name, path)["stack_name"] for name in _read(path)}


def _read(path: Path) -> dict[str, Any]:
    return {name: one for name, one in tomllib.loads(path.read_text("utf-8")).items() if name != "version"}


def _overrides(given: str | list[str]) -> list[str]:
    """Return the overrides of a list, or of the one string that `sam deploy --guided` saves."""
    return shlex.split(given) if isinstance(given, str) else given


def _override(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def deployed(given: Mapping[str, str], path: Path = ROOT / "template.yaml") -> dict[str, dict[str, Any]]:
    """Return the resources that a template has with these parameters, `Fn::If` resolved, those of nested stacks included.

    Raises:
        UserError: a condition uses a function that is not known here.
    """
    source = template.source(path)
    translated = template.translated(given, path)
    values = {name: str(spec.get("Default", "")) for name, spec in translated.get("Parameters", {}).items()} | dict(given)
    conditions = _Conditions(translated.get("Conditions", {}), values)
    found: dict[str, dict[str, Any]] = {}
    for name, resource in translated["Resources"].items():
        if "Condition" in resource and not conditions.holds(resource["Condition"]):
            continue
        if resource["Type"] == "AWS::CloudFormation::Stack":
            passed = conditions.resolved(resource["Properties"].get("Parameters", {}))
            child = {key: value for key, value in passed.items() if isinstance(value, str)}
            nested = deployed(child, path.parent / source["Resources"][name]["Properties"]["TemplateURL"])
            found |= {f"{name}.{key}": value for key, value in nested.items()}
        else:
            found[name] = {"Type": resource["Type"], "Properties": conditions.resolved(resource.get("Properties", {}))}
    return found


class _Conditions:
    """Evaluates conditions and intrinsic functions of a template for given parameters."""

    def __init__(self, conditions: Mapping[str, Any], values: Mapping[str, str]) -> None:
        self._conditions = conditions
        self._values = values

    def holds(self, name: str) -> bool:
        return self._true(self._conditions[name])

    def _true(self, condition: Any) -> bool:
        match condition:
            case {"Fn::Equals": [left, right]}:
                return self._text(left) == self._text(right)
            case {"Fn::Not": [one]}:
                return not self._true(one)
            case {"Fn::And": several}:
                return all(map(self._true, several))
            case {"Fn::Or": several}:
                return any(map(self._true, several))
            case {"Condition": name}:
                return self.holds(name)
            case _:
                raise UserError(f"the condition {condition} is not supported; add its function to devtools/environments.py")

    def _text(self, value: Any) -> str:
        match value:
            case {"Ref": name}:
                return self._values[name]
            case str() | int() | bool():
                return str(value)
            case _:
                raise UserError(f"{value} in a condition is not supported; add its function to devtools/environments.py")

    def resolved(self, value: Any) -> Any:
        """Return a value with the branch of every `Fn::If` that is taken, and with parameters in place of references to them."""
        match value:
            case {"Fn::If": [name, yes, no]}:
                return self.resolved(yes if self.holds(name) else no)
            case {"Ref": name} if name in self._values:
                return self._values[name]
            case dict():
                members = {key: self.resolved(one) for key, one in cast("dict[str, Any]", value).items()}
                return {key: one for key, one in members.items() if one != {"Ref": "AWS::NoValue"}}
            case list():
                return [self.resolved(one) for one in cast("list[Any]", value) if one != {"Ref": "AWS::NoValue"}]
            case _:
                return value
