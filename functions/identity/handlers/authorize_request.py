"""The API's authorizer: turns a bearer token into the caller's identity.

It takes ID tokens. Cognito's access tokens name neither an audience nor an email, which an order
needs, so they are refused like any other token that was not made for this API.

Anything wrong with the token is a 401, for which API Gateway wants an exception of exactly the text
"Unauthorized". Anything wrong with us, such as keys that cannot be read, is another exception and so
a 500: the caller's token may be good, and asking again may help.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from identity.domain import claims
from identity.keys import KeySet, fetch_from
from identity.tokens import InvalidToken, bearer, verify
from orderflow.aws import settings
from orderflow.aws.observability import observed, refused

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ISSUER = settings.address("JWT_ISSUER")
AUDIENCES = settings.required("JWT_AUDIENCE").split(",")
KEYS = KeySet(fetch_from(settings.address("JWKS_URL", ISSUER.rstrip("/") + "/.well-known/jwks.json")))


@observed
def decide(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any] | None:
    """Return the answer that lets the caller in, or nothing where the token is no good."""
    try:
        verified = verify(bearer(event["authorizationToken"]), keys=KEYS, issuer=ISSUER, audiences=AUDIENCES)
        return claims.allow(claims.identity_of(verified), event["methodArn"])
    except (InvalidToken, claims.ClaimsRefused) as refusal:
        refused(reason=str(refusal))
        return None


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer a TOKEN authorizer event with a policy and the caller's identity.

    Raises:
        Exception: "Unauthorized", the text that API Gateway turns into a 401.
    """
    answer = decide(event, context)
    if answer is None:
        # Outside `decide`, so that a bad token is one quiet line and not an error with a traceback.
        message = "Unauthorized"
        raise Exception(message)  # noqa: TRY002 - API Gateway goes by the text alone
    return answer
