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


# Replaces uv: records how it is called.
UV = """#!/bin/sh
echo "$*" >> uv-calls
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a folder, with a space in its path, with the Makefile and up-to-date environments that contain only the tools."""
    folder = tmp_path / "my clone"
    for name in ("requirements", "functions", "layers", "devtools"):
        (folder / name).mkdir(parents=True)
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "samconfig.toml").write_text((ROOT / "samconfig.toml").read_text())
    for level in ("run", "reports"):
        (folder / "requirements" / f"{level}.txt").write_text(f"{level}\n")
    for environment, lock in LOCKS.items():
        (folder / environment / "bin").mkdir(parents=True)
        (folder / "requirements" / f"{lock}.txt").write_text("x\n")
        install(folder, environment, lock)
    for path, text in ((".venv/bin/python", TOOL), (".venv/bin/sam", TOOL), (".venv-tools/bin/uv", UV)):
        (folder / path).write_text(text)
        (folder / path).chmod(0o755)
    return folder


def install(repository: Path, environment: str, lock: str) -> None:
    """Mark an environment as installed from a lock."""
    summed = subprocess.run(["cksum", f"requirements/{lock}.txt"], cwd=repository, capture_output=True, text=True, check=True).stdout
    (repository / environment / ".lock").write_text(summed)


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


def test_variable_of_a_target_has_one_modifier() -> None:
    """GNU make 3.81 reads two as a second target pattern."""
    assert re.findall(r"^[^\t#=\n]*: *(?:(?:override|export|private) +){2}.*", MAKEFILE, re.MULTILINE) == []


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


@pytest.mark.parametrize(("target", "words"), [("", "help"), ("help", "help"), ("help-all", "help --all")])
def test_help_works_where_only_an_older_python_is(repository: Path, target: str, words: str) -> None:
    for path, text in (("devtools/find-python", "#!/bin/sh\nexit 1\n"), ("bin/python3", TOOL)):
        (repository / path).parent.mkdir(exist_ok=True)
        (repository / path).write_text(text)
        (repository / path).chmod(0o755)
    ended = make(repository, *filter(None, [target]), PATH=f"{repository / 'bin'}:{os.environ['PATH']}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"ran -m devtools {words}\n" in ended.stdout


def test_makefiles_of_the_build_get_no_variables(repository: Path) -> None:
    (repository / ".venv" / "bin" / "sam").write_text('#!/bin/sh\necho "flags <$MAKEFLAGS>"\n')
    assert "flags <>" in make(repository, "build", "ENV=prod").stdout


@pytest.mark.parametrize("target", ["build", "deploy"])
@pytest.mark.parametrize("value", ["prdo", "local", "", "prod staging", *HOSTILE])
def test_environment_that_does_not_exist_is_refused_at_once(repository: Path, target: str, value: str) -> None:
    refused = make(repository, target, f"ENV={value}")
    assert refused.returncode == 2
    assert "ENV must be one of default test staging prod (samconfig.toml), not" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "ran" not in refused.stdout
    assert not pwned(repository)


@pytest.mark.parametrize("target", ["test", "integration"])
@pytest.mark.parametrize("value", ["gcp", "", "aws localstack", *HOSTILE])
def test_backend_that_does_not_exist_is_refused_before_any_test(repository: Path, target: str, value: str) -> None:
    refused = make(repository, target, f"BACKEND={value}")
    assert refused.returncode == 2
    assert "BACKEND must be one of embedded localstack aws, not" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "ran" not in refused.stdout
    assert not pwned(repository)


def synced_locks(repository: Path) -> list[str]:
    """Return the locks that uv was called to install."""
    calls = repository / "uv-calls"
    return re.findall(r"pip sync .* requirements/(\w+)\.txt", calls.read_text()) if calls.exists() else []


@pytest.mark.parametrize(
    ("present", "target", "synced"),
    [
        ("run", ["trace", "ORDER=x"], []),
        ("run", ["build"], []),
        ("run", [".venv"], []),
        ("run", ["dashboard"], ["reports"]),
        ("run", ["unit"], ["dev"]),
        ("run", ["contracts"], ["dev"]),
        ("run", ["lint", "up"], ["dev"]),
        ("reports", ["up"], []),
        ("reports", ["setup"], ["dev"]),
        ("dev", ["run"], []),
        ("dev", ["audit"], []),
    ],
)
def test_target_raises_the_environment_to_its_level(repository: Path, present: str, target: list[str], synced: list[str]) -> None:
    install(repository, ".venv", present)
    make(repository, *target)
    assert synced_locks(repository) == synced


def test_new_lock_of_a_level_is_installed_at_that_level(repository: Path) -> None:
    (repository / "requirements" / "dev.txt").write_text("y\n")
    make(repository, "up")
    assert synced_locks(repository) == ["dev"]


def test_installation_states_its_size_first(repository: Path) -> None:
    (repository / ".venv" / ".lock").unlink()
    first, second, *_ = make(repository, "up").stdout.splitlines()
    assert re.fullmatch(r"setup  environments, build and running emulator take \d\.\d GB of disk and \d\.\d GB of memory", first)
    assert second == "setup  .venv"
    assert synced_locks(repository) == ["run"]
    assert " GB of " not in make(repository, "up").stdout


@pytest.mark.parametrize("lock", ["run", "reports"])
def test_levels_have_the_same_versions(lock: str) -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^(\S+==\S+)", (ROOT / "requirements" / f"{name}.txt").read_text(), re.MULTILINE))

    assert pins("run") <= pins(lock) < pins("dev")
