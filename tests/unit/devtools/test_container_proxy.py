"""The container proxy listens in the network of Docker's bridge, and accepts only its peers."""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import DockerException  # pyright: ignore[reportMissingTypeStubs]

from devtools.cli import UserError
from devtools.local import container_proxy
from devtools.local.container_proxy import Bridge

# Every address of 127.0.0.0/8 is this machine's, so a bridge of it can be listened on without Docker.
CONFIG = {"Subnet": "127.18.0.0/16", "Gateway": "127.18.0.1"}
type Engine = Callable[..., None]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Let the Docker engine have a bridge network with the given subnets."""
    monkeypatch.setattr(container_proxy.sys, "platform", "linux")

    def has(*config: dict[str, str]) -> None:
        network = SimpleNamespace(attrs={"IPAM": {"Config": list(config) or None}})
        client = SimpleNamespace(networks=SimpleNamespace(get={"bridge": network}.__getitem__))
        monkeypatch.setattr(container_proxy.docker, "from_env", lambda **_: client)

    return has


@contextmanager
def emulator() -> Iterator[int]:
    """Answer every connection to a port of loopback with a greeting."""

    class Greeting(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"emulator")

    with socketserver.TCPServer(("127.0.0.1", 0), Greeting) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def greeting(address: str, port: int, peer: str) -> bytes:
    """Connect from an address and return the answer, empty where the connection is refused."""
    try:
        with socket.create_connection((address, port), timeout=10, source_address=(peer, 0)) as connection:
            return connection.makefile("rb").read()
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(
    ("config", "gateway"),
    [({"Subnet": "10.200.0.0/24", "Gateway": "10.200.0.254"}, "10.200.0.254"), ({"Subnet": "172.18.0.0/16"}, "172.18.0.1")],
)
def test_bridge_is_the_engines(engine: Engine, config: dict[str, str], gateway: str) -> None:
    engine({"Subnet": "fd00::/64", "Gateway": "fd00::1"}, config)
    found: Any = container_proxy.bridge()
    assert isinstance(found, Bridge)
    assert (str(found.gateway), str(found.network)) == (gateway, config["Subnet"])


def test_containers_reach_the_emulator_by_name_in_another_bridge(engine: Engine) -> None:
    engine(CONFIG)
    with emulator() as port, container_proxy.open_for_containers(port) as opened:
        assert opened.endpoint == f"http://host.docker.internal:{port}"
        assert opened.options == ("--add-host", "host.docker.internal:127.18.0.1")
        assert greeting("127.18.0.1", port, "127.18.0.7") == b"emulator"


def test_peers_outside_the_bridge_are_rejected(engine: Engine) -> None:
    engine(CONFIG)
    with emulator() as port, container_proxy.open_for_containers(port):
        assert greeting("127.18.0.1", port, "127.17.0.2") == b""


def test_bridge_of_another_machine_is_reported_in_one_line(engine: Engine) -> None:
    # 203.0.113.0/24 is reserved for documentation, so no machine has this address.
    engine({"Subnet": "203.0.113.0/24", "Gateway": "203.0.113.1"})
    with pytest.raises(UserError, match=r"cannot listen on 203\.0\.113\.1:4566"), container_proxy.open_for_containers(4566):
        pass


def test_engine_without_a_bridge_is_reported_in_one_line(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine()
    with pytest.raises(UserError, match="no IPv4 subnet"):
        container_proxy.bridge()

    def missing(**_: object) -> None:
        raise DockerException("404\nnetwork bridge not found")

    monkeypatch.setattr(container_proxy.docker, "from_env", missing)
    with pytest.raises(UserError, match=r"Docker has no bridge network \(404 network bridge not found\)"):
        container_proxy.bridge()
