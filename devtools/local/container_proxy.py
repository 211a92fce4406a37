"""A way from Lambda containers to the emulator: it listens on loopback only, which a container cannot reach.

The forwarder listens on the address of Docker's own bridge, takes connections from that bridge's network only,
and lives as long as the `with` block that needs it.
"""

import contextlib
import socket
import socketserver
import sys
import threading
from collections.abc import Generator
from ipaddress import IPv4Network, ip_address
from typing import Any

from devtools.cli import UserError

BRIDGE = IPv4Network("172.17.0.0/16")
BRIDGE_ADDRESS = "172.17.0.1"
CONNECT_SECONDS = 5.0


def from_bridge(address: str) -> bool:
    """Whether a peer's address belongs to Docker's bridge (the host itself has its first address)."""
    return ip_address(address) in BRIDGE


class _Forward(socketserver.BaseRequestHandler):
    upstream: tuple[str, int]

    def handle(self) -> None:
        with contextlib.suppress(OSError), socket.create_connection(self.upstream, timeout=CONNECT_SECONDS) as onward:
            onward.settimeout(None)
            back = threading.Thread(target=_pump, args=(onward, self.request), daemon=True)
            back.start()
            _pump(self.request, onward)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)
    # What was said is passed on to its end; the other direction goes on.
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - the base class names them
        return from_bridge(client_address[0])


@contextlib.contextmanager
def open_for_containers(port: int, address: str = BRIDGE_ADDRESS) -> Generator[str]:
    """The emulator's endpoint as containers reach it, while the block runs; `port` is where it listens on loopback.

    Raises UserError where there is no such address: Docker is not running, or has another bridge.
    """
    if sys.platform == "darwin":
        # Docker Desktop forwards its own name for the host to the host's loopback.
        yield f"http://host.docker.internal:{port}"
        return
    handler = type("Forward", (_Forward,), {"upstream": ("127.0.0.1", port)})
    try:
        server = _Server((address, port), handler)
    except OSError as error:
        raise UserError(f"cannot listen on {address}:{port} for Lambda containers ({error.strerror}); is Docker running?") from None
    with server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://{address}:{port}"
        finally:
            server.shutdown()
