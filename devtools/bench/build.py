"""Builds the measured artifacts as `sam build` ships them: the order API with its layer, a bare function, and a control."""

import compileall
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from devtools import target as targets
from devtools import ui
from devtools.cli import UserError
from devtools.local import parts
from devtools.local.deploy import architecture
from devtools.target import ROOT, Target

STACK = Path(__file__).parent / "stack" / "template.yaml"
BUILD_SECONDS = 600
# Packages of Lambda's Python runtime, which functions do not ship.
RUNTIME = ("boto3", "botocore", "s3transfer", "dateutil", "six.py", "urllib3", "jmespath")


@dataclass(frozen=True)
class Artifact:
    """A built function: the module of its handler, and where its code, its layer and the runtime's packages are."""

    module: str
    path: tuple[Path, ...]


def folder() -> Path:
    """Return the folder of the bench's builds."""
    path = targets.local_folder() / "bench"
    path.mkdir(exist_ok=True)
    return path


def build(target: Target) -> dict[str, Artifact]:
    """Build everything and return it by name: order API, control, bare."""
    with ui.stage("build"):
        _sam_build(target, ROOT / "template.yaml", "pipeline", "OrdersPlace")
        _sam_build(target, STACK, "control")
        runtime = _runtime()
    pipeline, control = folder() / "pipeline", folder() / "control"
    return {
        "order API": Artifact("orders.handlers.place_order", (pipeline / "OrdersPlace", pipeline / "PowertoolsLayer" / "python", runtime)),
        "control": Artifact("app", (control / "Control", control / "ControlLayer" / "python", runtime)),
        "bare": Artifact("app", (control / "Bare", runtime)),
    }


def _sam_build(target: Target, template: Path, name: str, *functions: str) -> None:
    arguments = ["build", *functions, "--template-file", str(template), "--build-dir", str(folder() / name)]
    sam(target, *arguments, "--parameter-overrides", f"Architecture={architecture()}")


def sam(target: Target, *arguments: str) -> str:
    """Run SAM against a target and return its output. Raises UserError when it fails."""
    binaries = (ROOT / ".venv-tools" / "bin", Path(sys.executable).parent)
    # SAM's builder needs an interpreter with pip, which only the first folder has.
    path = os.pathsep.join([*map(str, binaries), os.environ.get("PATH", "")])
    environment = target.aws_environment() | parts.host_wheels(target) | {"PATH": path, "SAM_CLI_POLL_DELAY": "0.5"}
    command = [str(Path(sys.executable).parent / "sam"), *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    (folder() / "sam.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        raise UserError(f"sam {arguments[0]} failed; the whole output is in .local/bench/sam.log")
    return done.stdout


def _runtime() -> Path:
    """Return a folder with the packages of Lambda's Python runtime, compiled as they are there."""
    installed = next((ROOT / ".venv-emulator" / "lib").glob("python3*/site-packages"), None)
    if installed is None:
        raise UserError("the emulator is not installed; run `make setup` first")
    destination = folder() / "runtime"
    shutil.rmtree(destination, ignore_errors=True)
    destination.mkdir()
    for name in RUNTIME:
        source = installed / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, destination / name)
    compileall.compile_dir(destination, quiet=2)
    return destination
