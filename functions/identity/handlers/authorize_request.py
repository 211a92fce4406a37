"""The API's authorizer: returns the caller's identity for a bearer token.

It accepts ID tokens. Cognito's access tokens have neither audience nor email, which an order needs, so they are refused.

An invalid token is a 401, for which API Gateway requires an exception with exactly the text "Unauthorized". Any other failure,
such as unreadable keys, is another exception and a 500: the token may be valid, and a retry may succeed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from identity.domain import claims
from identity.keys import KeySet, fetch_from
from identity.tokens import InvalidToken, bearer, verify
from orderflow.aws import settings
from orderflow.aws.observability import instrumented, log_refusal

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ISSUER = settings.address("JWT_ISSUER")
AUDIENCES = settings.required("JWT_AUDIENCE").split(",")
KEYS = KeySet(fetch_from(settings.address("JWKS_URL", ISSUER.rstrip("/") + "/.well-known/jwks.json")))


@instrumented
def decide(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any] | None:
    """Return the answer that allows the caller, or None for an invalid token."""
    try:
        verified = verify(bearer(event["authorizationToken"]), keys=KEYS, issuer=ISSUER, audiences=AUDIENCES)
        return claims.allow(claims.identity_of(verified), event["methodArn"])
    except (InvalidToken, claims.ClaimsRefused) as refusal:
        log_refusal(reason=str(refusal))
        return None


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer a TOKEN authorizer event with a policy and the caller's identity.

    Raises:
        Exception: "Unauthorized", the text that API Gateway turns into a 401.
    """
    answer = decide(event, context)
    if answer is None:
        # Outside `decide`, so that an invalid token is one log line and not an error with a traceback.
        message = "Unauthorized"
        raise Exception(message)  # noqa: TRY002 - API Gateway goes by the text alone
    return answer
