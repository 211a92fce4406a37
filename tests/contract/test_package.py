"""The package as another team installs it: it decodes events, is typed, and does not depend on AWS libraries."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from devtools.target import ROOT
from orderflow.domain import remediation_events
from orderflow.domain.events import EVENT_TYPES
from tests.support.contracts import UNNAMED, VERSIONS

PACKAGE = ROOT / "layers" / "powertools"
UV = ROOT / ".venv-tools" / "bin" / "uv"
PYRIGHT = Path(sys.executable).parent / "pyright"
EXAMPLE = ROOT / "schemas" / "OrderConfirmed" / "1.example.json"
PURE = (
    "orderflow.domain.ledger_events",
    "orderflow.domain.remediation_events",
    "orderflow.domain.commands",
    "orderflow.domain.events",
    "orderflow.domain.money",
    "orderflow.domain.order",
)

TYPED = """
from orderflow.domain import events
from orderflow.domain.money import Money

def paid(document: str) -> Money | None:
    match events.decode(document).data:
        case events.PaymentCaptured(amount=amount, capture_id=capture):
            shouted: str = capture.upper()
            print(shouted)
            return amount
        case _:
            return None
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a new environment with only the package and its dependencies."""
    place = tmp_path_factory.mktemp("consumer") / "venv"
    run(UV, "venv", "--no-config", "--python", sys.executable, place)
    install = (UV, "pip", "install", "--no-config", "--python", place / "bin" / "python", PACKAGE)
    # The cache of `make setup` usually has all packages; otherwise they come from the index.
    if subprocess.run([*install, "--offline"], check=False, capture_output=True).returncode:
        run(*install)
    return place / "bin" / "python"


def run(*command: str | Path) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_package_has_only_decoding_dependencies(python: Path) -> None:
    listed = json.loads(run(UV, "pip", "list", "--no-config", "--format", "json", "--python", python))
    assert {package["name"] for package in listed} == {"orderflow", "msgspec"}


def test_package_reads_every_version_of_every_event(python: Path) -> None:
    of_operations = {event.type for event in remediation_events.EVENTS}
    for module, names in (("events", EVENT_TYPES.keys()), ("remediation_events", of_operations)):
        known = [(name, version) for name, version in VERSIONS if name in names]
        documents = [(ROOT / "schemas" / name / f"{version}.example.json").read_text("utf-8") for name, version in known]
        read = f"from orderflow.domain import {module}; print(*[{module}.decode(text).type for text in {documents!r}])"
        assert run(python, "-c", read).split() == [name for name, _ in known]
    difference = (ROOT / "schemas" / UNNAMED / "1.example.json").read_text("utf-8")
    decoded = f"msgspec.json.decode({difference!r}, type=LedgerDifferenceFound)"
    read = f"import msgspec; from orderflow.domain.ledger_events import LedgerDifferenceFound; print({decoded}.data.expected)"
    assert run(python, "-c", read).strip() == str(json.loads(difference)["data"]["expected"])


@pytest.mark.parametrize("module", PURE)
def test_rules_are_importable_without_aws(python: Path, module: str) -> None:
    run(python, "-c", f"import {module}")


def test_readme_example_works(python: Path) -> None:
    [code] = re.findall(r"^```python\n(.*?)^```", (PACKAGE / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    total = json.loads(EXAMPLE.read_text("utf-8"))["data"]["total"]
    assert run(python, "-c", f"document = {EXAMPLE.read_text('utf-8')!r}\n{code}").split() == [str(total["amount"]), total["currency"]]


def test_package_is_typed(python: Path, tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(TYPED)
    (tmp_path / "wrong.py").write_text(TYPED.replace("capture.upper()", "len(capture)"))
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    checked = subprocess.run(
        [PYRIGHT, "--outputjson", "--pythonpath", python, tmp_path], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    diagnostics = json.loads(checked.stdout)["generalDiagnostics"]
    assert {(Path(one["file"]).name, one.get("rule")) for one in diagnostics} == {("wrong.py", "reportAssignmentType")}


def test_package_has_the_version_of_the_project() -> None:
    versions = {tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]["version"] for folder in (ROOT, PACKAGE)}
    assert len(versions) == 1
