"""Create a user, put it into a group, and print a token of it with TOKEN=1."""

import re
from argparse import Namespace

from devtools import target as targets
from devtools import ui
from devtools.cli import UsageError, UserError
from devtools.trial import users


def main(arguments: Namespace) -> None:
    """Create the user; the token is alone on its line, for use with curl."""
    email, group = arguments.email, arguments.group
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email):
        raise UsageError(f"EMAIL must be an address such as ann@example.com, not {email!r}")
    target = targets.chosen(arguments.stack)
    pool = users.pool_of(target)
    if pool is None:
        token = users.local_token(target, email, group)
        print(token if arguments.token else f"the local issuer needs no user; a token: make user EMAIL={email} TOKEN=1")
        return
    if arguments.token and target.resources["ApiStage"] == "prod":
        raise UserError("TOKEN=1 replaces the user's password, so it is refused on the stage prod; sign in as the user instead")
    created = pool.add(email, invite=not arguments.token)
    if group:
        pool.put_into_group(email, group)
    if arguments.token:
        print(pool.token(email))
        return
    ui.done(email, f"{'created, Cognito emails a temporary password' if created else 'exists'}{f', in group {group}' if group else ''}")
