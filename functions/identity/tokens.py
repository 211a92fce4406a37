"""Verifying bearer tokens: signed JWTs of one issuer for this API."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jwt

from identity.domain.claims import LEEWAY_SECONDS
from identity.keys import KeySet, UnknownKey

if TYPE_CHECKING:
    from jwt.types import Options

ALGORITHMS = ("RS256", "ES256")
REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
CLAIMS_ONLY: Options = {
    "verify_signature": False,
    "verify_exp": True,
    "verify_nbf": True,
    "verify_iat": True,
    "verify_aud": True,
    "verify_iss": True,
    "verify_sub": True,
    "require": REQUIRED,
}


class InvalidToken(ValueError):
    """The request has no valid token. The message never contains a part of the token."""


def bearer(header: str) -> str:
    """Return the token of an `Authorization` header.

    Raises:
        InvalidToken: the header is not of the form `Bearer <token>`.
    """
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "bearer" or not token:
        message = "no bearer token"
        raise InvalidToken(message)
    return token.strip()


def verify(token: str, *, keys: KeySet, issuer: str, audiences: list[str]) -> dict[str, Any]:
    """Return the claims of a token after checking signature, issuer, audience and times.

    Algorithm and claims are checked before the signature, so an invalid token causes neither a read of the issuer's keys nor a
    signature check. Clocks may differ by `LEEWAY_SECONDS`. `nbf` is optional, because Cognito sets none.

    Raises:
        InvalidToken: a check failed.
        KeysUnavailable: the issuer's keys cannot be read.
    """
    try:
        head = jwt.get_unverified_header(token)
        if head.get("alg") not in ALGORITHMS:
            raise jwt.InvalidAlgorithmError
        decode = partial(jwt.decode, token, issuer=issuer, audience=audiences, leeway=LEEWAY_SECONDS)
        decode(options=CLAIMS_ONLY)
        return decode(key=keys.signing_key(head.get("kid")), algorithms=ALGORITHMS, options={"require": REQUIRED})
    except (jwt.PyJWTError, UnknownKey, ValueError, TypeError, RecursionError) as error:
        # Some library messages quote the token, so only the error's type is reported.
        raise InvalidToken(type(error).__name__) from None
