"""`.ci/deploy`: the parameters with which it deploys an environment, by stand-ins for make, sam and curl."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devtools.target import ROOT

SAM = """#!/bin/sh
case "$1" in
  list) [ -e deployed ] && echo '[{"OutputKey": "ApiUrl", "OutputValue": "https://api.example"}]' ;;
  deploy) touch deployed; printf '%s\\n' "$@" > given ;;
esac
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
        # The tools of a stack do nothing; scripts are run.
        "python": f'#!/bin/sh\n[ "$1" = -m ] || exec "{sys.executable}" "$@"\n',
    }
    for name, text in stand_ins.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return folder


def overrides(checkout: Path, environment: str, parameters: str) -> list[str]:
    """Deploy an environment and return the parameters that SAM got."""
    path = f"{checkout / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    settings = os.environ | {"PATH": path, "PARAMETERS": parameters}
    done = subprocess.run([checkout / ".ci" / "deploy", environment], env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    given = (checkout / "given").read_text().splitlines()
    assert given[:4] == ["deploy", "--config-env", environment, "--no-confirm-changeset"]
    assert given[4] == "--parameter-overrides"
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
