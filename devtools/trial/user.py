"""Create a user, put it into a group, and print a token of it with TOKEN=1."""

from argparse import Namespace

from devtools import target as targets
from devtools import ui
from devtools.trial import users


def main(arguments: Namespace) -> None:
    """Create the user; the token is alone on its line, for use with curl."""
    email, group = users.checked_address(arguments.email), arguments.group
    target = targets.chosen(arguments.stack)
    if arguments.token:
        print(users.sign_in(target, email, (group,) if group else ()).token)
        return
    pool = users.pool_of(target)
    if pool is None:
        users.local_token(target, email)
        named = f"EMAIL={email} GROUP={group}" if group else f"EMAIL={email}"
        print(f"the local issuer needs no user; a token: make user {named} TOKEN=1")
        return
    created = pool.add(email, invite=True)
    state = "created, Cognito emails a temporary password" if created else str(pool.user(email))
    if group:
        pool.put_into_group(email, group)
    ui.done(email, f"{state}{f', in group {group}' if group else ''}")
