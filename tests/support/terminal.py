"""A program on a terminal of its own, whose questions a test answers."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 600.0
COLORS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Dialog:
    """What a program printed, the questions that it asked, and its exit code."""

    printed: str
    questions: list[str]
    code: int


def dialog(command: Sequence[str], answer: Callable[[str], str], *, folder: Path, environment: Mapping[str, str]) -> Dialog:
    """Run a command on a terminal and type the `answer` to each of its questions, and Enter; return the dialog."""
    controller, terminal = pty.openpty()
    settings = {**environment, "TERM": "dumb", "COLUMNS": "240"}
    process = subprocess.Popen(command, cwd=folder, env=settings, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    printed, answered, questions, deadline = "", 0, list[str](), time.monotonic() + SECONDS
    try:
        while time.monotonic() < deadline:
            if select.select([controller], [], [], 1)[0]:
                try:
                    printed += os.read(controller, 65536).decode(errors="replace")
                except OSError:
                    # The program has closed the terminal.
                    break
            question = COLORS.sub("", printed[answered:]).rpartition("\n")[2]
            if re.search(r"(\]|\)): $", question):
                questions.append(question.strip())
                os.write(controller, f"{answer(question)}\n".encode())
                answered = len(printed)
        return Dialog(COLORS.sub("", printed), questions, process.wait(timeout=10))
    finally:
        process.kill()
        os.close(controller)
