"""Settings are read from the environment; errors name the setting."""

from __future__ import annotations

from typing import Any

import pytest

from orderflow.aws import settings
from tests.fakes.aws.clients import REAL


def test_present_setting_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TABLE", "orders")
    assert settings.required("SOME_TABLE") == "orders"
    assert settings.optional("SOME_TABLE", "other") == "orders"


@pytest.mark.parametrize("value", [None, ""])
def test_missing_setting_is_an_error_or_the_default(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("SOME_TABLE", raising=False)
    if value is not None:
        monkeypatch.setenv("SOME_TABLE", value)
    with pytest.raises(settings.MissingSetting, match="SOME_TABLE is not set"):
        settings.required("SOME_TABLE")
    assert settings.optional("SOME_TABLE", "other") == "other"
    assert settings.optional_int("SOME_TABLE", 60) == 60


@pytest.mark.parametrize("value", ["soon", "1.5", "60s"])
def test_setting_must_be_a_whole_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SOME_SECONDS", value)
    with pytest.raises(settings.MissingSetting, match="SOME_SECONDS must be a whole number"):
        settings.optional_int("SOME_SECONDS", 60)


@pytest.mark.parametrize("value", ["https://issuer.example.com/keys", "http://127.0.0.1:4566/keys", "http://172.17.0.1:4567"])
def test_https_or_loopback_address_is_accepted(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SOME_URL", value)
    assert settings.address("SOME_URL") == value
    monkeypatch.delenv("SOME_URL")
    assert settings.address("SOME_URL", value) == value


@pytest.mark.parametrize(
    "value", ["http://issuer.example.com", "http://localhost@example.com", "http://127.0.0.1.example.com", "file:///keys"]
)
def test_unencrypted_address_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SOME_URL", value)
    with pytest.raises(settings.MissingSetting, match="SOME_URL must be an https:// address"):
        settings.address("SOME_URL")


def test_missing_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_URL", raising=False)
    with pytest.raises(settings.MissingSetting, match="SOME_URL is not set"):
        settings.address("SOME_URL")


def test_client_timeouts_end_before_the_functions_timeout() -> None:
    """The shortest timeout of a function in the template is 10 seconds."""
    config: Any = REAL("dynamodb").meta.config
    assert config.retries["total_max_attempts"] * (config.connect_timeout + config.read_timeout) < 10
    assert config.retries["mode"] == "standard"
    assert REAL("dynamodb") is REAL("dynamodb")
