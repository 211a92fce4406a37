"""The revision with which `make compat` compares the present release."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from devtools.cli import UserError
from tests.compat import __main__ as compat


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose first commit is a release that cannot be loaded."""
    monkeypatch.setattr(compat, "ROOT", tmp_path)
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, "README.md")
    git(tmp_path, "tag", "v1.0.0")
    return tmp_path


def git(clone: Path, *command: str) -> str:
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false")
    return subprocess.run(["git", *author, *command], cwd=clone, capture_output=True, text=True, check=True).stdout.strip()


def commit(clone: Path, file: str) -> str:
    path = clone / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(file, "utf-8")
    git(clone, "add", file)
    git(clone, "commit", "-q", "-m", file)
    return git(clone, "rev-parse", "HEAD")


def test_newest_release_before_the_present_commit_is_compared(clone: Path) -> None:
    commit(clone, compat.LOADABLE)
    git(clone, "tag", "v1.1.0")
    commit(clone, "next")
    assert compat.base() == "v1.1.0"


def test_release_that_cannot_be_loaded_is_left_out_with_a_note(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = commit(clone, compat.LOADABLE)
    git(clone, "switch", "-q", "-c", "feature")
    commit(clone, "next")
    assert compat.base() == start
    assert "v1.0.0 has other module names and cannot be loaded" in capsys.readouterr().out


def test_clone_without_a_loadable_revision_is_refused(clone: Path) -> None:
    commit(clone, "next")
    with pytest.raises(UserError, match="FROM=HEAD~1"):
        compat.base()
