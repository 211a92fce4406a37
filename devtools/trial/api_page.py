"""`make docs`: serve Swagger UI on loopback for the API of a stack, signed in where the stack is local, until Ctrl-C."""

from argparse import Namespace
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from devtools import page_server
from devtools import target as targets
from devtools.cli import UserError
from devtools.local import issuer, seed
from devtools.page_server import PageServer
from devtools.target import Target

FILES = Path(__file__).parent / "swagger"
FIRST_PORT = 4640


def server(port: int, target: Target, customer: str) -> PageServer:
    """Return the page's server: Swagger UI's files, and `config.json` with the document's URL and a token, empty for a stack on AWS."""

    def config() -> dict[str, str]:
        # A copy has not read the stack: a deployment since then may have given the API another URL.
        document = replace(target).api_url("/openapi.json")
        return {"openapi": document, "token": issuer.token(target, customer, seed.GROUPS.get(customer, ())) if target.local else ""}

    # Swagger UI sets the size of its logo by an inline style.
    return PageServer(port, (FILES, swagger_ui()), {"/config.json": config}, target.api_url(""), styles="'self' 'unsafe-inline'")


def swagger_ui() -> Path:
    """Return the folder of Swagger UI's files. Its package is not imported, because only its Flask part has code."""
    found = find_spec("flask_swagger_ui")
    if found is None or found.origin is None:
        raise UserError("Swagger UI is not installed; run `make setup` first")
    return Path(found.origin).parent / "dist"


def main(arguments: Namespace) -> None:
    """Serve the page of the API, and return after Ctrl-C."""
    target = targets.chosen(arguments.stack)
    hint = f"requests are those of {arguments.customer}" if target.local else "authorize with a token of `make user TOKEN=1`"
    page_server.serve(lambda port: server(port, target, arguments.customer), FIRST_PORT, hint)
