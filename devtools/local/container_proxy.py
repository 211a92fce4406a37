"""Forward connections of Lambda containers to the emulator, which listens on loopback where containers cannot reach it.

The forwarder listens on the address of Docker's bridge and accepts connections from the bridge's network only.
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
    """Return whether a peer's address belongs to Docker's bridge (the host has its first address)."""
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
    # Half-close: the other direction stays open.
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
    """Yield the emulator's endpoint as containers reach it; `port` is the emulator's on loopback.

    Raises UserError where the address does not exist: Docker is not running, or has another bridge.
    """
    if sys.platform == "darwin":
        # Docker Desktop resolves this name to the host's loopback.
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
