"""Start, find and stop the embedded emulator, which runs on loopback in a process group of its own."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path

from devtools import target, web
from devtools.cli import UserError

START_SECONDS = 30.0
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Instance:
    """An emulator process. `started` is the system's start time: a later process with the same id has another."""

    pid: int
    started: str
    port: int


def log_file(port: int) -> Path:
    """Return the log file of the emulator on a port."""
    return target.local_folder() / ("emulator.log" if port == target.DEFAULT_PORT else f"emulator-{port}.log")


def _record(port: int) -> Path:
    return target.local_folder() / f"emulator-{port}.json"


def _temporary(port: int) -> Path:
    return target.local_folder() / f"tmp-{port}"


def start_time(pid: int) -> str | None:
    """Return the start time of a live process, for comparison only; None for other ids and zombies."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None if Path("/proc/self").exists() else _start_time_by_ps(pid)
    except ProcessLookupError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _start_time_by_ps(pid: int) -> str | None:
    answer = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def running(port: int) -> Instance | None:
    """Return the live emulator that these tools started on a port, if there is one."""
    try:
        found = Instance(**json.loads(_record(port).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return found if start_time(found.pid) == found.started else None


def started_ports() -> list[int]:
    """Return the ports with a recorded emulator, live or dead."""
    return sorted(int(path.stem.removeprefix("emulator-")) for path in target.local_folder().glob("emulator-*.json"))


def is_healthy(endpoint: str) -> bool:
    """Return whether an emulator answers at an endpoint."""
    try:
        return "edition" in web.call("GET", f"{endpoint}/_ministack/health", timeout=3).json()
    except (OSError, HTTPException):
        return False


def start(port: int) -> tuple[Instance, bool]:
    """Return the emulator on a port of loopback, and whether it is new: a running one, or a new and empty one.

    Raises UserError when another program has the port, or the emulator does not start.
    """
    endpoint = f"http://127.0.0.1:{port}"
    found = running(port)
    if found and _wait_healthy(endpoint, found):
        return found, False
    _clear(port)
    if _answers(port):
        free = next((other for other in range(port + 1, port + 100) if not _answers(other)), port + 1)
        raise UserError(f"port {port} is taken by another program; stop that one, or choose another: make run PORT={free}")
    instance = _launch(port, endpoint)
    if not _wait_healthy(endpoint, instance):
        last = (log_file(port).read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
        _clear(port)
        raise UserError(f"the emulator did not start: {last} (see {_relative(log_file(port))})")
    return instance, True


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _interpreter() -> str:
    own = target.ROOT / ".venv-emulator" / "bin" / "python"
    if own.exists():
        return str(own)
    if find_spec("ministack"):
        return sys.executable
    raise UserError("the emulator is not installed; run `make setup` first")


def _launch(port: int, endpoint: str) -> Instance:
    temporary = _temporary(port)
    temporary.mkdir(mode=0o700)
    settings = {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "AUTH": "true",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        # The functions' endpoint, by address because localhost can resolve to ::1 first.
        "AWS_ENDPOINT_URL": endpoint,
        "TMPDIR": str(temporary),
        "PYTHONUNBUFFERED": "1",
    }
    environment = target.Target("embedded", endpoint, managed=True).aws_environment()
    with log_file(port).open("wb") as log:
        process = subprocess.Popen(
            [_interpreter(), "-m", "ministack"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=temporary,
            env=environment | settings,
            start_new_session=True,
        )
    # The process outlives this tool. Python warns of a running child at garbage collection unless it has a return code.
    process.returncode = 0
    instance = Instance(process.pid, start_time(process.pid) or "", port)
    _record(port).write_text(json.dumps(asdict(instance)))
    return instance


def _wait_healthy(endpoint: str, instance: Instance) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and start_time(instance.pid) == instance.started:
        if is_healthy(endpoint):
            return True
        time.sleep(0.05)
    return False


def stop(port: int) -> bool:
    """Stop the emulator that these tools started on a port, with its workers; return whether there was one."""
    found = running(port)
    if found:
        _terminate(found)
    _clear(port)
    target.forget_port(port)
    return found is not None


def _terminate(instance: Instance) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(instance.pid, sign)
        deadline = time.monotonic() + STOP_SECONDS
        while start_time(instance.pid) == instance.started and time.monotonic() < deadline:
            time.sleep(0.02)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(instance.pid, os.WNOHANG)


def _clear(port: int) -> None:
    found = running(port)
    if found:
        _terminate(found)
    for pid in _orphans(str(_temporary(port))):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    _record(port).unlink(missing_ok=True)
    shutil.rmtree(_temporary(port), ignore_errors=True)


def _orphans(folder: str) -> list[int]:
    """Return the workers of a killed emulator: their command lines contain its temporary folder."""
    return [pid for pid, command in _commands() if f"{folder}{os.sep}" in command]


def _commands() -> Iterator[tuple[int, str]]:
    if not Path("/proc/self").exists():
        answer = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=False)
        yield from ((int(pid), command) for pid, _, command in (row.strip().partition(" ") for row in answer.stdout.splitlines()))
        return
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        # A process can end meanwhile.
        with contextlib.suppress(OSError):
            yield int(path.parent.name), path.read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _relative(path: Path) -> str:
    return str(path.relative_to(target.ROOT))
