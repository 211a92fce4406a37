"""SnapStart: reseeds random numbers after Lambda restores a function from a snapshot.

Restored processes begin with the same memory, so pseudo-random numbers would repeat, and with them the backoff of retries.
Clients connect when they are first used, and nothing at import depends on the time
(https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html).
"""

import os
import random


def reseed_after_restore() -> None:
    """Seed `random` from the operating system in every process that is restored; without SnapStart do nothing."""
    # Lambda sets it before it imports the function.
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        from snapshot_restore_py import register_after_restore  # pyright: ignore[reportMissingTypeStubs]  # noqa: PLC0415 - part of the runtime

        register_after_restore(random.seed)
