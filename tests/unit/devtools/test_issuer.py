"""Tokens signed by the local issuer are verified with its published keys."""

import stat
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from devtools.local import issuer

ISSUER = "http://127.0.0.1:4566/order-pipeline-issuer"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _verified(token: str, key: rsa.RSAPrivateKey) -> dict[str, object]:
    published = jwt.PyJWKSet.from_dict(issuer.jwks(key))
    found = published[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, found.key, algorithms=["RS256"], audience=issuer.AUDIENCE, issuer=ISSUER)


def test_token_names_the_customer(key: rsa.RSAPrivateKey) -> None:
    claims = _verified(issuer.sign(key, ISSUER, "rex", ("clerks",), expires_in=60), key)
    assert (claims["sub"], claims["email"], claims["groups"]) == ("rex", "rex@example.com", ["clerks"])
    assert 0 < float(str(claims["exp"])) - time.time() <= 60


def test_expired_token_is_rejected(key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(jwt.ExpiredSignatureError):
        _verified(issuer.sign(key, ISSUER, "ann", expires_in=-60), key)


def test_claims_can_be_replaced(key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(jwt.InvalidAudienceError):
        _verified(issuer.sign(key, ISSUER, "ann", aud="another"), key)


def test_published_keys_contain_no_private_part(key: rsa.RSAPrivateKey) -> None:
    assert not {"d", "p", "q", "dp", "dq", "qi"} & issuer.jwks(key)["keys"][0].keys()


def test_key_is_created_once_and_readable_by_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "issuer.pem"
    first = issuer.signing_key(path)
    issuer.signing_key.cache_clear()
    assert issuer.key_id(issuer.signing_key(path)) == issuer.key_id(first)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
