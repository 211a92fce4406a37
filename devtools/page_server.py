"""A server of an example page on loopback: its files, and documents that are made anew at each request, such as tokens."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, override
from urllib.parse import urlsplit

from rich.text import Text

from devtools import cli, ui
from devtools.cli import UserError

HOST = "127.0.0.1"
PORTS = 20


class PageServer(ThreadingHTTPServer):
    """Serves the files of folders, of which the first that has a file is used, and JSON documents by path.

    The page may load only from here and from the API. `styles` are the styles that its Content-Security-Policy allows.
    """

    daemon_threads = True

    def __init__(
        self, port: int, folders: tuple[Path, ...], documents: Mapping[str, Callable[[], Any]], api: str, styles: str = "'self'"
    ) -> None:
        """Listen on a port of loopback, 0 for any free one. Raises OSError for a taken port."""
        super().__init__((HOST, port), partial(_Handler, directory=str(folders[0])))
        self.folders = folders
        self.documents = documents
        self.api = api.rstrip("/")
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(api))
        sources = f"default-src 'none'; script-src 'self'; style-src {styles}; img-src 'self' data:; connect-src 'self' {origin}"
        self.policy = f"{sources}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

    @property
    def url(self) -> str:
        """The URL of the page."""
        return f"http://{HOST}:{self.server_port}/"


class _Handler(SimpleHTTPRequestHandler):
    server: PageServer  # pyright: ignore[reportIncompatibleVariableOverride] - the server of this handler

    @override
    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        # DNS rebinding: another site's name can resolve to this machine, and documents can have tokens.
        if self.headers.get("Host") not in {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}:
            self.send_error(HTTPStatus.FORBIDDEN, "ask for 127.0.0.1")
        elif path in self.server.documents:
            self._answer(self.server.documents[path])
        else:
            super().do_GET()

    def _answer(self, create: Callable[[], Any]) -> None:
        try:
            body = json.dumps(create()).encode()
        except Exception as error:
            line = cli.explain(error)
            if line is None:
                raise
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "no stack", line)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def translate_path(self, path: str) -> str:
        found = super().translate_path(path)
        relative = Path(found).relative_to(self.directory)
        return next((str(folder / relative) for folder in self.server.folders if (folder / relative).is_file()), found)

    @override
    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", self.server.policy)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def serve(create: Callable[[int], PageServer], first_port: int, hint: str) -> None:
    """Serve a page on the first free port from `first_port` on, and return after Ctrl-C. Raises UserError when all are taken."""
    with _listening(create, first_port) as server:
        ui.console.print(Text.assemble("  ", (server.url, "bold cyan"), f"  {hint}; Ctrl-C ends it"))
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            ui.console.print("\n  ended")


def _listening(create: Callable[[int], PageServer], first_port: int) -> PageServer:
    for port in range(first_port, first_port + PORTS):
        try:
            return create(port)
        except OSError:
            continue
    raise UserError(f"ports {first_port} to {first_port + PORTS - 1} are all taken; stop one of the pages that run")
