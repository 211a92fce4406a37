"""Update the code of a deployed stack without CloudFormation: only the parts that changed, and only the functions that have them."""

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from itertools import repeat
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from devtools.local import parts
from devtools.local.parts import Part
from devtools.target import Target

AT_ONCE = 8
WAIT = {"Delay": 0.2, "MaxAttempts": 600}


@dataclass
class _Change:
    """The update of a function: new code, new layers, or both."""

    code: bytes | None = None
    layers: list[str] = field(default_factory=list[str])


def update(target: Target, changed: Collection[Part], architecture: str) -> int:
    """Build the changed parts and update the functions that have them; return how many functions these are.

    Raises:
        UserError: a part cannot be built.
    """
    client = target.client("lambda")
    functions = {one["FunctionName"]: one for one in _functions(target)}
    changes: dict[str, _Change] = {}
    for part in changed:
        affected = [name for name, one in functions.items() if _has(one, part)]
        if not affected:
            continue
        archive = zipped(parts.build(target, part, architecture))
        layer = _publish(client, part, archive, architecture) if part.layer else ""
        for name in affected:
            change = changes.setdefault(name, _Change())
            if layer:
                change.layers = [layer if _is_version(arn, part) else arn for arn in change.layers or _layers(functions[name])]
            else:
                change.code = archive
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(_update, repeat(client), changes.keys(), changes.values()))
    return len(changes)


def zipped(folder: Path) -> bytes:
    """Return a folder's files as a zip archive."""
    stream = BytesIO()
    with ZipFile(stream, "w", ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return stream.getvalue()


def _functions(target: Target) -> Iterator[dict[str, Any]]:
    ours = set(target.physical_ids("AWS::Lambda::Function").values())
    for page in target.client("lambda").get_paginator("list_functions").paginate():
        yield from (one for one in page["Functions"] if one["FunctionName"] in ours)


def _has(function: dict[str, Any], part: Part) -> bool:
    if part.layer:
        return any(_is_version(arn, part) for arn in _layers(function))
    return parts.context_of(function.get("Handler", "")) == part.name


def _layers(function: dict[str, Any]) -> list[str]:
    return [one["Arn"] for one in function.get("Layers", [])]


def _is_version(arn: str, part: Part) -> bool:
    return arn.rpartition(":")[0].endswith(f":layer:{part.layer}")


def _publish(client: Any, part: Part, archive: bytes, architecture: str) -> str:
    runtimes = {"CompatibleRuntimes": ["python3.13"], "CompatibleArchitectures": [architecture]}
    return client.publish_layer_version(LayerName=part.layer, Content={"ZipFile": archive}, **runtimes)["LayerVersionArn"]


def _update(client: Any, name: str, change: _Change) -> None:
    updated = client.get_waiter("function_updated_v2")
    if change.code:
        client.update_function_code(FunctionName=name, ZipFile=change.code)
        updated.wait(FunctionName=name, WaiterConfig=WAIT)
    if change.layers:
        client.update_function_configuration(FunctionName=name, Layers=change.layers)
        updated.wait(FunctionName=name, WaiterConfig=WAIT)
    for alias in client.list_aliases(FunctionName=name)["Aliases"]:
        version = client.publish_version(FunctionName=name)["Version"]
        client.update_alias(FunctionName=name, Name=alias["Name"], FunctionVersion=version)
