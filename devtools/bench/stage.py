"""Run the pipeline on a separate emulator, so that other orders neither disturb nor are disturbed."""

import socket
from collections.abc import Generator
from contextlib import contextmanager

from devtools.local import bootstrap, emulator
from devtools.target import Target


def free_port() -> int:
    """Return a free TCP port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def pipeline(port: int | None = None) -> Generator[Target]:
    """Run an emulator with the pipeline deployed and seeded; stop it at the end."""
    port = port or free_port()
    emulator.start(port)
    try:
        yield bootstrap.bring_up(Target("embedded", f"http://127.0.0.1:{port}", managed=True))
    finally:
        emulator.stop(port)
