"""Requirements and cost of functions that start from a snapshot."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import snapshot_restore_py

from devtools import environments
from devtools.bench import page
from devtools.checks import idle_cost
from devtools.target import ROOT
from orderflow.aws import snapshot
from tests.conftest import ENVIRONMENT
from tests.contract.stack import Stack

RESTORED = ("IdentityAuthorize", "OrdersGet", "OrdersPlace")
# Reports connections, host look-ups, reads of the clock and new unique ids while the function is imported.
IMPORTING = """
import importlib, random, secrets, sys, time, uuid
sys.addaudithook(lambda event, _: event in ("socket.connect", "socket.getaddrinfo") and print(event, flush=True))
ours = ("/functions/", "/layers/powertools/orderflow/")
def reporting(module, name):
    made = getattr(module, name)
    def report(*given, **named):
        caller = sys._getframe(1).f_code.co_filename
        if any(part in caller for part in ours):
            print(f"{module.__name__}.{name}", flush=True)
        return made(*given, **named)
    setattr(module, name, report)
for module, names in ((uuid, ("uuid1", "uuid4")), (secrets, ("token_hex", "token_bytes", "token_urlsafe")), (time, ("time", "monotonic")),
                      (random, ("random", "uniform", "randint", "getrandbits", "choice"))):
    for name in names:
        reporting(module, name)
assert callable(importlib.import_module(sys.argv[1]).handler)
"""


def module(stack: Stack, function: str) -> str:
    return stack.of("Lambda::Function")[function]["Handler"].removesuffix(".handler")


def imported(name: str, **variables: str) -> list[str]:
    """Import a function in a new process and return its actions that must not be in a snapshot."""
    path = os.pathsep.join(str(ROOT / folder) for folder in ("functions", "layers/powertools"))
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path, "POWERTOOLS_TRACE_DISABLED": "true", **variables}
    command = [sys.executable, "-c", textwrap.dedent(IMPORTING), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def test_parameter_chooses_snapshots_of_published_versions(stack: Stack) -> None:
    expected = {"ApplyOn": {"Fn::If": ["UseSnapStart", "PublishedVersions", "None"]}}
    found = {name: function["SnapStart"] for name, function in stack.of("Lambda::Function").items() if "SnapStart" in function}
    assert found == dict.fromkeys(RESTORED, expected)
    assert {f"{name}Aliaslive" for name in RESTORED} <= set(stack.of("Lambda::Alias"))
    assert not stack.holds({"Condition": "UseSnapStart"})


def test_snapshots_have_no_feature_that_snapstart_excludes(stack: Stack) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html: provisioned concurrency, EFS, a larger ephemeral storage."""
    for name in RESTORED:
        function = stack.of("Lambda::Function")[name]
        assert {"FileSystemConfigs", "EphemeralStorage"}.isdisjoint(function)
        assert "ProvisionedConcurrencyConfig" not in stack.of("Lambda::Alias")[f"{name}Aliaslive"]
        assert float(function["Runtime"].removeprefix("python3.")) >= 12


@pytest.mark.parametrize("function", RESTORED)
def test_nothing_unique_or_connected_is_made_at_import(stack: Stack, function: str) -> None:
    assert imported(module(stack, function)) == []


def test_import_check_reports_unique_ids(tmp_path: Path) -> None:
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "unique.py").write_text("import uuid\nID = uuid.uuid4()\nhandler = print\n")
    assert imported("unique", PYTHONPATH=str(tmp_path / "functions")) == ["uuid.uuid4"]


class TestRestore:
    def hooks(self, monkeypatch: pytest.MonkeyPatch, kind: str) -> list[object]:
        """Return the hooks that an import with this initialization type registers."""
        found: list[object] = []
        monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
        monkeypatch.setattr(snapshot_restore_py, "register_after_restore", found.append)
        snapshot.reseed_after_restore()
        return found

    def test_random_is_seeded_again_after_a_restore(self, monkeypatch: pytest.MonkeyPatch) -> None:
        [hook] = self.hooks(monkeypatch, "snap-start")
        assert callable(hook)
        state = random.getstate()
        try:
            drawn: set[float] = set()
            for _ in range(2):
                random.setstate(state)  # as each process begins from the snapshot
                hook()
                drawn.add(random.random())
        finally:
            random.setstate(state)
        assert len(drawn) == 2

    def test_without_snapstart_no_hook_is_registered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.hooks(monkeypatch, "on-demand") == []

    @pytest.mark.parametrize("function", RESTORED)
    def test_import_of_a_function_registers_the_hook(self, stack: Stack, function: str) -> None:
        path = os.pathsep.join(str(ROOT / folder) for folder in ("functions", "layers/powertools"))
        registered = "snapshot_restore_py._after_restore_registry == [(random.seed, (), {})]"
        code = f"import random, snapshot_restore_py, {module(stack, function)}; print({registered})"
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path, "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.strip() == "True"


class TestCost:
    def test_snapshots_cost_as_documented(self) -> None:
        def dollars(choice: str) -> float:
            return idle_cost.total(idle_cost.bill(environments.deployed({"Stage": "prod", "SnapStart": choice})))

        [documented] = re.findall(r"\| total \|  \| ([\d.]+) \|  \|", page.DOCUMENT.read_text("utf-8").partition("## SnapStart")[2])
        assert dollars("on") - dollars("off") == pytest.approx(float(documented), abs=0.005)
