"""`make shop`: serve the example shop on loopback for a local target, with tokens of its customers, until Ctrl-C."""

import json
from argparse import Namespace
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import override
from urllib.parse import urlsplit

from rich.text import Text

from devtools import target as targets
from devtools import ui
from devtools.cli import UserError
from devtools.local import issuer, seed
from devtools.target import ROOT, Target

FILES = ROOT / "examples" / "shop"
HOST = "127.0.0.1"
FIRST_PORT = 4620
PORTS = 20


class Server(ThreadingHTTPServer):
    """Serves the page's files, and `config.json` with the API's URL and a token of each customer."""

    daemon_threads = True

    def __init__(self, port: int, target: Target) -> None:
        """Listen on a port of loopback, 0 for any free one. Raises OSError for a taken port."""
        super().__init__((HOST, port), partial(_Handler, directory=str(FILES)))
        self.target = target
        self.api = target.api_url("").rstrip("/")

    @property
    def url(self) -> str:
        """The URL of the page."""
        return f"http://{HOST}:{self.server_port}/"

    def config(self) -> bytes:
        """Return the page's configuration with tokens that expire in an hour."""
        tokens = {name: issuer.token(self.target, name) for name in seed.REGULARS}
        return json.dumps({"api": self.api, "tokens": tokens}).encode()


class _Handler(SimpleHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride] - the server of this handler

    @override
    def do_GET(self) -> None:
        # DNS rebinding: another site's name can resolve to this machine, and the configuration has tokens.
        if self.headers.get("Host") not in {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}:
            self.send_error(HTTPStatus.FORBIDDEN, "ask for 127.0.0.1")
        elif urlsplit(self.path).path == "/config.json":
            body = self.server.config()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            super().do_GET()

    @override
    def end_headers(self) -> None:
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(self.server.api))
        policy = f"default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' {origin}"
        self.send_header("Content-Security-Policy", f"{policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def listening(target: Target) -> Server:
    """Return a server on the shop's first free port. Raises UserError when all are taken."""
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        try:
            return Server(port, target)
        except OSError:
            continue
    raise UserError(f"ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are all taken; stop one of the shops that run")


def main(_arguments: Namespace) -> None:
    """Serve the shop of the local target that is up, and return after Ctrl-C."""
    with listening(targets.from_environment()) as listener:
        ui.console.print(Text.assemble("  ", (listener.url, "bold cyan"), "  choose a customer and place an order; Ctrl-C ends it"))
        try:
            listener.serve_forever()
        except KeyboardInterrupt:
            ui.console.print("\n  ended")
