"""Print a customer's bearer token, alone on its line for use with curl."""

from argparse import Namespace

from devtools import target as targets
from devtools.local import seed
from devtools.trial import users


def main(arguments: Namespace) -> None:
    """Print the token."""
    customer = arguments.customer
    print(users.sign_in(targets.chosen(arguments.stack), customer, seed.GROUPS.get(customer, ())).token)
