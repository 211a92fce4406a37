"""Undo the changes of `make new` and `make remove` to the repository after an error or Ctrl-C."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from shutil import rmtree
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

# Where the parts and the generators write.
WRITTEN = ("devtools", "docs", "events", "functions", "layers", "schemas", "tests", "*.yaml", "*.toml", "*.md")


@contextmanager
def all_or_nothing(root: Path) -> Generator[None]:
    """Restore the files of a repository to what they are now if the block does not end."""
    before = {path: path.read_bytes() for path in _files(root)}
    folders = set(_folders(root))
    try:
        yield
    except BaseException:
        for path in {*_files(root), *before}:
            _restore(path, before.get(path))
        for folder in set(_folders(root)) - folders:
            # Generators leave bytecode in new folders; a folder within another one is deleted with it.
            rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def restored_by_git(root: Path) -> Generator[None]:
    """Restore a work tree without changes if the block, which adds no files, does not end."""
    try:
        yield
    except BaseException:
        subprocess.run(["git", "restore", "--staged", "--worktree", "."], cwd=root, check=True)
        raise


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink()
    elif not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)


def _files(root: Path) -> Iterator[Path]:
    return (path for path in _below(root) if path.is_file() and not path.is_symlink())


def _folders(root: Path) -> Iterator[Path]:
    return (path for path in _below(root) if path.is_dir())


def _below(root: Path) -> Iterator[Path]:
    for pattern in WRITTEN:
        for top in root.glob(pattern):
            yield top
            yield from (path for path in top.rglob("*") if "__pycache__" not in path.parts)
