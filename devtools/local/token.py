"""Prints a bearer token for CUSTOMER= (default ann), valid for an hour, alone on its line so that curl can use it."""

from argparse import Namespace

from devtools import target as targets
from devtools.local import issuer, seed


def main(arguments: Namespace) -> None:
    """Print the token."""
    customer = arguments.customer
    print(issuer.token(targets.from_environment(), customer, seed.GROUPS.get(customer, ())))
