"""The local OpenID issuer: signs customers' tokens and publishes its keys in a public bucket of the target."""

import json
import os
import time
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from devtools import target as targets
from devtools import web
from devtools.target import Target

BUCKET = "order-pipeline-issuer"
AUDIENCE = "order-pipeline"


def issuer(target: Target) -> str:
    """Return the `iss` claim that the target's API accepts."""
    return f"{target.endpoint}/{BUCKET}"


def jwks_url(target: Target) -> str:
    """Return the URL of the keys as functions reach it."""
    return f"{endpoint_for_functions(target)}/{BUCKET}/jwks.json"


def endpoint_for_functions(target: Target) -> str:
    """Return the target's endpoint as functions reach it; FUNCTION_ENDPOINT replaces it for a LocalStack with its own networks."""
    given = os.environ.get("FUNCTION_ENDPOINT", "").strip()
    if given:
        return targets.require_loopback(given, also=targets.CONTAINER_HOSTS)
    if target.backend == "embedded":
        return target.endpoint
    # LocalStack's containers resolve its name; its open code runs on the host, which containers reach over the bridge.
    open_code = web.call("GET", f"{target.endpoint}/_localemu/health").status == 200
    return f"http://{'172.17.0.1' if open_code else 'localhost.localstack.cloud'}:{target.port}"


@cache
def signing_key(path: Path | None = None) -> rsa.RSAPrivateKey:
    """Return the issuer's RSA key, created once and stored in .local/ with access for its owner only."""
    path = path or targets.local_folder() / "issuer.pem"
    if not path.exists():
        _store(path, rsa.generate_private_key(public_exponent=65537, key_size=2048))
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{path} holds no RSA key")
    return key


def _store(path: Path, key: rsa.RSAPrivateKey) -> None:
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text)
    try:
        # The link fails when another process stored its key first: both use that key.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def jwks(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    """Return the public key as a JSON Web Key Set."""
    return {"keys": [RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": key_id(key), "use": "sig", "alg": "RS256"}]}


def key_id(key: rsa.RSAPrivateKey) -> str:
    """Return the key id, a hash of the public key."""
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return sha256(public).hexdigest()[:16]


def sign(
    key: rsa.RSAPrivateKey,
    issued_by: str,
    customer: str,
    groups: tuple[str, ...] = (),
    expires_in: int = 3600,
    **changed: Any,
) -> str:
    """Sign a token (RS256) for a customer id; `expires_in` is in seconds, negative for an expired token; `changed` claims win."""
    now = int(time.time())
    claims = {
        "iss": issued_by,
        "aud": AUDIENCE,
        "sub": customer,
        "email": f"{customer}@example.com",
        "email_verified": True,
        "groups": list(groups),
        "iat": now + min(0, expires_in),
        "exp": now + expires_in,
    }
    return jwt.encode(claims | changed, key, algorithm="RS256", headers={"kid": key_id(key)})


def token(target: Target, customer: str, groups: tuple[str, ...] = (), expires_in: int = 3600) -> str:
    """Return a token that the target's API accepts for `expires_in` seconds."""
    return sign(signing_key(), issuer(target), customer, groups, expires_in)


def publish(target: Target) -> None:
    """Put the keys and the discovery document into the target's bucket; idempotent."""
    s3 = target.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.delete_public_access_block(Bucket=BUCKET)
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    discovery = {
        "issuer": issuer(target),
        "jwks_uri": jwks_url(target),
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
    }
    for name, document in {"jwks.json": jwks(signing_key()), ".well-known/openid-configuration": discovery}.items():
        s3.put_object(Bucket=BUCKET, Key=name, Body=json.dumps(document).encode(), ContentType="application/json")
