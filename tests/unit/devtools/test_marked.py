"""Integration tests run on a stack on AWS only if its tag allows them, and never on the stage prod."""

from typing import Any

import pytest

from devtools.cli import UserError
from devtools.target import AWS, Target
from devtools.trial import marked

ALLOWING = [{"Key": "team", "Value": "shop"}, {"Key": marked.TAG, "Value": marked.ALLOWED}]


class CloudFormation:
    """A stack of a stage with tags."""

    def __init__(self, stage: str, tags: list[dict[str, str]]) -> None:
        outputs = [{"OutputKey": "ApiStage", "OutputValue": stage}]
        self._stack: dict[str, Any] = {"Outputs": outputs, "Tags": tags}

    def describe_stacks(self, **_: str) -> dict[str, Any]:
        return {"Stacks": [self._stack]}


def shop(monkeypatch: pytest.MonkeyPatch, stage: str, tags: list[dict[str, str]]) -> Target:
    client = CloudFormation(stage, tags)
    monkeypatch.setattr(Target, "client", lambda *_: client)
    return Target(AWS, "", managed=False, stack="shop")


def test_marked_stack_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    marked.require(shop(monkeypatch, "dev", ALLOWING))


@pytest.mark.parametrize("tags", [[], [{"Key": marked.TAG, "Value": "no"}]])
def test_unmarked_stack_is_refused(monkeypatch: pytest.MonkeyPatch, tags: list[dict[str, str]]) -> None:
    with pytest.raises(UserError, match=r"^refused: shop is not marked as a test stack; deploy one with .*make deploy ENV=test$"):
        marked.require(shop(monkeypatch, "dev", tags))


def test_stage_prod_is_refused_also_with_the_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="refused: shop has the stage prod"):
        marked.require(shop(monkeypatch, "prod", ALLOWING))
