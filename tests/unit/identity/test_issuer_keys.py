"""Caching of the issuer's keys: number of reads, rotation and outages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from identity.keys import COOLDOWN_SECONDS, LIFESPAN_SECONDS, KeySet, KeysUnavailable, UnknownKey


def published(*key_ids: str, **members: str) -> dict[str, Any]:
    """Return a JWKS document with a key for each id."""
    public = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()))
    return {"keys": [public | {"kid": key_id, "alg": "ES256"} | members for key_id in key_ids]}


class Issuer:
    """An issuer that counts its requests and can be unavailable; the test sets its clock."""

    def __init__(self, *key_ids: str) -> None:
        self.document: Any = published(*key_ids)
        self.up = True
        self.requests = 0
        self.now = 1000.0
        self.keys = KeySet(self.fetch, lambda: self.now)

    def fetch(self) -> Any:
        self.requests += 1
        if not self.up:
            raise TimeoutError
        return self.document


def test_keys_are_read_again_after_their_lifespan() -> None:
    issuer = Issuer("one")
    for _ in range(5):
        assert issuer.keys.signing_key("one").key_id == "one"
    assert issuer.requests == 1
    issuer.now += LIFESPAN_SECONDS
    issuer.keys.signing_key("one")
    assert issuer.requests == 2


def test_withdrawn_key_expires_from_the_cache() -> None:
    issuer = Issuer("one")
    issuer.keys.signing_key("one")
    issuer.document = published("two")
    issuer.now += LIFESPAN_SECONDS
    with pytest.raises(UnknownKey):
        issuer.keys.signing_key("one")


def test_rotated_key_is_found_by_one_more_read() -> None:
    issuer = Issuer("one")
    issuer.keys.signing_key("one")
    issuer.document = published("one", "two")
    issuer.now += COOLDOWN_SECONDS
    assert issuer.keys.signing_key("two").key_id == "two"
    assert issuer.requests == 2


def test_unknown_key_ids_cause_at_most_one_read_per_cooldown() -> None:
    issuer = Issuer("one")
    issuer.keys.signing_key("one")
    issuer.now += COOLDOWN_SECONDS
    for number in range(100):
        with pytest.raises(UnknownKey):
            issuer.keys.signing_key(f"forged-{number}")
    assert issuer.requests == 2


@pytest.mark.parametrize("up", [True, False])
def test_unavailable_keys_are_a_server_error(up: bool) -> None:
    issuer = Issuer("one")
    issuer.up, issuer.document = up, {"keys": []}
    with pytest.raises(KeysUnavailable):
        issuer.keys.signing_key("one")
    issuer.up, issuer.document = True, published("one")
    assert issuer.keys.signing_key("one").key_id == "one"


def test_cached_keys_stay_valid_while_the_issuer_is_unavailable() -> None:
    issuer = Issuer("one")
    issuer.keys.signing_key("one")
    issuer.up = False
    issuer.now += LIFESPAN_SECONDS
    for _ in range(3):
        assert issuer.keys.signing_key("one").key_id == "one"
    assert issuer.requests == 2
    with pytest.raises(KeysUnavailable):
        issuer.keys.signing_key("perhaps-new")


def test_keys_for_encryption_do_not_verify_tokens() -> None:
    issuer = Issuer("one")
    issuer.document = {"keys": published("one")["keys"] + published("two", use="enc")["keys"]}
    with pytest.raises(UnknownKey):
        issuer.keys.signing_key("two")
