"""One deployed stack for the whole run, reused where it is up; BACKEND, PORT, ENDPOINT and STACK choose the target."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from devtools import cli
from devtools import target as targets
from devtools.local import bootstrap
from devtools.ops import audit_proof, catalog
from devtools.ops.flags import FlagStore
from devtools.products import PRODUCTS
from devtools.target import Target
from devtools.trial import marked, users
from tests.integration.capabilities import missing
from tests.integration.deployed_stack import DeployedStack
from tests.support import contracts

_skipped: Counter[str] = Counter()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need a capability which the target lacks. Run the tests of code updates first."""
    # They replace the workers or containers of all functions: few have started yet.
    items.sort(key=lambda item: item.path.stem != "test_code_update")
    target = _target()
    for item in items:
        required = [capability for mark in item.iter_markers("needs") for capability in mark.args]
        for capability, why in missing(target, required):
            item.add_marker(pytest.mark.skip(reason=f"{target.backend} lacks {capability}: {why}"))
            _skipped[f"{capability}: {why}"] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the skipped capabilities after the results."""
    if _skipped:
        terminalreporter.section(f"capabilities that {targets.from_environment().backend} lacks")
        for what, count in sorted(_skipped.items()):
            terminalreporter.line(f"{what} ({count} test{'s' if count > 1 else ''} skipped)")


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[DeployedStack]:
    """Yield the seeded stack of the current sources; afterwards every event must match its schema and be archived."""
    capture: Any = request.config.pluginmanager.getplugin("capturemanager")
    try:
        # Show the progress of the deployment.
        with capture.global_and_fixture_disabled():
            print()
            target = _prepared(_target())
    except Exception as error:
        if line := cli.explain(error):
            pytest.exit(f"error: {line}", returncode=1)
        raise
    deployed = DeployedStack(target)
    yield deployed
    _match_their_contracts(deployed)
    if not deployed.lacks("archive"):
        _are_archived(deployed)


def _target() -> Target:
    try:
        return targets.from_environment()
    except cli.UserError as error:
        pytest.exit(f"error: {error}", returncode=1)


def _prepared(target: Target) -> Target:
    """Deploy a local target; a stack on AWS is deployed already and must be marked as a test stack. Both get the products."""
    if target.backend != targets.AWS:
        return bootstrap.bring_up(target)
    marked.require(target)
    # Without a user pool, every test would fail for the lack of tokens.
    users.sign_in(target, "integration-tests")
    catalog.write(target, PRODUCTS)
    return target


def _match_their_contracts(stack: DeployedStack) -> None:
    """Check every logged event against its schema."""
    stored = [json.loads(item["event"]["S"]) for item in stack.scan("OrderLog") if "event" in item]
    found = Counter(problem for event in stored for problem in contracts.problems(event))
    assert not found, f"of {len(stored)} events: {found}"


def _are_archived(stack: DeployedStack) -> None:
    """Audit the archive against the log."""
    proof = audit_proof.verify(stack.target, stack.patience)
    assert proof.passed, proof
    assert not proof.pending, proof


@pytest.fixture
def flag_store(stack: DeployedStack) -> Iterator[FlagStore]:
    """Yield the stack's flags; restore them afterwards."""
    store = FlagStore(stack.target.client("appconfig"), stack.target.resources)
    before = store.served().document
    yield store
    if store.served().document != before:
        store.deploy(before, immediate=True)
