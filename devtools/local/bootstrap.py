"""Bring the pipeline up locally: emulator, issuer, stack, catalogue. Running parts are not restarted."""

import fcntl
from collections.abc import Generator
from contextlib import contextmanager

from devtools import target as targets
from devtools import ui, web
from devtools.cli import UsageError, UserError
from devtools.local import deploy, emulator, issuer, seed
from devtools.target import Target


def bring_up(target: Target | None = None) -> Target:
    """Start the target if it is managed, deploy the current sources and seed the data; return the target. Raises UserError."""
    target = target or targets.from_environment()
    if target.backend == targets.AWS:
        raise UsageError("BACKEND=aws is a stack that is deployed already; bring up embedded or localstack")
    with _deployment_lock():
        start(target)
        issuer.publish(target)
        deployed = deploy.ensure(target)
        if not deployed:
            ui.done("stack", "unchanged since it was deployed")
        seed.seed(target)
    return target


@contextmanager
def _deployment_lock() -> Generator[None]:
    # One deployment at a time.
    with (targets.local_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def start(target: Target) -> None:
    """Start the managed emulator if it is not running, or check that the target of ENDPOINT answers."""
    title = "emulator" if target.backend == "embedded" else "LocalStack"
    with ui.stage(title) as step:
        if target.managed:
            instance, new = emulator.start(target.port)
            step.detail = f"{target.endpoint}, pid {instance.pid}{'' if new else ', already up'}"
        else:
            _check(target)
            step.detail = target.endpoint


def _check(target: Target) -> None:
    try:
        answers = [
            # LocalEmu loads S3 at the first request for an unknown path, which takes seconds.
            web.call("GET", f"{target.endpoint}/_{name}/health", timeout=30).status
            for name in ("localemu", "localstack", "ministack")
        ]
    except OSError:
        raise UserError(f"nothing answers at {target.endpoint}; start {target.backend} there first") from None
    if 200 not in answers:
        raise UserError(f"the program at {target.endpoint} is not {target.backend}; check ENDPOINT and BACKEND")
