"""`make shop`: serve the example shop on loopback for a local target, with tokens of its customers, until Ctrl-C."""

from argparse import Namespace

from devtools import page_server
from devtools import target as targets
from devtools.local import issuer, seed
from devtools.page_server import PageServer
from devtools.target import ROOT, Target

FILES = ROOT / "examples" / "shop"
FIRST_PORT = 4620


def server(port: int, target: Target) -> PageServer:
    """Return the shop's server: the page's files, and `config.json` with the API's URL and a token of each customer, for an hour."""
    api = target.api_url("").rstrip("/")

    def config() -> dict[str, object]:
        return {"api": api, "tokens": {name: issuer.token(target, name) for name in seed.REGULARS}}

    return PageServer(port, (FILES,), {"/config.json": config}, api)


def main(_arguments: Namespace) -> None:
    """Serve the shop of the local target that is up, and return after Ctrl-C."""
    target = targets.from_environment()
    page_server.serve(lambda port: server(port, target), FIRST_PORT, "choose a customer and place an order")
