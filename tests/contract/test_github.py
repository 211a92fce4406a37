"""GitHub's workflows, Dependabot and the hooks of git: what runs when."""

from typing import Any

import yaml

from devtools.target import ROOT

HOOKS: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
DEPENDABOT: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text("utf-8"))
DEPLOY: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text("utf-8"))


def test_rehearsal_of_a_rollback_leaves_production_alone() -> None:
    """A push of a tag has no inputs; a missing input is false, and `if` without a status function needs the jobs before to succeed."""
    assert DEPLOY["jobs"]["production"]["if"] == "${{ !inputs.rehearse }}"
    assert DEPLOY["jobs"]["production"]["needs"] == "staging"


def test_release_that_waits_for_production_leaves_staging_free() -> None:
    groups = {name: job["concurrency"] for name, job in DEPLOY["jobs"].items() if "environment" in job}
    assert set(groups) == {"staging", "production"}
    assert len({one["group"] for one in groups.values()}) == len(groups)
    assert not any(one["cancel-in-progress"] for one in groups.values())
    assert "concurrency" not in DEPLOY


def test_every_hook_is_installed() -> None:
    stages = {stage for repository in HOOKS["repos"] for hook in repository["hooks"] for stage in hook.get("stages", ["pre-commit"])}
    assert stages == set(HOOKS["default_install_hook_types"])


def test_locks_are_upgraded_together() -> None:
    """Dependabot raises one pin of a lock at a time; they are resolved together, with their hashes."""
    assert [one["package-ecosystem"] for one in DEPENDABOT["updates"]] == ["github-actions"]
