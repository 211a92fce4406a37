"""The users of a stack: those of its Cognito user pool, or the subjects of the local issuer, which needs no sign-up."""

import secrets
import string
from dataclasses import dataclass
from typing import Any

from devtools.cli import UserError
from devtools.local import issuer
from devtools.target import Target

PASSWORD_LENGTH = 24
_CLASSES = (string.ascii_lowercase, string.ascii_uppercase, string.digits, "!#%+-_")


@dataclass(frozen=True)
class UserPool:
    """The Cognito user pool of a stack; `cognito` is the client of cognito-idp."""

    cognito: Any
    pool: str
    app: str

    def add(self, email: str, *, invite: bool) -> bool:
        """Create a user with a verified address; return False if it exists. With `invite` Cognito emails a temporary password."""
        attributes = [{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "true"}]
        silent: dict[str, str] = {} if invite else {"MessageAction": "SUPPRESS"}
        try:
            self.cognito.admin_create_user(UserPoolId=self.pool, Username=email, UserAttributes=attributes, **silent)
        except self.cognito.exceptions.UsernameExistsException:
            return False
        return True

    def put_into_group(self, email: str, group: str) -> None:
        """Add a user to a group of the template; idempotent."""
        self.cognito.admin_add_user_to_group(UserPoolId=self.pool, Username=email, GroupName=group)

    def token(self, email: str) -> str:
        """Set a new random password, sign the user in with it, and return the ID token, which is valid for an hour.

        The password is neither stored nor printed. AdminInitiateAuth requires IAM permission, so browsers cannot use it (decision 55).
        """
        password = random_password()
        self.cognito.admin_set_user_password(UserPoolId=self.pool, Username=email, Password=password, Permanent=True)
        answer = self.cognito.admin_initiate_auth(
            UserPoolId=self.pool,
            ClientId=self.app,
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": email, "PASSWORD": password},
        )
        return answer["AuthenticationResult"]["IdToken"]

    def remove(self, email: str) -> None:
        """Delete a user; one that is gone is no error."""
        try:
            self.cognito.admin_delete_user(UserPoolId=self.pool, Username=email)
        except self.cognito.exceptions.UserNotFoundException:
            return


def random_password() -> str:
    """Return a password with characters of every class that the user pool's policy requires."""
    required = [secrets.choice(characters) for characters in _CLASSES]
    every = "".join(_CLASSES)
    letters = required + [secrets.choice(every) for _ in range(PASSWORD_LENGTH - len(required))]
    secrets.SystemRandom().shuffle(letters)
    return "".join(letters)


def pool_of(target: Target) -> UserPool | None:
    """Return the stack's user pool; None where another issuer signs the tokens."""
    resources = target.resources
    if "UserPoolId" not in resources:
        return None
    return UserPool(target.client("cognito-idp"), resources["UserPoolId"], resources["UserPoolClientId"])


def local_token(target: Target, email: str, group: str = "") -> str:
    """Return a token of the local issuer for an address. Raises UserError on AWS, where another issuer signs the tokens."""
    if not target.local:
        raise UserError(f"stack {target.stack} has no user pool: its parameter JwtIssuer names the issuer, which creates users and tokens")
    return issuer.sign(issuer.signing_key(), issuer.issuer(target), email.partition("@")[0], (group,) if group else (), email=email)
