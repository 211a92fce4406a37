"""The parts of the code that a stack runs, contexts and layers: the sources of each, and its build by the makefiles of `sam build`."""

import platform
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import rmtree

from devtools import target as targets
from devtools import template
from devtools.cli import UserError
from devtools.target import ROOT, Target

# Every part is built by these.
BUILDERS = ("layers/build", "layers/platforms")
BUILD_SECONDS = 300


@dataclass(frozen=True)
class Part:
    """The code of a context, named `orders`, or a layer, named by its logical id."""

    name: str
    makefile: str
    rule: str
    sources: tuple[str, ...]
    # The layer's name in the deployed stack.
    layer: str = ""


def all_parts() -> dict[str, Part]:
    """Return the parts of the template by name."""
    found: dict[str, Part] = {}
    for name, resource in template.source()["Resources"].items():
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            folder = resource["Properties"]["ContentUri"]
            layer = resource["Properties"]["LayerName"]["Fn::Sub"].replace("${AWS::StackName}", targets.STACK)
            found[name] = Part(name, f"{folder}Makefile", f"build-{name}", (folder, *BUILDERS), layer)
        if resource["Type"] == "AWS::Serverless::Function":
            context = context_of(resource["Properties"]["Handler"])
            found[context] = Part(context, "functions/Makefile", f"build-{name}", (f"functions/{context}", "functions/Makefile", *BUILDERS))
    return found


def context_of(handler: str) -> str:
    """Return the context of a handler such as orders.handlers.place_order.handler."""
    return handler.partition(".")[0]


def fingerprint(root: Path, sources: Iterable[str]) -> str:
    """Return a hash of the names and contents of the sources below root, without the caches of Python."""
    digest = sha256()
    for path in sorted(_files(root, sources)):
        content = sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root)}\0{content}\n".encode())
    return digest.hexdigest()


def _files(root: Path, sources: Iterable[str]) -> Iterator[Path]:
    for source in sources:
        start = root / source
        found = start.rglob("*") if start.is_dir() else [start]
        yield from (path for path in found if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc")


def host_wheels(target: Target) -> dict[str, str]:
    """Return the environment in which layers/build installs the wheels of this machine, empty where Lambda's wheels run.

    The embedded emulator runs functions in this machine's Python; every other target runs them on Linux.
    """
    return {"LAYER_WHEELS": "host"} if target.backend == "embedded" and platform.system() != "Linux" else {}


def build(target: Target, part: Part, architecture: str) -> Path:
    """Build a part as `sam build` does, and return its folder. Raises UserError with the output of a build that fails."""
    folder = targets.local_folder() / "parts" / part.name
    rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    done = subprocess.run(
        ["make", "--makefile", str(ROOT / part.makefile), part.rule],
        cwd=ROOT / "layers" / "platforms" / architecture,
        env=target.aws_environment() | host_wheels(target) | {"ARTIFACTS_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode:
        raise UserError(f"the build of {part.name} failed: {done.stderr.strip()}")
    return folder
