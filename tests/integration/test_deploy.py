"""The commands that build, deploy and delete a stack on AWS, in a clone with the repository's settings, against the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from devtools import environments
from tests.integration.deployed_stack import DeployedStack
from tests.support import aws_proxy
from tests.support.clone import Clone
from tests.support.terminal import Dialog, dialog

# The stack of docs/deploy.md.
NAME = "order-pipeline-dev"
CONFIRMATION = "Deploy this changeset? [y/N]:"

pytestmark = pytest.mark.needs("several stacks")


class Account:
    """A clone in which SAM deploys as on AWS; the emulator answers for AWS's addresses."""

    def __init__(self, stack: DeployedStack, clone: Clone, environment: dict[str, str]) -> None:
        self.cloudformation = stack.target.client("cloudformation")
        self.clone = clone
        # The build finds its packages in uv's cache.
        self.environment = environment | {"PATH": f"{clone.folder / '.venv' / 'bin'}:{environment['PATH']}", "UV_OFFLINE": "1"}

    def run(self, *command: str, confirm: str) -> Dialog:
        """Run a command, answer y to a question that has `confirm`, and press Enter at the others."""
        done = dialog(command, lambda asked: "y" if confirm in asked else "", folder=self.clone.folder, environment=self.environment)
        assert done.code == 0, done.printed[-6000:]
        return done

    def stack(self) -> dict[str, Any]:
        """The deployed stack."""
        [stack] = self.cloudformation.describe_stacks(StackName=NAME)["Stacks"]
        return stack

    def exists(self) -> bool:
        """Whether there is a stack."""
        pages = self.cloudformation.get_paginator("list_stacks").paginate()
        return any(one["StackName"] == NAME and one["StackStatus"] != "DELETE_COMPLETE" for page in pages for one in page["StackSummaries"])


@pytest.fixture(scope="module")
def account(stack: DeployedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A clone in a path with a space. Its first build may download packages; the proxy answers for AWS alone."""
    (folder := tmp_path_factory.mktemp("deploy") / "my clone").mkdir()
    clone = Clone(folder)
    built = clone.make("build")
    assert built.returncode == 0, built.stdout + built.stderr
    with aws_proxy.running(stack.target, folder.parent) as environment:
        account = Account(stack, clone, environment)
        yield account
        if account.exists():
            account.cloudformation.delete_stack(StackName=NAME)


def test_deployment_asks_one_confirmation_and_can_be_deleted(account: Account) -> None:
    deployed = account.run("make", "deploy", confirm=CONFIRMATION)

    assert deployed.questions == [CONFIRMATION]
    assert account.stack()["StackStatus"] == "CREATE_COMPLETE"

    deleted = account.run("sam", "delete", "--stack-name", NAME, confirm="delete the stack")

    assert "Deleted successfully" in deleted.printed
    assert not account.exists()


def test_guided_deployment_takes_enter_for_every_question(account: Account) -> None:
    """Only the change set is confirmed by y: SAM's default there is no."""
    guided = account.run("sam", "deploy", "--guided", confirm=CONFIRMATION)

    assert guided.questions.count(CONFIRMATION) == 1
    assert "has no authentication" not in guided.printed
    saved = environments.parameters(account.clone.folder / "samconfig.toml")["default"]
    assert saved["Stage"] == "dev"
    assert saved["EmailFrom"] == "orders@example.com"
    made = account.stack()
    assert made["StackStatus"] == "CREATE_COMPLETE"
    assert {"ApiUrl", "CarrierWebhookUrl", "PaymentsWebhookUrl"} <= {output["OutputKey"] for output in made["Outputs"]}
