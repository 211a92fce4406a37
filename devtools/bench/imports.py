"""Cold import: the work of a new process of a function before its first request.

Every run is a new interpreter with the artifact, its layer and the runtime's packages, and nothing else. It writes no .pyc,
as on Lambda's read-only file system. Processor time is measured, because other programs on the machine lengthen clock time.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, cast

from devtools import template, ui
from devtools.bench.build import Artifact
from devtools.cli import UserError
from devtools.local.deploy import architecture

ROUNDS = 15
_MEASURE = """
import sys
sys.path[:0] = {path!r}
from time import process_time as clock
started = clock()
import {module}
print(clock() - started)
"""


def measure(artifacts: Mapping[str, Artifact], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median seconds that importing each artifact's handler takes, all of them measured in turn."""
    samples: dict[str, list[float]] = {name: [] for name in artifacts}
    with ui.stage("cold import") as step:
        for done in range(rounds):
            step.detail = f"{done + 1} of {rounds}"
            for name, artifact in artifacts.items():
                samples[name].append(_once(artifact))
    return {name: statistics.median(seconds) for name, seconds in samples.items()}


def _once(artifact: Artifact) -> float:
    code = _MEASURE.format(path=[str(path) for path in artifact.path], module=artifact.module)
    # Without site-packages (-S, -s), except those of the path; the interpreter has the version of the functions.
    command = [sys.executable, "-S", "-s", "-c", code]
    done = subprocess.run(command, env=_environment(artifact), capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise UserError(f"importing {artifact.module} failed: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)


def _environment(artifact: Artifact) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LAMBDA_TASK_ROOT": str(artifact.path[0]),
        "AWS_LAMBDA_FUNCTION_NAME": "orders-place",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python3.13 {architecture()}",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        **_variables(),
    }


def _variables() -> dict[str, str]:
    """Return the order API's variables from the template: parameters by their defaults, everything else by its name."""
    parameters = template.source()["Parameters"]
    written: dict[str, Any] = template.translated()["Resources"]["OrdersPlace"]["Properties"]["Environment"]["Variables"]
    named = {name: value if isinstance(value, str) else cast("dict[str, str]", value).get("Ref", name) for name, value in written.items()}
    return {name: str(parameters.get(value, {}).get("Default", value)) for name, value in named.items()}
