"""Mapping of verified claims to the caller and to the authorizer's answer."""

from __future__ import annotations

from typing import Any

import pytest

from identity.domain.claims import LEEWAY_SECONDS, ClaimsRefused, Identity, allow, identity_of

CLAIMS: dict[str, Any] = {"sub": "ann", "email": "ann@example.com", "email_verified": True, "exp": 2_000_000_000}


def test_groups_of_a_cognito_id_token_are_read() -> None:
    claims = CLAIMS | {"token_use": "id", "cognito:groups": ["reviewer", "clerk"]}
    assert identity_of(claims) == Identity("ann", "ann@example.com", ("reviewer", "clerk"), 2_000_000_000 + LEEWAY_SECONDS)


@pytest.mark.parametrize(
    ("claim", "groups"),
    [
        (["reviewer"], ("reviewer",)),
        ("reviewer", ("reviewer",)),
        ([], ()),
        (None, ()),
        ({"reviewer": True}, ()),
        (["clerk", 7, None, ""], ("clerk",)),
        (["clerk,reviewer"], ()),
        ("clerk,reviewer", ()),
    ],
)
def test_only_unambiguous_group_names_are_accepted(claim: object, groups: tuple[str, ...]) -> None:
    assert identity_of(CLAIMS | {"groups": claim}).groups == groups


@pytest.mark.parametrize("claims", [CLAIMS | {"token_use": "access"}, CLAIMS | {"sub": ""}])
def test_access_token_or_token_without_subject_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(ClaimsRefused):
        identity_of(claims)


@pytest.mark.parametrize("subject", ["a\uffffb", "ann\x00", "ann\n", " ", "\ud800", "a" * 256, 7, ["ann"]])
def test_subject_that_cannot_be_stored_or_sent_is_refused(subject: object) -> None:
    with pytest.raises(ClaimsRefused):
        identity_of(CLAIMS | {"sub": subject})


@pytest.mark.parametrize("subject", ["a" * 255, "änn", "auth0|5f7c", "0b6c8c1e-2a", "ann@example.com", "CN=Ann Lee"])
def test_printable_subject_is_the_customers_id(subject: str) -> None:
    assert identity_of(CLAIMS | {"sub": subject}).customer_id == subject


def test_token_without_email_has_an_empty_one() -> None:
    assert identity_of({"sub": "ann", "email_verified": True, "exp": 1}).email == ""


@pytest.mark.parametrize("verified", [True, "true"])
def test_verified_email_is_accepted(verified: object) -> None:
    assert identity_of(CLAIMS | {"email_verified": verified}).email == "ann@example.com"


@pytest.mark.parametrize("verified", [False, "false", "True", "", "yes", 1, 0, None, [True]])
def test_unverified_email_is_ignored(verified: object) -> None:
    assert identity_of(CLAIMS | {"email_verified": verified}).email == ""


def test_email_without_verification_claim_is_ignored() -> None:
    assert identity_of({"sub": "ann", "email": "ann@example.com", "exp": 1}).email == ""


def test_cached_answer_covers_every_route_of_the_stage() -> None:
    arn = "arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/GET/orders/ord_1/events"
    answer = allow(Identity("ann", "ann@example.com", ("reviewer", "clerk"), 99), arn)
    assert answer == {
        "principalId": "ann",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": "execute-api:Invoke",
                    "Resource": "arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/*",
                }
            ],
        },
        "context": {
            "customer_id": "ann",
            "email": "ann@example.com",
            "groups": "reviewer,clerk",
            "expires_at": 99,
        },
    }
