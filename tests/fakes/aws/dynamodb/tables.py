"""Table definitions, also read from a template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml


@dataclass(frozen=True)
class Index:
    """A global secondary index, which contains only items with all attributes of `key`.

    `key` maps the partition key and, second, the sort key to their types. `projection` is ALL,
    KEYS_ONLY, or the attributes projected besides the keys.
    """

    key: Mapping[str, str]
    projection: str | tuple[str, ...] = "ALL"


@dataclass(frozen=True)
class Table:
    """A table's definition; `key` maps the partition key and, second, the sort key to their types."""

    name: str
    key: Mapping[str, str]
    indexes: Mapping[str, Index] = field(default_factory=dict[str, Index])


def tables_of(template: Path) -> list[Table]:
    """Read the tables of a CloudFormation or SAM template; each is named by its logical id."""
    resources: dict[str, Any] = yaml.load(template.read_text(), Loader=_TemplateLoader)["Resources"]  # noqa: S506
    return [_table_of(name, resource["Properties"]) for name, resource in resources.items() if resource["Type"] == "AWS::DynamoDB::Table"]


def variables_of(template: Path) -> dict[str, str]:
    """Read the environment variables of a SAM template's functions that name a table or bucket: each one's logical id."""
    resources: dict[str, Any] = yaml.load(template.read_text(), Loader=_TemplateLoader)["Resources"]  # noqa: S506
    stored = {name for name, resource in resources.items() if resource["Type"] in {"AWS::DynamoDB::Table", "AWS::S3::Bucket"}}
    functions = [resource["Properties"] for resource in resources.values() if resource["Type"] == "AWS::Serverless::Function"]
    return {
        variable: value
        for function in functions
        for variable, value in function["Environment"]["Variables"].items()
        if isinstance(value, str) and value in stored
    }


class _TemplateLoader(yaml.CSafeLoader):
    """Reads the short forms of intrinsic functions as their plain arguments."""


def _intrinsic(loader: yaml.CSafeLoader, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(cast("yaml.ScalarNode", node))


_TemplateLoader.add_multi_constructor("!", _intrinsic)  # pyright: ignore[reportUnknownMemberType]


def _table_of(name: str, properties: Mapping[str, Any]) -> Table:
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in properties["AttributeDefinitions"]}
    indexes = {
        index["IndexName"]: Index(_key_schema(index, types), _projection_of(index["Projection"]))
        for index in properties.get("GlobalSecondaryIndexes", ())
    }
    return Table(name, _key_schema(properties, types), indexes)


def _key_schema(properties: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, str]:
    ordered = sorted(properties["KeySchema"], key=lambda entry: entry["KeyType"])
    return {entry["AttributeName"]: types[entry["AttributeName"]] for entry in ordered}


def _projection_of(projection: Mapping[str, Any]) -> str | tuple[str, ...]:
    kind = projection["ProjectionType"]
    return tuple(projection["NonKeyAttributes"]) if kind == "INCLUDE" else kind
