"""`make check-sender`: check before a deployment that SES has verified the sender of its emails."""

from argparse import Namespace

from devtools import target as targets
from devtools.cli import UserError
from devtools.ops import doctor
from devtools.ops.findings import checked
from devtools.target import Target


def main(arguments: Namespace) -> None:
    """Check the given sender, by default the one that a deployment keeps. Raises UserError where it is not verified.

    Where the account refuses the check, the result is unknown and a deployment continues.
    """
    target = targets.chosen(arguments.stack)
    address = arguments.email or _kept(target)
    found = checked("sender", lambda: doctor.verified_sender(target, address))
    if found.level == "warning":
        raise UserError(found.detail)
    doctor.show(found)


def _kept(target: Target) -> str:
    """Return the sender of a deployment that sets none: the stack's, or the template's default for a new stack."""
    given = doctor.defaults() if target.stack_outputs() is None else doctor.stack_parameters(target)
    return given["EmailFrom"]
