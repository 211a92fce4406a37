"""Verifying bearer tokens: signed JWTs of one issuer for this API."""

from __future__ import annotations

from typing import Any

import jwt

from identity.keys import Keys, UnknownKey

ALGORITHMS = ("RS256", "ES256")
LEEWAY_SECONDS = 10
REQUIRED = ("exp", "iat", "iss", "aud", "sub")


class InvalidToken(ValueError):
    """The request brings no token that this API takes. The message never has any part of the token."""


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


def verify(token: str, *, keys: Keys, issuer: str, audiences: list[str]) -> dict[str, Any]:
    """Return the claims of a token after checking signature, issuer, audience and times.

    Clocks may differ by `LEEWAY_SECONDS`. `nbf` counts where it is given; Cognito gives none.

    Raises:
        InvalidToken: any of that does not hold.
        KeysUnavailable: the issuer's keys cannot be read.
    """
    try:
        key = keys.find(jwt.get_unverified_header(token).get("kid"))
        return jwt.decode(
            token,
            key=key,
            algorithms=ALGORITHMS,
            issuer=issuer,
            audience=audiences,
            leeway=LEEWAY_SECONDS,
            options={"require": list(REQUIRED)},
        )
    except (jwt.PyJWTError, UnknownKey, ValueError, TypeError, RecursionError) as error:
        # Libraries quote the token in some messages: only the kind of error goes on.
        raise InvalidToken(type(error).__name__) from None
