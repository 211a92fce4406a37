"""Creating the provider that the environment names, with its keys."""

from __future__ import annotations

import json
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from orderflow.aws.settings import MissingSetting
from payments.provider_factory import StripeSecret, create_provider, stripe_secret
from payments.provider_router import ProviderRouter
from tests.fakes.aws import clients


class Secrets:
    """A Secrets Manager with one secret, which counts its reads."""

    reads = 0

    def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803 - botocore's name
        self.reads += 1
        return {"SecretString": json.dumps({"api_key": f"sk_of_{SecretId.rpartition(':')[2]}", "webhook_secret": "whsec_1"})}


@pytest.fixture
def secrets(aws: Any) -> Secrets:
    found = Secrets()
    clients.lend(dynamodb=aws.dynamodb.client, secretsmanager=found)
    return found


def test_other_members_beside_the_stripe_api_key_are_ignored(secrets: Secrets) -> None:
    assert stripe_secret() == StripeSecret("sk_of_stripe")


def test_stripe_reads_its_key_once_at_the_first_request(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []
    empty = SimpleNamespace(list=lambda _: SimpleNamespace(auto_paging_iter=list))
    connection = SimpleNamespace(v1=SimpleNamespace(payment_intents=empty, events=empty))
    monkeypatch.setattr("payments.stripe.connection.create_client", lambda key, base: used.append(f"{key} {base}") or connection)
    monkeypatch.setenv("PAYMENT_PROVIDER", "stripe")
    stripe = create_provider()
    assert isinstance(stripe, ProviderRouter)
    assert secrets.reads == 0

    for _ in range(2):
        assert list(stripe.recent(date(2026, 1, 1))) == []

    assert used == ["sk_of_stripe https://stripe.invalid"]
    assert secrets.reads == 1


@pytest.mark.parametrize("name", ["STRIPE_PAYMENTS_TABLE", "PAYMENT_ROUTES_TABLE"])
def test_missing_stripe_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    monkeypatch.setenv("PAYMENT_PROVIDER", "stripe")

    with pytest.raises(MissingSetting, match=name):
        create_provider()


def test_unknown_provider_error_lists_the_valid_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENT_PROVIDER", "strype")

    with pytest.raises(MissingSetting, match="PAYMENT_PROVIDER must be one of sandbox, stripe, not 'strype'"):
        create_provider()
