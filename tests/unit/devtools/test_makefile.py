"""Variables of make's command line reach the commands unchanged without a shell; unknown ones are refused."""

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
# Replaces Python and sam in recipes: prints the variables that it receives.
TOOL = """#!/bin/sh
printf '%s\\n' "ran $*"
for name in MAKE_VARIABLES ORDER FILE QUEUE CUSTOMER RELEASE SQL ENV RECORD; do eval "printf '%s=<%s>\\n' $name \\"\\$$name\\""; done
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
    "cost": "RELEASE",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a folder with the Makefile and up-to-date environments that contain only the tool."""
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "samconfig.toml").write_text((ROOT / "samconfig.toml").read_text())
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
    inherited = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    return subprocess.run(["make", *arguments], cwd=repository, env=inherited | environment, capture_output=True, text=True, check=False)


def pwned(repository: Path) -> bool:
    return any(repository.rglob("pwned"))


@pytest.mark.parametrize(
    ("target", "name", "value"),
    [("trace", "ORDER", value) for value in HOSTILE] + [(*target, value) for target in TARGETS.items() for value in HOSTILE[:1]],
)
def test_value_reaches_the_command_unchanged_and_is_never_run(repository: Path, target: str, name: str, value: str) -> None:
    done = make(repository, target, f"{name}={value}")
    assert not pwned(repository)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{name}=<{value}>" in done.stdout


@pytest.mark.parametrize("name", ["ORDER", "BACKEND", "ENV", "RECORD", "ENDPOINT", "PORT"])
@pytest.mark.parametrize("value", [HOSTILE[0], "$(shell touch pwned)", "x\ntouch pwned"])
def test_value_of_the_environment_is_never_run(repository: Path, name: str, value: str) -> None:
    for target in ("trace", "bench", "build", "deploy"):
        make(repository, target, **{name: value})
    assert not pwned(repository)


@pytest.mark.parametrize("name", ["BIN", "PY", "UV", "PYTEST", "CHECKS", "sync", "step", "sum", "compile-lock", "BACKEND"])
def test_variables_of_recipes_cannot_be_replaced(repository: Path, name: str) -> None:
    for target in ("trace", "unit", "check", "help"):
        make(repository, target, f"{name}=touch pwned;")
    assert not pwned(repository)


def test_recipes_use_only_variables_of_the_makefile() -> None:
    recipes = "\n".join(line for line in MAKEFILE.splitlines() if line.startswith(("\t", "@", "override")))
    used = set(re.findall(r"(?<!\$)\$[({]([\w.-]+)[)}]", recipes)) - {
        "1",
        "2",
        "MAKE",
        "@",
        "name",
        "goal",
        ".FEATURES",
        ".VARIABLES",
        "MAKECMDGOALS",
    }
    fixed = set(re.findall(r"^override (?:define )?([\w-]+)", MAKEFILE, re.MULTILINE))
    assert used <= fixed
    assert set(re.findall(r"\$\(value (\w+)\)", recipes)) <= {"ENV"}


@pytest.mark.parametrize("target", ["trace", "bench", "contracts", "load"])
def test_commands_get_the_given_variables(repository: Path, target: str) -> None:
    assert "MAKE_VARIABLES=<ORDER>" in make(repository, target, "ORDER=x", MAKE_VARIABLES="SQL").stdout
    assert "MAKE_VARIABLES=<MAKE_VARIABLES>" in make(repository, target, "MAKE_VARIABLES=SQL").stdout
    assert "MAKE_VARIABLES=<>" in make(repository, target, MAKE_VARIABLES="SQL").stdout


def test_tests_and_builds_get_no_given_variables(repository: Path) -> None:
    assert "MAKE_VARIABLES=<>" in make(repository, "build", "ENV=prod").stdout
    assert "MAKE_VARIABLES=<>" in make(repository, "integration", "PORT=4570").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unit", "ORDR=x"], "unknown option ORDR: make unit takes no options"),
        (["deploy", "ENVIRONMENT=prod"], "unknown option ENVIRONMENT: make deploy takes ENV"),
        (["integration", "PROT=4570"], "unknown option PROT: make integration takes BACKEND ENDPOINT PORT"),
        (["GROUPS=check"], "unknown option GROUPS: make help takes GROUP COMMAND"),
    ],
)
def test_unknown_options_of_other_targets_are_refused(repository: Path, arguments: list[str], message: str) -> None:
    refused = make(repository, *arguments)
    [line] = refused.stderr.splitlines()
    assert refused.returncode == 2
    assert message in line


def test_prerequisites_accept_the_targets_variables(repository: Path) -> None:
    assert make(repository, "--dry-run", "test", "PORT=4570").returncode == 0


@pytest.mark.parametrize(("old", "new"), [("sold", "sales"), ("balance", "trial-balance"), ("states", "lint-workflows")])
def test_old_target_name_runs_the_new_target(repository: Path, old: str, new: str) -> None:
    def steps(target: str) -> str:
        return make(repository, "--dry-run", target).stdout

    assert steps(old) == steps(new)


def test_makefiles_of_the_build_get_no_variables(repository: Path) -> None:
    (repository / ".venv" / "bin" / "sam").write_text('#!/bin/sh\necho "flags <$MAKEFLAGS>"\n')
    assert "flags <>" in make(repository, "build", "ENV=prod").stdout


@pytest.mark.parametrize("target", ["build", "deploy"])
@pytest.mark.parametrize("value", ["prdo", "local", "", "prod staging", *HOSTILE])
def test_an_environment_that_does_not_exist_is_refused_at_once(repository: Path, target: str, value: str) -> None:
    refused = make(repository, target, f"ENV={value}")
    assert refused.returncode == 2
    assert "ENV must be one of default staging prod (samconfig.toml), not" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "ran" not in refused.stdout
    assert not pwned(repository)


def test_a_path_with_a_space_is_refused_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "my shop"
    folder.mkdir()
    (folder / "Makefile").write_text(MAKEFILE)
    refused = subprocess.run(["make", "run"], cwd=folder, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    [line] = refused.stderr.strip().splitlines()
    assert "has a space in it" in line
    assert str(folder) in line
