"""The authorizer with real signatures: which tokens it takes, and which error the others get."""

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
    """What the function logs."""
    stream = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", stream)
    return stream


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good token; a claim changed to nothing is left out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "email": "ann@example.com", "email_verified": True, "iat": now, "exp": now + 600}
    return {name: value for name, value in (good | changed).items() if value is not None}


def token(key: Any = RSA_KEY, algorithm: str = "RS256", key_id: str = "rsa", **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm, headers={"kid": key_id})


def ask(header: str) -> dict[str, Any]:
    arn = "arn:aws:execute-api:us-east-1:000000000000:sampleapi1/dev/POST/orders"
    return authorize_request.handler({"type": "TOKEN", "authorizationToken": header, "methodArn": arn}, CONTEXT)


def refused(header: str) -> bool:
    """Whether the header gets exactly the error that API Gateway answers with 401."""
    with pytest.raises(Exception, match=r"^Unauthorized$") as raised:
        ask(header)
    return type(raised.value) is Exception


def test_a_good_token_lets_its_bearer_in() -> None:
    answer = ask(f"Bearer {token(groups=['reviewer'])}")
    assert answer["principalId"] == "ann"
    assert answer["context"]["groups"] == "reviewer"
    assert answer["context"]["expires_at"] > time.time()


def test_elliptic_curve_signatures_and_any_case_of_the_scheme_are_taken() -> None:
    assert ask(f"bearer {token(EC_KEY, 'ES256', 'ec')}")["principalId"] == "ann"


def test_clocks_may_differ_a_little() -> None:
    now = int(time.time())
    assert ask(f"Bearer {token(iat=now + 5, nbf=now + 5)}")["principalId"] == "ann"
    assert ask(f"Bearer {token(exp=now - 5)}")["principalId"] == "ann"


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
def test_a_token_with_other_claims_is_unauthorized(changed: dict[str, Any]) -> None:
    assert refused(f"Bearer {token(**changed)}")


def test_a_signature_that_does_not_match_is_unauthorized() -> None:
    good = token()
    head, body, signature = good.split(".")
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
def test_a_header_without_a_token_is_unauthorized(header: str) -> None:
    assert refused(header)


def test_a_deeply_nested_header_is_unauthorized() -> None:
    deep = base64.urlsafe_b64encode(b"[" * 6000).decode()
    assert refused(f"Bearer {deep}.{deep}.{deep}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jku"]), st.none() | st.booleans() | st.text() | st.lists(st.text())
    ),
    st.binary(max_size=40),
)
def test_no_header_of_a_token_is_anything_but_unauthorized(head: dict[str, Any], body: bytes) -> None:
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
def test_a_token_of_wrong_claims_never_reaches_the_keys(monkeypatch: pytest.MonkeyPatch, bad: Callable[[], str]) -> None:
    def unasked() -> Any:
        pytest.fail("the issuer was asked for its keys")

    monkeypatch.setattr(authorize_request, "KEYS", KeySet(unasked))
    assert refused(f"Bearer {bad()}")


def test_an_unverified_address_is_not_passed_on() -> None:
    assert ask(f"Bearer {token()}")["context"]["email"] == "ann@example.com"
    assert ask(f"Bearer {token(email_verified=False)}")["context"]["email"] == ""


def test_keys_that_cannot_be_read_are_another_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable() -> Any:
        raise TimeoutError

    monkeypatch.setattr(authorize_request, "KEYS", KeySet(unreachable))
    with pytest.raises(KeysUnavailable):
        ask(f"Bearer {token()}")


def test_no_part_of_a_token_is_logged(lines: io.StringIO) -> None:
    good, expired, unknown = token(), token(exp=1), token(key_id="s3cret-key-id")
    ask(f"Bearer {good}")
    assert refused(f"Bearer {expired}")
    assert refused(f"Bearer {unknown}")
    assert refused("Bearer s3cret")
    logged = lines.getvalue()
    assert logged.count("request_refused") == 3
    for part in (*good.split("."), *expired.split("."), *unknown.split("."), "s3cret", "ann@example.com"):
        assert part not in logged


def test_a_bad_token_is_one_quiet_line_and_no_error(lines: io.StringIO) -> None:
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
