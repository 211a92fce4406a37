"""How often the issuer is asked for its keys, and what happens when it does not answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from identity.keys import COOLDOWN_SECONDS, LIFESPAN_SECONDS, KeySet, KeysUnavailable, UnknownKey


def published(*key_ids: str, **members: str) -> dict[str, Any]:
    """A JWKS document with a key for each id."""
    public = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()))
    return {"keys": [public | {"kid": key_id, "alg": "ES256"} | members for key_id in key_ids]}


class Issuer:
    """Publishes keys, counts its requests, and can be unreachable. Its clock advances only when set."""

    def __init__(self, *key_ids: str) -> None:
        self.document: Any = published(*key_ids)
        self.up = True
        self.asked = 0
        self.now = 1000.0
        self.keys = KeySet(self.fetch, lambda: self.now)

    def fetch(self) -> Any:
        self.asked += 1
        if not self.up:
            raise TimeoutError
        return self.document


def test_keys_are_read_once_and_again_when_they_are_old() -> None:
    issuer = Issuer("one")
    for _ in range(5):
        assert issuer.keys.signing_key("one").key_id == "one"
    assert issuer.asked == 1
    issuer.now += LIFESPAN_SECONDS
    issuer.keys.signing_key("one")
    assert issuer.asked == 2


def test_withdrawn_key_expires_from_the_cache() -> None:
    issuer = Issuer("one")
    issuer.keys.signing_key("one")
    issuer.document = published("two")
    issuer.now += LIFESPAN_SECONDS
    with pytest.raises(UnknownKey):
        issuer.keys.signing_key("one")


def test_a_rotated_key_is_found_by_one_more_read() -> None:
    issuer = Issuer("one")
    issuer.keys.signing_key("one")
    issuer.document = published("one", "two")
    issuer.now += COOLDOWN_SECONDS
    assert issuer.keys.signing_key("two").key_id == "two"
    assert issuer.asked == 2


def test_forged_key_ids_do_not_turn_each_request_into_a_read() -> None:
    issuer = Issuer("one")
    issuer.keys.signing_key("one")
    issuer.now += COOLDOWN_SECONDS
    for number in range(100):
        with pytest.raises(UnknownKey):
            issuer.keys.signing_key(f"forged-{number}")
    assert issuer.asked == 2


@pytest.mark.parametrize("up", [True, False])
def test_unavailable_keys_are_a_server_error(up: bool) -> None:
    issuer = Issuer("one")
    issuer.up, issuer.document = up, {"keys": []}
    with pytest.raises(KeysUnavailable):
        issuer.keys.signing_key("one")
    issuer.up, issuer.document = True, published("one")
    assert issuer.keys.signing_key("one").key_id == "one"


def test_known_keys_stay_good_while_the_issuer_is_out_of_reach() -> None:
    issuer = Issuer("one")
    issuer.keys.signing_key("one")
    issuer.up = False
    issuer.now += LIFESPAN_SECONDS
    for _ in range(3):
        assert issuer.keys.signing_key("one").key_id == "one"
    assert issuer.asked == 2
    with pytest.raises(KeysUnavailable):
        issuer.keys.signing_key("perhaps-new")


def test_keys_for_encryption_do_not_verify_tokens() -> None:
    issuer = Issuer("one")
    issuer.document = {"keys": published("one")["keys"] + published("two", use="enc")["keys"]}
    with pytest.raises(UnknownKey):
        issuer.keys.signing_key("two")
