"""Drills on the deployed stack: the fault, its alarm, the runbook's step, and healthy again."""

from __future__ import annotations

import pytest

from devtools.local import drill
from devtools.local.alarms import Bridge
from devtools.local.drills import BY_NAME
from tests.integration.deployed_stack import DeployedStack


@pytest.mark.needs("flags", "iam", "alarm states")
@pytest.mark.parametrize("name", ["poison", "saga"])
def test_drill_ends_with_a_healthy_stack(stack: DeployedStack, name: str) -> None:
    bridge = Bridge(stack.target)

    played = drill.play(stack.target, bridge, BY_NAME[name])

    assert 0 < played.detected < stack.patience
    assert 0 <= played.recovered < stack.patience
    assert "refused" in played.remediation
    assert bridge.states()[f"order-pipeline-{played.drill.alarm}"] == "OK"
