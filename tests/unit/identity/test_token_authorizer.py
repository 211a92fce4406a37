"""The authorizer with real signatures: accepted tokens, and the errors of refused ones."""

from __future__ import annotations

import base64
import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

os.environ.setdefault("JWT_ISSUER", "https://issuer.example.com")
os.environ.setdefault("JWT_AUDIENCE", "order-pipeline")

from identity.handlers import authorize_request
from identity.keys import KeySet, KeysUnavailable
from orderflow.aws.observability import logger
from tests.support import runtime

EVENTS = Path(__file__).resolve().parents[3] / "events" / "identity" / "authorize_request"
ISSUER, AUDIENCE = "https://issuer.example.com", "order-pipeline"
RSA_KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
EC_KEY = ec.generate_private_key(ec.SECP256R1())
JWKS = {
    "keys": [
        json.loads(RSAAlgorithm.to_jwk(RSA_KEY.public_key())) | {"kid": "rsa", "use": "sig", "alg": "RS256"},
        json.loads(ECAlgorithm.to_jwk(EC_KEY.public_key())) | {"kid": "ec", "use": "sig", "alg": "ES256"},
    ]
}
CONTEXT = runtime.context("authorize")


@pytest.fixture(autouse=True)
def issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorize_request, "ISSUER", ISSUER)
    monkeypatch.setattr(authorize_request, "AUDIENCES", [AUDIENCE])
    monkeypatch.setattr(authorize_request, "KEYS", KeySet(lambda: JWKS))


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return the stream of the function's log lines."""
    stream = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", stream)
    return stream


def claims(**changed: Any) -> dict[str, Any]:
    """Return the claims of a valid token with changes; a claim changed to None is omitted."""
    now = int(time.time())
    valid = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "email": "ann@example.com", "email_verified": True, "iat": now, "exp": now + 600}
    return {name: value for name, value in (valid | changed).items() if value is not None}


def token(key: Any = RSA_KEY, algorithm: str = "RS256", key_id: str = "rsa", **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm, headers={"kid": key_id})


def authorize(header: str) -> dict[str, Any]:
    arn = "arn:aws:execute-api:us-east-1:000000000000:sampleapi1/dev/POST/orders"
    return authorize_request.handler({"type": "TOKEN", "authorizationToken": header, "methodArn": arn}, CONTEXT)


def refused(header: str) -> bool:
    """Return whether the header gets exactly the error that API Gateway answers with 401."""
    with pytest.raises(Exception, match=r"^Unauthorized$") as raised:
        authorize(header)
    return type(raised.value) is Exception


def test_valid_token_is_accepted() -> None:
    answer = authorize(f"Bearer {token(groups=['reviewer'])}")
    assert answer["principalId"] == "ann"
    assert answer["context"]["groups"] == "reviewer"
    assert answer["context"]["expires_at"] > time.time()


def test_es256_and_a_lowercase_scheme_are_accepted() -> None:
    assert authorize(f"bearer {token(EC_KEY, 'ES256', 'ec')}")["principalId"] == "ann"


def test_small_clock_differences_are_accepted() -> None:
    now = int(time.time())
    assert authorize(f"Bearer {token(iat=now + 5, nbf=now + 5)}")["principalId"] == "ann"
    assert authorize(f"Bearer {token(exp=now - 5)}")["principalId"] == "ann"


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": int(time.time()) - 60},
        {"exp": None},
        {"exp": "soon"},
        {"iat": None},
        {"iat": int(time.time()) + 600},
        {"nbf": int(time.time()) + 600},
        {"sub": None},
        {"sub": ""},
        {"iss": "https://other.example.com"},
        {"iss": None},
        {"aud": "another-api"},
        {"aud": None, "client_id": AUDIENCE, "token_use": "access"},
        {"token_use": "access"},
    ],
)
def test_token_with_other_claims_is_unauthorized(changed: dict[str, Any]) -> None:
    assert refused(f"Bearer {token(**changed)}")


def test_invalid_signature_is_unauthorized() -> None:
    valid = token()
    head, body, signature = valid.split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims(sub="eve")).encode()).rstrip(b"=").decode()
    public = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    symmetric = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "rsa"}).encode()).rstrip(b"=").decode()
    for bad in (
        token(OTHER_KEY),
        token(key_id="unknown"),
        token(EC_KEY, "ES256", "rsa"),
        token(RSA_KEY, "PS256"),
        jwt.encode(claims(), "", "none", headers={"kid": "rsa"}),
        f"{head}.{forged}.{signature}",
        f"{head}.{body}.",
        f"{symmetric}.{body}.{base64.urlsafe_b64encode(public[:32]).decode()}",
        jwt.encode(claims(), RSA_KEY, "RS256"),
    ):
        assert refused(f"Bearer {bad}")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YW5uOmFubg==", "Bearer a.b", "Bearer ..", "Bearer \x00", "Bearer é.é.é"]
)
def test_header_without_a_token_is_unauthorized(header: str) -> None:
    assert refused(header)


def test_deeply_nested_header_is_unauthorized() -> None:
    deep = base64.urlsafe_b64encode(b"[" * 6000).decode()
    assert refused(f"Bearer {deep}.{deep}.{deep}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jku"]), st.none() | st.booleans() | st.text() | st.lists(st.text())
    ),
    st.binary(max_size=40),
)
def test_arbitrary_token_headers_are_unauthorized(head: dict[str, Any], body: bytes) -> None:
    parts = (json.dumps(head).encode(), body, b"signature")
    assert refused("Bearer " + ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts))


@pytest.mark.parametrize(
    "bad",
    [
        lambda: token(exp=1),
        lambda: token(iss="https://other.example.com"),
        lambda: token(aud="another-api"),
        lambda: token(sub=None),
        lambda: token(nbf=int(time.time()) + 600),
        lambda: token(RSA_KEY, "PS256"),
        lambda: jwt.encode(claims(), "", "none", headers={"kid": "rsa"}),
    ],
)
def test_token_with_invalid_claims_reads_no_keys(monkeypatch: pytest.MonkeyPatch, bad: Callable[[], str]) -> None:
    def fail_on_read() -> Any:
        pytest.fail("the issuer's keys were read: check the claims first")

    monkeypatch.setattr(authorize_request, "KEYS", KeySet(fail_on_read))
    assert refused(f"Bearer {bad()}")


def test_unverified_email_is_not_passed_to_the_api() -> None:
    assert authorize(f"Bearer {token()}")["context"]["email"] == "ann@example.com"
    assert authorize(f"Bearer {token(email_verified=False)}")["context"]["email"] == ""


def test_unavailable_keys_are_a_server_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable() -> Any:
        raise TimeoutError

    monkeypatch.setattr(authorize_request, "KEYS", KeySet(unreachable))
    with pytest.raises(KeysUnavailable):
        authorize(f"Bearer {token()}")


def test_no_part_of_a_token_is_logged(lines: io.StringIO) -> None:
    valid, expired, unknown = token(), token(exp=1), token(key_id="s3cret-key-id")
    authorize(f"Bearer {valid}")
    assert refused(f"Bearer {expired}")
    assert refused(f"Bearer {unknown}")
    assert refused("Bearer s3cret")
    logged = lines.getvalue()
    assert logged.count("request_refused") == 3
    for part in (*valid.split("."), *expired.split("."), *unknown.split("."), "s3cret", "ann@example.com"):
        assert part not in logged


def test_refused_token_is_logged_as_one_info_line(lines: io.StringIO) -> None:
    assert refused(f"Bearer {token(exp=1)}")
    [line] = map(json.loads, lines.getvalue().splitlines())
    assert (line["level"], line["message"], line["reason"]) == ("INFO", "request_refused", "ExpiredSignatureError")


@pytest.mark.parametrize("sample", sorted(path.stem for path in EVENTS.glob("*.json") if not path.stem.endswith(".answer")))
def test_samples_have_their_answers(sample: str) -> None:
    event = json.loads((EVENTS / f"{sample}.json").read_text().replace("${TOKEN_ANN}", token()))
    expected = json.loads((EVENTS / f"{sample}.answer.json").read_text())
    if "errorMessage" in expected:
        assert expected == {"errorMessage": "Unauthorized"}
        with pytest.raises(Exception, match=r"^Unauthorized$"):
            authorize_request.handler(event, CONTEXT)
    else:
        answer = authorize_request.handler(event, CONTEXT)
        assert answer["policyDocument"] == expected["policyDocument"]
        assert answer["context"]["customer_id"] == expected["context"]["customer_id"]
