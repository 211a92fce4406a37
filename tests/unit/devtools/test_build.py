"""The makefiles that `sam build` runs, in a repository whose path has a space."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from devtools.target import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a copy of what builds read, in a path with a space."""
    folder = tmp_path / "my clone"
    for name in ("functions", "layers", "requirements"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "devtools").mkdir()
    shutil.copy2(ROOT / "devtools" / "find-python", folder / "devtools")
    return folder


def build(root: Path, makefile: str, name: str, scratch: Path) -> subprocess.CompletedProcess[str]:
    """Run a makefile as SAM does, in a folder of its own; the artifacts are in its subfolder."""
    (artifacts := scratch / "the artifacts").mkdir(parents=True)
    command = ["make", "--makefile", str(root / makefile), f"build-{name}"]
    environment = os.environ | {"ARTIFACTS_DIR": str(artifacts)}
    return subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by their paths."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("function", ["OrdersPlace", "PaymentsSettle"])
def test_path_of_the_repository_does_not_change_a_build(clone: Path, tmp_path: Path, function: str) -> None:
    for root, scratch in ((ROOT, tmp_path / "here"), (clone, tmp_path / "over there")):
        built = build(root, "functions/Makefile", function, scratch)
        assert (built.returncode, built.stderr) == (0, "")
    here = contents(tmp_path / "here")
    assert any(name.endswith(".pyc") for name in here)
    assert here == contents(tmp_path / "over there")


def test_no_function_of_a_makefile_has_a_number_sign() -> None:
    """Before make 4.3 it starts a comment there."""
    makefiles = [ROOT / "Makefile", ROOT / "functions" / "Makefile", *ROOT.glob("layers/*/Makefile"), *ROOT.glob("devtools/new/parts/*")]
    lines = [line for path in makefiles for line in path.read_text("utf-8").splitlines()]
    assert [line for line in lines if re.search(r"\$[({]shell .*#", line)] == []


@pytest.mark.parametrize(
    ("makefile", "name"), [("layers/powertools/Makefile", "PowertoolsLayer"), ("functions/Makefile", "IdentityAuthorize")]
)
def test_wheels_without_an_architecture_are_refused(clone: Path, tmp_path: Path, makefile: str, name: str) -> None:
    refused = build(clone, makefile, name, tmp_path / "over there")
    assert refused.returncode
    assert "the template lacks WorkingDirectory" in refused.stderr


@pytest.mark.parametrize(("wheels", "platform"), [("", ["--python-platform", "aarch64-manylinux2014"]), ("host", [])])
def test_wheels_are_those_of_lambda_or_of_the_machine(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheels: str, platform: list[str]
) -> None:
    monkeypatch.setenv("LAYER_WHEELS", wheels)
    (clone / ".venv-tools" / "bin").mkdir(parents=True)
    (uv := clone / ".venv-tools" / "bin" / "uv").write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >"{tmp_path}/given"\nmkdir -p "$ARTIFACTS_DIR/python"\n'
    )
    uv.chmod(0o755)
    (scratch := tmp_path / "there").mkdir()
    shutil.copy(ROOT / "layers" / "platforms" / "arm64" / "platform", scratch)

    built = build(clone, "layers/powertools/Makefile", "PowertoolsLayer", scratch)

    assert (built.returncode, built.stderr) == (0, "")
    given = (tmp_path / "given").read_text().splitlines()
    [after_python] = [index + 2 for index, one in enumerate(given) if one == "--python"]
    assert given[after_python : given.index("--target")] == platform


@pytest.mark.parametrize("lock", ["layer", "identity", "payments"])
def test_packages_of_the_runtime_are_not_shipped(lock: str) -> None:
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / f"{lock}.txt").read_text(), re.MULTILINE))
    assert locked
    assert not locked & {"boto3", "botocore", "s3transfer", "python-dateutil", "urllib3", "six", "jmespath"}
