"""The users of a stack: those of its Cognito user pool, or the subjects of the local issuer, which needs no sign-up."""

import re
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt

from devtools.cli import UsageError, UserError
from devtools.local import issuer
from devtools.target import Target

PASSWORD_LENGTH = 24
# SES accepts emails to these addresses also in the sandbox, and drops them.
SIMULATOR = "success+{}@simulator.amazonses.com"
_CLASSES = (string.ascii_lowercase, string.ascii_uppercase, string.digits, "!#%+-_")


@dataclass(frozen=True)
class PoolUser:
    """A user of a Cognito user pool, by its status (`UserStatus`)."""

    email: str
    status: str
    verified: bool
    created_at: datetime

    @property
    def owns_address(self) -> bool:
        """Whether an operator created the user for the address, or its owner confirmed the address and has the password."""
        return self.status == "FORCE_CHANGE_PASSWORD" or (self.status == "CONFIRMED" and self.verified)

    def __str__(self) -> str:
        """Return since when the user exists, and its status."""
        return f"exists since {self.created_at:%Y-%m-%d} with the status {self.status}"


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

    def user(self, email: str) -> PoolUser:
        """Return the user with this address."""
        found = self.cognito.admin_get_user(UserPoolId=self.pool, Username=email)
        attributes = {one["Name"]: one["Value"] for one in found["UserAttributes"]}
        return PoolUser(email, found["UserStatus"], attributes.get("email_verified") == "true", found["UserCreateDate"])

    def put_into_group(self, email: str, group: str) -> None:
        """Add a user to a group of the template; idempotent.

        Sign-up is open and takes any address. A user with an unconfirmed address may have a stranger's password, which stays valid when
        the address's owner confirms it.

        Raises:
            UserError: neither an operator created the user, nor has its owner confirmed the address.
        """
        user = self.user(email)
        if not user.owns_address:
            raise UserError(f"{email} {user} {self._not_owned(user)}, then repeat this command")
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

    def _not_owned(self, user: PoolUser) -> str:
        if user.verified and user.status != "UNCONFIRMED":
            return "and gets no group: its owner must set a password first"
        delete = f"aws cognito-idp admin-delete-user --user-pool-id {self.pool} --username {user.email}"
        return f"and an unconfirmed address, so a stranger may have signed up with it: delete the user ({delete})"

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
    characters = required + [secrets.choice(every) for _ in range(PASSWORD_LENGTH - len(required))]
    secrets.SystemRandom().shuffle(characters)
    return "".join(characters)


def checked_address(email: str) -> str:
    """Return an email address. Raises UsageError for other text."""
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email):
        raise UsageError(f"EMAIL must be an address such as ann@example.com, not {email!r}")
    return email


def pool_of(target: Target) -> UserPool | None:
    """Return the stack's user pool; None where another issuer signs the tokens."""
    resources = target.resources
    if "UserPoolId" not in resources:
        return None
    return UserPool(target.client("cognito-idp"), resources["UserPoolId"], resources["UserPoolClientId"])


@dataclass(frozen=True)
class SignedIn:
    """A user with a token: `customer` is the id that the API knows, the token's subject."""

    customer: str
    email: str
    token: str


def sign_in(target: Target, name: str, groups: Iterable[str] = ()) -> SignedIn:
    """Create a user where there is none, add it to the groups, and return a token that is valid for an hour.

    `name` is an address, or a word that stands for one: of the mailbox simulator in a user pool, of example.com locally. In a user
    pool the user gets a new random password. Raises UserError on the stage prod, where another issuer signs the tokens, and as
    `UserPool.put_into_group`.
    """
    pool = pool_of(target)
    if pool is None:
        return _signed_in(local_token(target, name if "@" in name else f"{name}@example.com", *groups))
    if target.resources["ApiStage"] == "prod":
        raise UserError("a token needs a new password of its user, so it is refused on the stage prod; sign in as the user instead")
    email = name if "@" in name else SIMULATOR.format(name)
    pool.add(email, invite=False)
    for group in groups:
        pool.put_into_group(email, group)
    return _signed_in(pool.token(email))


def _signed_in(token: str) -> SignedIn:
    # The API checks the signature.
    claims = jwt.decode(token, options={"verify_signature": False})
    return SignedIn(claims["sub"], claims["email"], token)


def local_token(target: Target, email: str, *groups: str) -> str:
    """Return a token of the local issuer for an address. Raises UserError on AWS, where another issuer signs the tokens."""
    if not target.local:
        raise UserError(f"stack {target.stack} has no user pool: its parameter JwtIssuer names the issuer, which creates users and tokens")
    return issuer.sign(issuer.signing_key(), issuer.issuer(target), email.partition("@")[0], groups, email=email)
