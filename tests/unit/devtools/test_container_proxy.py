"""The container proxy accepts only peers of Docker's own network."""

import pytest

from devtools.cli import UserError
from devtools.local import container_proxy


@pytest.mark.parametrize(
    ("address", "allowed"), [("172.17.0.2", True), ("172.17.0.1", True), ("192.168.1.9", False), ("172.18.0.2", False)]
)
def test_peers_outside_the_bridge_are_rejected(address: str, allowed: bool) -> None:
    assert container_proxy.from_bridge(address) is allowed


def test_missing_bridge_is_reported_in_one_line() -> None:
    # 203.0.113.0/24 is reserved for documentation, so no machine has this address.
    with pytest.raises(UserError, match="Docker"), container_proxy.open_for_containers(4566, "203.0.113.1"):
        pass
