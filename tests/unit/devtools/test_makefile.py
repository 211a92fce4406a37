"""Variables of make's command line reach the tools as they are written, and no shell runs them."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from devtools.target import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
LOCKS = {
    ".venv": "dev",
    ".venv-emulator": "emulator",
    ".venv-localstripe": "localstripe",
    ".venv-security": "security",
    ".venv-tools": "tools",
}
# The tool that a recipe runs, in place of Python and sam: it prints the variables that it got.
TOOL = """#!/bin/sh
printf '%s\\n' "ran $*"
for name in ORDER FILE QUEUE CUSTOMER RELEASE SQL ENV RECORD; do eval "printf '%s=<%s>\\n' $name \\"\\$$name\\""; done
"""
HOSTILE = [
    'x"; touch pwned; "',
    "x'; touch pwned; '",
    "; touch pwned;",
    "`touch pwned`",
    "$(touch pwned)",
    "$(shell touch pwned)",
    "$$(touch pwned)",
    "${shell touch pwned}",
    "x\ntouch pwned",
    "x & touch pwned # \\",
    "$(error oh)",
    "--help",
]
TARGETS = {
    "order": "FILE",
    "trace": "ORDER",
    "token": "CUSTOMER",
    "redrive": "QUEUE",
    "audit": "SQL",
    "contracts": "RELEASE",
    "bench": "RECORD",
    "load": "RECORD",
    "build": "ENV",
    "deploy": "ENV",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with the Makefile, and environments that are current and hold nothing but the tool."""
    (tmp_path / "Makefile").write_text(MAKEFILE)
    for folder in ("requirements", "functions", "layers", "devtools"):
        (tmp_path / folder).mkdir()
    for environment, lock in LOCKS.items():
        (tmp_path / environment / "bin").mkdir(parents=True)
        (path := tmp_path / "requirements" / f"{lock}.txt").write_text("x\n")
        with path.open() as text:
            summed = subprocess.run(["cksum"], stdin=text, capture_output=True, text=True, check=True).stdout
        (tmp_path / environment / ".lock").write_text(summed)
    for name in ("python", "sam"):
        (tool := tmp_path / ".venv" / "bin" / name).write_text(TOOL)
        tool.chmod(0o755)
    return tmp_path


def make(repository: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    return subprocess.run(["make", *arguments], cwd=repository, env=kept | environment, capture_output=True, text=True, check=False)


def pwned(repository: Path) -> bool:
    return any(repository.rglob("pwned"))


@pytest.mark.parametrize(
    ("target", "name", "value"),
    [("trace", "ORDER", value) for value in HOSTILE] + [(*target, value) for target in TARGETS.items() for value in HOSTILE[:1]],
)
def test_a_value_reaches_the_tool_as_it_is_and_runs_nothing(repository: Path, target: str, name: str, value: str) -> None:
    done = make(repository, target, f"{name}={value}")
    assert not pwned(repository)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{name}=<{value}>" in done.stdout


@pytest.mark.parametrize("name", ["ORDER", "BACKEND", "ENV", "RECORD", "ENDPOINT", "PORT"])
@pytest.mark.parametrize("value", [HOSTILE[0], "$(shell touch pwned)", "x\ntouch pwned"])
def test_a_value_of_the_environment_runs_nothing(repository: Path, name: str, value: str) -> None:
    for target in ("trace", "bench", "build", "deploy"):
        make(repository, target, **{name: value})
    assert not pwned(repository)


@pytest.mark.parametrize("name", ["BIN", "PY", "UV", "PYTEST", "CHECKS", "sync", "step", "sum", "compile-lock", "BACKEND"])
def test_what_recipes_are_made_of_cannot_be_replaced(repository: Path, name: str) -> None:
    for target in ("trace", "unit", "check", "help"):
        make(repository, target, f"{name}=touch pwned;")
    assert not pwned(repository)


def test_recipes_use_only_variables_of_the_makefile_itself() -> None:
    recipes = "\n".join(line for line in MAKEFILE.splitlines() if line.startswith(("\t", "@", "override")))
    used = set(re.findall(r"(?<!\$)\$[({]([\w.-]+)[)}]", recipes)) - {"1", "2", "MAKE", ".FEATURES"}
    fixed = set(re.findall(r"^override (?:define )?([\w-]+)", MAKEFILE, re.MULTILINE))
    assert used <= fixed
    assert set(re.findall(r"\$\(value (\w+)\)", recipes)) <= {"ENV"}


def test_the_makefiles_of_the_build_take_no_variable_of_the_command_line(repository: Path) -> None:
    (repository / ".venv" / "bin" / "sam").write_text('#!/bin/sh\necho "flags <$MAKEFLAGS>"\n')
    assert "flags <>" in make(repository, "build", "root=x; touch pwned").stdout


def test_a_path_with_a_space_is_refused_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "my shop"
    folder.mkdir()
    (folder / "Makefile").write_text(MAKEFILE)
    refused = subprocess.run(["make", "run"], cwd=folder, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    [line] = refused.stderr.strip().splitlines()
    assert "has a space in it" in line
    assert str(folder) in line
