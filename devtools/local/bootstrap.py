"""Have the pipeline run locally: emulator, keys, stack, catalogue. What is up already is left as it is."""

import fcntl
from collections.abc import Generator
from contextlib import contextmanager

from devtools import target as targets
from devtools import ui, web
from devtools.cli import UserError
from devtools.local import deploy, emulator, issuer, seed
from devtools.target import Target


def ready(target: Target | None = None) -> Target:
    """The target, started if it is ours, with the present sources deployed and seeded. Raises UserError if not."""
    target = target or targets.from_environment()
    with _alone():
        start(target)
        issuer.publish(target)
        deployed = deploy.ensure(target)
        if not deployed:
            ui.done("stack", "unchanged since it was deployed")
        seed.seed(target)
    return target


@contextmanager
def _alone() -> Generator[None]:
    # Two at once would deploy into each other.
    with (targets.local_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def start(target: Target) -> None:
    """Have the target answer: start or find our emulator, or check that the one given by ENDPOINT is up."""
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
            # LocalEmu loads its S3 to answer for a path that it does not know, which takes it seconds the first time.
            web.call("GET", f"{target.endpoint}/_{name}/health", timeout=30).status
            for name in ("localemu", "localstack", "ministack")
        ]
    except OSError:
        raise UserError(f"nothing answers at {target.endpoint}; start {target.backend} there first") from None
    if 200 not in answers:
        raise UserError(f"what answers at {target.endpoint} is no {target.backend}")
