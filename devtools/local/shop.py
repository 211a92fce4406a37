"""`make shop`: serve the example shop on loopback for a local target, with tokens of its customers, until Ctrl-C."""

from argparse import Namespace
from dataclasses import replace

from devtools import page_server
from devtools import target as targets
from devtools.local import issuer, seed
from devtools.page_server import PageServer
from devtools.target import ROOT, Target

FILES = ROOT / "examples" / "shop"
FIRST_PORT = 4620


def server(port: int, target: Target) -> PageServer:
    """Return the shop's server: the page's files, and `config.json` with the API's URL and a token of each customer, for an hour."""

    def config() -> dict[str, object]:
        # A copy has not read the stack: a deployment since then may have given the API another URL.
        return {"api": replace(target).api_url("").rstrip("/"), "tokens": {name: issuer.token(target, name) for name in seed.REGULARS}}

    return PageServer(port, (FILES,), {"/config.json": config}, target.api_url(""))


def main(_arguments: Namespace) -> None:
    """Serve the shop of the local target that is up, and return after Ctrl-C."""
    target = targets.from_environment()
    page_server.serve(lambda port: server(port, target), FIRST_PORT, "choose a customer and place an order")
