"""Changed code is deployed without CloudFormation, to the affected functions only."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.local import deploy, parts
from devtools.target import ROOT
from tests.integration.deployed_stack import DeployedStack

HANDLER = Path("functions/orders/handlers/get_openapi.py")
LAYER = Path("layers/powertools/orderflow/aws/http.py")
READ = ("template.yaml", "observability.yaml", "samconfig.toml", "workflows", "functions", "layers", "requirements", "devtools/find-python")


@pytest.fixture(scope="module")
def clone(stack: DeployedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the sources, in a path with a space; afterwards the stack has the repository's code again."""
    folder = tmp_path_factory.mktemp("sources") / "my clone"
    for name in READ:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv-tools").symlink_to(ROOT / ".venv-tools")
    with pytest.MonkeyPatch.context() as patched:
        for module in (deploy, parts):
            patched.setattr(module, "ROOT", folder)
        yield folder
    deploy.ensure(stack.target)


def edit(clone: Path, source: Path, old: str, new: str) -> None:
    """Replace text in a source, which contains it once."""
    text = (clone / source).read_text()
    assert text.count(old) == 1
    (clone / source).write_text(text.replace(old, new))


def revisions(stack: DeployedStack) -> dict[str, str]:
    """Return the revision of each function by its logical id."""
    client = stack.target.client("lambda")
    pages = client.get_paginator("list_functions").paginate()
    found = {one["FunctionName"]: one["RevisionId"] for page in pages for one in page["Functions"]}
    return {logical: found[name] for logical, name in stack.target.physical_ids("AWS::Lambda::Function").items()}


def test_changed_handler_is_live_and_other_contexts_are_unchanged(stack: DeployedStack, clone: Path):
    before = revisions(stack)
    assert not deploy.ensure(stack.target)
    edit(clone, HANDLER, "public, max-age=300", "public, max-age=301")

    assert deploy.ensure(stack.target)

    assert stack.shop.call("GET", "/openapi.json", None).headers["cache-control"] == "public, max-age=301"
    changed = {name for name, revision in revisions(stack).items() if revision != before[name]}
    assert {name for name in before if name.startswith("Orders")} == changed


def test_changed_layer_is_live_in_functions_with_an_alias_too(stack: DeployedStack, clone: Path):
    edit(clone, LAYER, '{"x-correlation-id": correlation_id}', '{"x-correlation-id": f"{correlation_id}-edited"}')

    assert deploy.ensure(stack.target)

    public = stack.shop.call("GET", "/openapi.json", None, X_Correlation_Id="read")
    # The alias of this function is at the function's new version.
    placed = stack.shop.call("POST", "/orders", stack.customer(), X_Correlation_Id="placed")
    assert (public.headers["x-correlation-id"], placed.headers["x-correlation-id"]) == ("read-edited", "placed-edited")
