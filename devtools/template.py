"""Read template.yaml, and expand its serverless resources as CloudFormation does."""

from __future__ import annotations

import copy
import json
import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import boto3
from samcli.yamlhelper import yaml_parse  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from samtranslator.parser.parser import Parser  # pyright: ignore[reportMissingTypeStubs]
from samtranslator.translator.translator import Translator  # pyright: ignore[reportMissingTypeStubs]

from devtools.target import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

REGION = "us-east-1"
# The translator warns about a feature switch that only AWS can set.
logging.getLogger("samtranslator.feature_toggle.feature_toggle").setLevel(logging.ERROR)
# The translator collects metrics for SAM CLI and warns about unread ones at exit.
logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)
# The address of uploaded code: the translator accepts no local paths.
_UPLOADED = "s3://artifacts/uploaded"
_LOCAL = {
    "AWS::Serverless::Function": ("CodeUri", _UPLOADED),
    "AWS::Serverless::LayerVersion": ("ContentUri", _UPLOADED),
    "AWS::CloudFormation::Stack": ("TemplateURL", "https://artifacts.s3.amazonaws.com/uploaded"),
}


@cache
def _read(path: Path) -> dict[str, Any]:
    return cast("dict[str, Any]", yaml_parse(path.read_text("utf-8")))


def source(path: Path = ROOT / "template.yaml") -> dict[str, Any]:
    """Return a copy of a template as written, with short forms such as !Ref spelled out."""
    return copy.deepcopy(_read(path))


def translated(parameters: Mapping[str, str] | None = None, path: Path = ROOT / "template.yaml") -> dict[str, Any]:
    """Return a template with its serverless resources expanded.

    `parameters` replace defaults where the translator reads them. Intrinsic functions and conditions do not change; workflows are
    inserted, code is replaced by an address.

    Raises:
        samtranslator.model.exceptions.InvalidDocumentException: SAM rejects the template.
    """
    template = source(path)
    for resource in template["Resources"].values():
        _upload(resource, path.parent)
    return expand(template, parameters)


def expand(template: dict[str, Any], parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a packaged template with its serverless resources expanded; `parameters` as in `translated`."""
    defaults = {name: str(spec.get("Default", "")) for name, spec in template.get("Parameters", {}).items()}
    values = {**defaults, "AWS::Region": REGION, "AWS::Partition": "aws", **(parameters or {})}
    # No managed policy is used by its short name, so the translator needs no IAM.
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    return translator.translate(template, values)  # pyright: ignore[reportUnknownMemberType]


def _upload(resource: dict[str, Any], folder: Path) -> None:
    properties = resource.get("Properties", {})
    if resource["Type"] in _LOCAL:
        attribute, address = _LOCAL[resource["Type"]]
        properties[attribute] = address
    if resource["Type"] == "AWS::Serverless::StateMachine" and isinstance(properties.get("DefinitionUri"), str):
        definition = folder / properties.pop("DefinitionUri")
        properties["Definition"] = json.loads(definition.read_text("utf-8"))
