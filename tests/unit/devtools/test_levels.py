"""Commands import only what the level of .venv that their target needs contains."""

import re
import subprocess
import sys

import pytest

from devtools.commands import COMMANDS
from devtools.target import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
# Refuses to import packages that the lock lacks, then imports the modules.
IMPORT = """
import re, sys
from importlib import import_module
from importlib.metadata import packages_distributions

lock, *modules = sys.argv[1:]
locked = set(re.findall(r"^([a-z0-9-]+)==", open(lock).read(), re.MULTILINE)) | {"orderflow"}
normal = lambda name: re.sub(r"[-_.]+", "-", name).lower()
absent = {module for module, names in packages_distributions().items() if not locked.intersection(map(normal, names))}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
sys.path[:0] = [".", "functions"]
for module in modules:
    import_module(module)
"""


def targets(variable: str) -> list[str]:
    """Return the targets that a variable of the Makefile lists."""
    [text] = re.findall(rf"^override {variable} := (.*)", MAKEFILE.replace("\\\n", " "), re.MULTILINE)
    return text.split()


REPORTS = targets("REPORTS")


@pytest.mark.parametrize(
    ("level", "names"),
    [("run", [name for name in targets("COMMANDS") if name not in REPORTS]), ("reports", REPORTS)],
    ids=["run", "reports"],
)
def test_commands_need_only_packages_of_their_level(level: str, names: list[str]) -> None:
    modules = sorted({COMMANDS[name].module for name in names})
    command = [sys.executable, "-c", IMPORT, f"requirements/{level}.txt", *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
