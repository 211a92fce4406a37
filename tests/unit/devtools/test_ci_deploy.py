"""`.ci/deploy`: the parameters with which it deploys an environment, by stand-ins for make, sam and curl."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devtools import environments
from devtools.target import ROOT

SAM = """#!/bin/sh
case "$1" in
  list) [ -e deployed ] && echo '[{"OutputKey": "ApiUrl", "OutputValue": "https://api.example"}]' ;;
  build) printf '%s\\n' "$@" > built ;;
  deploy) touch deployed; printf '%s\\n' "$@" > given ;;
esac
"""

CHECK_SENDER = """
[ "$3" != check-sender ] || { shift 3; echo "$@" > checked; [ ! -e unverified ] || { echo "error: not verified" >&2; exit 1; }; }
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the scripts and settings, whose programs do nothing but record."""
    (folder := tmp_path / "my clone").mkdir()
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    shutil.copy(ROOT / "samconfig.toml", folder)
    (programs := folder / ".venv" / "bin").mkdir(parents=True)
    stand_ins = {
        "sam": SAM,
        "make": "#!/bin/sh\n",
        "curl": "#!/bin/sh\n",
        # The tools of a stack do nothing, and refuse a sender that is not verified; scripts are run.
        "python": f'#!/bin/sh\n[ "$1" = -m ] || exec "{sys.executable}" "$@"\n{CHECK_SENDER}',
    }
    for name, text in stand_ins.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return folder


def deploy(checkout: Path, environment: str, parameters: str) -> subprocess.CompletedProcess[str]:
    """Deploy an environment."""
    path = f"{checkout / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    settings = os.environ | {"PATH": path, "PARAMETERS": parameters}
    return subprocess.run([checkout / ".ci" / "deploy", environment], env=settings, capture_output=True, text=True, check=False)


def overrides(checkout: Path, environment: str, parameters: str) -> list[str]:
    """Deploy an environment and return the parameters with which SAM built and deployed."""
    done = deploy(checkout, environment, parameters)
    assert done.returncode == 0, done.stdout + done.stderr
    built = (checkout / "built").read_text().splitlines()
    given = (checkout / "given").read_text().splitlines()
    assert given[:4] == ["deploy", "--config-env", environment, "--no-confirm-changeset"]
    assert given[4] == "--parameter-overrides"
    assert built == ["build", "--config-env", environment, *given[4:]]
    return given[5:]


def test_further_parameters_do_not_replace_those_of_the_environment(checkout: Path) -> None:
    given = overrides(checkout, "prod", "StripeSecretArn=arn:aws:secretsmanager:x AlarmEmail=a@example.com WebhookConcurrency=20")

    assert dict(one.split("=", 1) for one in given) == {
        "Stage": "prod",
        "Architecture": "arm64",
        "WebhookConcurrency": "20",
        "StripeSecretArn": "arn:aws:secretsmanager:x",
        "AlarmEmail": "a@example.com",
    }


def test_environment_without_further_parameters_has_its_own(checkout: Path) -> None:
    assert overrides(checkout, "staging", "") == ["Stage=staging", "Architecture=arm64"]


def test_code_is_built_for_the_architecture_that_is_deployed(checkout: Path) -> None:
    assert overrides(checkout, "staging", "Architecture=x86_64") == ["Stage=staging", "Architecture=x86_64"]


def test_overrides_that_a_guided_deployment_saved_are_merged(checkout: Path) -> None:
    settings = checkout / "samconfig.toml"
    saved = settings.read_text().replace('["Stage=staging", "Architecture=arm64"]', r'"Stage=\"staging\" EmailFrom=\"a@example.com\""')
    settings.write_text(saved)
    assert overrides(checkout, "staging", "Architecture=arm64") == ["Stage=staging", "EmailFrom=a@example.com", "Architecture=arm64"]


@pytest.mark.parametrize(
    ("parameters", "email"), [("", ""), ("EmailFrom=a@example.com", " --email a@example.com"), ("AlarmEmail=b@example.com", "")]
)
def test_unverified_sender_is_refused_before_the_build(checkout: Path, parameters: str, email: str) -> None:
    (checkout / "unverified").touch()
    refused = deploy(checkout, "staging", parameters)
    assert (refused.returncode, refused.stderr) == (1, "error: not verified\n")
    assert (checkout / "checked").read_text() == f"--stack order-pipeline-staging{email}\n"
    assert not (checkout / "built").exists()
    assert not (checkout / "given").exists()


def test_stack_has_the_name_that_a_guided_deployment_saved(checkout: Path) -> None:
    settings = checkout / "samconfig.toml"
    settings.write_text(settings.read_text().replace("[staging.deploy.parameters]\n", '[staging.deploy.parameters]\nstack_name = "shop"\n'))
    assert deploy(checkout, "staging", "").returncode == 0
    assert (checkout / "checked").read_text() == "--stack shop\n"
    assert environments.stacks(settings)["staging"] == "shop"
