"""Forward connections of Lambda containers to the emulator, which listens on loopback where containers cannot reach it.

The forwarder listens on the host's address in Docker's bridge network and accepts connections from that network only. Containers
reach it by the name host.docker.internal, which the settings of functions accept, whatever the address is.
"""

import contextlib
import socket
import socketserver
import sys
import threading
from collections.abc import Generator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from typing import Any

import docker  # pyright: ignore[reportMissingTypeStubs]
from docker.errors import DockerException  # pyright: ignore[reportMissingTypeStubs]

from devtools.cli import UserError

HOST = "host.docker.internal"
CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Bridge:
    """Docker's bridge network, and the host's address in it."""

    gateway: IPv4Address
    network: IPv4Network


def bridge() -> Bridge:
    """Return the engine's bridge network. A dev container or another configuration has another one than 172.17.0.0/16.

    Raises UserError where no engine answers, or it has no bridge.
    """
    try:
        found: Any = docker.from_env(timeout=10).networks.get("bridge").attrs  # pyright: ignore[reportUnknownMemberType]
    except DockerException as error:
        raise UserError(f"Docker has no bridge network ({' '.join(str(error).split())}); is Docker running?") from None
    for one in found["IPAM"]["Config"] or ():
        if isinstance(network := ip_network(one["Subnet"], strict=False), IPv4Network):
            return Bridge(IPv4Address(one["Gateway"]) if one.get("Gateway") else network[1], network)
    raise UserError("Docker's bridge network has no IPv4 subnet, by which containers could reach the emulator")


@dataclass(frozen=True)
class Opened:
    """The emulator as containers reach it: its endpoint, and the options by which SAM makes the endpoint's name known to them."""

    endpoint: str
    options: tuple[str, ...] = ()


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
    network: IPv4Network
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - the base class names them
        return ip_address(client_address[0]) in self.network


@contextlib.contextmanager
def open_for_containers(port: int) -> Generator[Opened]:
    """Yield the emulator's endpoint as containers reach it; `port` is the emulator's on loopback.

    Raises UserError where the bridge's address is not one of this machine: Docker is not running, or runs elsewhere.
    """
    endpoint = f"http://{HOST}:{port}"
    if sys.platform == "darwin":
        # Docker Desktop resolves the name to the host's loopback.
        yield Opened(endpoint)
        return
    found = bridge()
    handler = type("Forward", (_Forward,), {"upstream": ("127.0.0.1", port)})
    accepting = type("Server", (_Server,), {"network": found.network})
    try:
        server = accepting((str(found.gateway), port), handler)
    except OSError as error:
        raise UserError(
            f"cannot listen on {found.gateway}:{port} for Lambda containers ({error.strerror}); is Docker running here?"
        ) from None
    with server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield Opened(endpoint, ("--add-host", f"{HOST}:{found.gateway}"))
        finally:
            server.shutdown()
