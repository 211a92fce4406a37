"""An unfinished removal is undone."""

import subprocess
from pathlib import Path

import pytest

from devtools import undo


def interrupted_change(folder: Path) -> None:
    with undo.restored_by_git(folder):
        (folder / "removed.py").unlink()
        (folder / "kept.py").write_text("after")
        subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
        raise KeyboardInterrupt


def test_interrupted_removal_restores_the_work_tree(tmp_path: Path) -> None:
    for name in ("kept.py", "removed.py"):
        (tmp_path / name).write_text("before")
    author = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "All"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    with pytest.raises(KeyboardInterrupt):
        interrupted_change(tmp_path)
    assert [(tmp_path / name).read_text() for name in ("kept.py", "removed.py")] == ["before", "before"]
    assert subprocess.run(["git", "status", "--porcelain"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout == ""
