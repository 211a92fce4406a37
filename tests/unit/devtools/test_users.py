"""`make user` and `make smoke` refuse actions that would harm real users, and reach stacks on AWS by their outputs."""

import string
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest

from devtools import target as targets
from devtools.cli import UsageError, UserError
from devtools.commands import parsed
from devtools.local import issuer
from devtools.target import AWS, Target
from devtools.trial import smoke, user, users

OUTPUTS = {"ApiStage": "prod", "ApiUrl": "https://api.example.com/prod", "CarrierWebhookUrl": "https://x.lambda-url.example.com/"}


def on_aws(**outputs: str) -> Target:
    target = Target(AWS, "", managed=False, stack="shop")
    target.__dict__["resources"] = OUTPUTS | outputs
    return target


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> None:
    pool: dict[str, Any] = {"UserPoolId": "pool", "UserPoolClientId": "app"}
    target = on_aws(**pool)
    monkeypatch.setattr(targets, "chosen", lambda _: target)


@pytest.mark.usefixtures("production")
def test_no_password_is_replaced_on_the_stage_prod() -> None:
    with pytest.raises(UserError, match="refused on the stage prod"):
        user.main(parsed("user", "--email", "ann@example.com", "--token"))


@pytest.mark.usefixtures("production")
def test_no_smoke_test_orders_on_the_stage_prod() -> None:
    with pytest.raises(UserError, match="refused: shop has the stage prod"):
        smoke.main(parsed("smoke", "--stack", "shop"))


def test_malformed_address_is_refused() -> None:
    with pytest.raises(UsageError, match=r"EMAIL must be an address such as ann@example.com, not 'ann'"):
        user.main(parsed("user", "--email", "ann"))


def test_local_issuer_signs_no_token_for_aws() -> None:
    with pytest.raises(UserError, match="stack shop has no user pool: its parameter JwtIssuer names the issuer"):
        users.local_token(on_aws(), "ann@example.com")


class UsernameExists(Exception):
    """The error of a user that exists."""


class Cognito:
    """A user pool whose tokens have a subject of its own for each address; `users` has status and `email_verified` by address."""

    exceptions = Namespace(UsernameExistsException=UsernameExists)

    def __init__(self, **users: tuple[str, str]) -> None:
        self.users, self.groups = {f"{name}@example.com": user for name, user in users.items()}, list[tuple[str, str]]()

    def admin_create_user(self, *, Username: str, **_: Any) -> None:  # noqa: N803 - botocore's names
        if Username in self.users:
            raise UsernameExists
        self.users[Username] = ("FORCE_CHANGE_PASSWORD", "true")

    def admin_get_user(self, *, Username: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        status, verified = self.users[Username]
        attributes = [{"Name": "email_verified", "Value": verified}] if verified else []
        return {"UserStatus": status, "UserCreateDate": datetime(2026, 11, 2, 9, tzinfo=UTC), "UserAttributes": attributes}

    def admin_add_user_to_group(self, *, Username: str, GroupName: str, **_: Any) -> None:  # noqa: N803
        self.groups.append((Username, GroupName))

    def admin_set_user_password(self, **_: Any) -> None:
        return

    def admin_initiate_auth(self, *, AuthParameters: dict[str, str], **_: Any) -> dict[str, Any]:  # noqa: N803
        email = AuthParameters["USERNAME"]
        token = jwt.encode({"sub": f"subject of {email}", "email": email}, "a key of thirty-two bytes or more")
        return {"AuthenticationResult": {"IdToken": token}}


@pytest.mark.parametrize(("name", "email"), [("ann", "success+ann@simulator.amazonses.com"), ("ann@example.com", "ann@example.com")])
def test_customer_is_the_subject_of_the_user_pools_token(name: str, email: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cognito = Cognito()
    monkeypatch.setattr(Target, "client", lambda *_: cognito)
    target = on_aws(UserPoolId="pool", UserPoolClientId="app", ApiStage="dev")

    user = users.sign_in(target, name, ("reviewers",))

    assert (user.customer, user.email) == (f"subject of {email}", email)
    assert (set(cognito.users), cognito.groups) == ({email}, [(email, "reviewers")])


def on_pool(monkeypatch: pytest.MonkeyPatch, cognito: Cognito) -> None:
    monkeypatch.setattr(Target, "client", lambda *_: cognito)
    target = on_aws(UserPoolId="pool", UserPoolClientId="app", ApiStage="dev")
    monkeypatch.setattr(targets, "chosen", lambda _: target)


def for_group(*, token: bool = False) -> Namespace:
    """Return the options of a user for a group of its own name: each group of the pool belongs to a context that can be removed."""
    return Namespace(email="rex@example.com", group="operators", token=token, stack=None)


DELETE = "delete the user (aws cognito-idp admin-delete-user --user-pool-id pool --username rex@example.com), then repeat this command"


@pytest.mark.parametrize("token", [False, True])
@pytest.mark.parametrize(
    ("status", "verified", "remedy"),
    [
        *((status, verified, DELETE) for status in ("UNCONFIRMED", "CONFIRMED") for verified in ("", "false")),
        ("RESET_REQUIRED", "true", "its owner must set a password first, then repeat this command"),
    ],
)
def test_user_that_a_stranger_may_have_signed_up_gets_no_group(
    monkeypatch: pytest.MonkeyPatch, status: str, verified: str, remedy: str, token: bool
) -> None:
    cognito = Cognito(rex=(status, verified))
    on_pool(monkeypatch, cognito)
    with pytest.raises(UserError) as refused:
        user.main(for_group(token=token))
    assert cognito.groups == []
    [line] = str(refused.value).splitlines()
    assert line.startswith(f"rex@example.com exists since 2026-11-02 with the status {status}")
    assert line.endswith(remedy)


@pytest.mark.parametrize(("status", "verified"), [("CONFIRMED", "true"), ("FORCE_CHANGE_PASSWORD", "true")])
def test_user_who_owns_the_address_gets_the_group(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: str, verified: str
) -> None:
    cognito = Cognito(rex=(status, verified))
    on_pool(monkeypatch, cognito)
    user.main(for_group())
    assert cognito.groups == [("rex@example.com", "operators")]
    assert f"exists since 2026-11-02 with the status {status}, in group operators" in capsys.readouterr().out


def test_new_user_gets_the_group(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cognito = Cognito()
    on_pool(monkeypatch, cognito)
    user.main(for_group())
    assert cognito.groups == [("rex@example.com", "operators")]
    assert "created, Cognito emails a temporary password, in group operators" in capsys.readouterr().out


def test_existing_customer_is_reported_with_its_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    on_pool(monkeypatch, Cognito(ann=("UNCONFIRMED", "")))
    user.main(parsed("user", "--email", "ann@example.com"))
    assert "exists since 2026-11-02 with the status UNCONFIRMED" in capsys.readouterr().out


def test_local_customer_is_named_by_the_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = issuer.signing_key(tmp_path / "issuer.pem")
    monkeypatch.setattr(issuer, "signing_key", lambda: key)
    local = Target("embedded", "http://127.0.0.1:4570", managed=False)
    local.__dict__["resources"] = OUTPUTS | {"ApiStage": "local"}
    user = users.sign_in(local, "ann", ("staff",))
    assert (user.customer, user.email) == ("ann", "ann@example.com")
    assert jwt.decode(user.token, options={"verify_signature": False})["groups"] == ["staff"]


def test_local_token_is_suggested_with_the_group(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(targets, "chosen", lambda _: Target("embedded", "http://127.0.0.1:4566", managed=True))
    monkeypatch.setattr(users, "pool_of", lambda _: None)
    monkeypatch.setattr(users, "local_token", lambda *_: "token")
    user.main(Namespace(email="rex@example.com", group="clerks", stack="", token=False))
    assert capsys.readouterr().out.endswith("a token: make user EMAIL=rex@example.com GROUP=clerks TOKEN=1\n")


def test_passwords_satisfy_the_user_pool() -> None:
    for password in (users.random_password() for _ in range(50)):
        assert len(password) >= 12
        for characters in (string.ascii_lowercase, string.ascii_uppercase, string.digits, string.punctuation):
            assert set(password) & set(characters)


def test_stack_on_aws_is_reached_by_its_outputs() -> None:
    assert on_aws().api_url("/orders") == "https://api.example.com/prod/orders"
    assert on_aws().function_url("CarrierWebhookUrl") == ("https://x.lambda-url.example.com/", {})


def test_stack_at_an_endpoint_differs_in_its_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDPOINT", "http://127.0.0.1:4570")
    found = targets.chosen("shop")
    assert (found.stack, found.endpoint, found.local, found.managed) == ("shop", "http://127.0.0.1:4570", True, False)
    monkeypatch.delenv("ENDPOINT")
    assert targets.chosen("shop") == Target(AWS, "", managed=False, stack="shop")
