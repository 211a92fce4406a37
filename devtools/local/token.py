"""Print a customer's bearer token, alone on its line for use with curl."""

from argparse import Namespace

from devtools import target as targets
from devtools.local import issuer, seed


def main(arguments: Namespace) -> None:
    """Print the token."""
    customer = arguments.customer
    print(issuer.token(targets.from_environment(), customer, seed.GROUPS.get(customer, ())))
