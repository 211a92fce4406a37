"""Prints a bearer token for CUSTOMER= (default ann), valid for an hour, alone on its line so that curl can use it."""

from devtools import cli
from devtools import target as targets
from devtools.local import issuer, seed


def main() -> None:
    """Print the token."""
    customer = cli.option("CUSTOMER", "ann")
    print(issuer.token(targets.from_environment(), customer, seed.GROUPS.get(customer, ())))


if __name__ == "__main__":
    cli.run(main)
