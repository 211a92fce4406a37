"""Local targets get webhook secrets in the format that AWS generates."""

import re
from typing import Any

import pytest

from devtools.local import webhook_secrets
from devtools.target import Target
from orderflow.aws.webhooks import signed_headers


class Secrets:
    def __init__(self, **texts: str) -> None:
        self.texts = texts

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:  # noqa: N803 - botocore's name
        return {"SecretString": self.texts[SecretId]}

    def put_secret_value(self, *, SecretId: str, SecretString: str) -> None:  # noqa: N803 - botocore's names
        self.texts[SecretId] = SecretString


@pytest.mark.parametrize("payments", ["a1B2" * 16, "whsec_new1\nwhsec_old1"], ids=["generated", "of Stripe"])
def test_secret_with_punctuation_is_replaced_others_are_unchanged(monkeypatch: Any, payments: str) -> None:
    client = Secrets(carrier="#ZZ}^g$OBK.J.", payments=payments)
    monkeypatch.setattr(Target, "client", lambda *_: client)
    monkeypatch.setattr(Target, "resources", {"CarrierWebhookSecret": "carrier", "PaymentsWebhookSecret": "payments"})

    webhook_secrets.ensure(Target("embedded", "http://127.0.0.1:4566", managed=True))

    assert re.fullmatch("[A-Za-z0-9]{64}", client.texts["carrier"])
    assert client.texts["payments"] == payments
    assert signed_headers(client.texts["carrier"], "msg_1", b"{}", 0)
