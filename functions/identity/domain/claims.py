"""The identity in the verified claims of a token, and the authorizer's answer. No AWS here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

# The allowed clock skew between issuer, authorizer and functions.
LEEWAY_SECONDS = 10
_MAX_SUBJECT = 255


class ClaimsRefused(ValueError):
    """The token is genuine, but not valid for this API."""


class Identity(NamedTuple):
    """The bearer of a token. `expires_at` is in epoch seconds, UTC, and includes the leeway."""

    customer_id: str
    email: str
    groups: tuple[str, ...]
    expires_at: int


def identity_of(claims: Mapping[str, Any]) -> Identity:
    """Return the bearer of a token, from claims whose signature, times, issuer and audience were verified.

    The email is empty unless the token has one and `email_verified` is true (some issuers send the text "true"). OpenID Connect
    Core 5.1 defines the claim; without it the issuer does not confirm that the address belongs to the customer. Cognito puts
    groups into `cognito:groups`, other issuers into `groups`.

    Raises:
        ClaimsRefused: it is an access token of Cognito, which has no email, or it has no usable subject.
    """
    if claims.get("token_use", "id") != "id":
        message = "not an ID token"
        raise ClaimsRefused(message)
    subject = claims.get("sub")
    # The subject is part of keys and events, and SQS rejects noncharacters. OpenID Connect Core 2 allows 255 ASCII characters.
    if not isinstance(subject, str) or not subject.strip() or not subject.isprintable() or len(subject) > _MAX_SUBJECT:
        message = "no subject of printable characters, 255 at most"
        raise ClaimsRefused(message)
    verified = claims.get("email_verified")
    email = claims.get("email") if verified is True or verified == "true" else ""
    groups = _groups(claims.get("cognito:groups") or claims.get("groups"))
    return Identity(subject, email if isinstance(email, str) else "", groups, int(claims["exp"]) + LEEWAY_SECONDS)


def allow(identity: Identity, method_arn: str) -> dict[str, Any]:
    """Return the authorizer's answer that allows the identity to call the API of `method_arn`.

    It covers the whole stage: API Gateway caches the answer per token and uses it for every route, so an answer for one method
    would refuse the others.
    """
    api, stage, *_ = method_arn.split("/")
    return {
        "principalId": identity.customer_id,
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": f"{api}/{stage}/*"}],
        },
        "context": {
            "customer_id": identity.customer_id,
            "email": identity.email,
            "groups": ",".join(identity.groups),
            "expires_at": identity.expires_at,
        },
    }


def _groups(claim: object) -> tuple[str, ...]:
    named = [claim] if isinstance(claim, str) else cast("list[object]", claim) if isinstance(claim, list) else []
    # The context joins groups by commas, so a group whose name has a comma would be read as two groups.
    return tuple(group for group in named if isinstance(group, str) and group and "," not in group)
