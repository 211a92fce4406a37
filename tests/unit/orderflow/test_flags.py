"""Feature flags: cached, with a default while AppConfig is unavailable."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from orderflow.aws.flags import Flags, version
from tests.fakes.aws import clients
from tests.fakes.aws.appconfig import FakeAppConfig
from tests.fakes.aws.dynamodb import client_error
from tests.fakes.aws.environment import Aws

SECONDS = 60
type Logged = Callable[[], list[dict[str, Any]]]


class Clock:
    """A clock that the test advances."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float = SECONDS) -> None:
        self.seconds += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def appconfig(aws: Aws) -> FakeAppConfig:
    return aws.appconfigdata


def parsed(document: bytes) -> Any:
    found = msgspec.json.decode(document, type=dict[str, Any])
    if found.get("hold_every_order") == "nonsense":
        message = "`hold_every_order` is nonsense"
        raise ValueError(message)
    return found["hold_every_order"]


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Flags[Any]:
    monkeypatch.setenv("FLAGS_TTL_SECONDS", str(SECONDS))
    return Flags(parsed, "default", clock)


def failing(appconfig: FakeAppConfig, error: Exception | None) -> None:
    def fail(_operation: str, _parameters: Any) -> None:
        if error:
            raise error

    appconfig.before = fail


def test_deployed_flags_are_in_force(flags: Flags[Any], appconfig: FakeAppConfig) -> None:
    appconfig.deploy(hold_every_order=True)

    assert flags() is True
    [session] = appconfig.sessions
    assert session == {
        "ApplicationIdentifier": "application",
        "EnvironmentIdentifier": "environment",
        "ConfigurationProfileIdentifier": "profile",
        "RequiredMinimumPollIntervalInSeconds": SECONDS,
    }


def test_flags_are_read_once_for_a_thousand_orders(flags: Flags[Any], appconfig: FakeAppConfig) -> None:
    for _ in range(1000):
        flags()

    assert appconfig.calls == {"StartConfigurationSession": 1, "GetLatestConfiguration": 1}


def test_flag_change_applies_after_the_cache_expires(flags: Flags[Any], appconfig: FakeAppConfig, clock: Clock) -> None:
    assert flags() is False
    appconfig.deploy(hold_every_order=True)

    clock.advance(SECONDS - 1)
    assert flags() is False
    clock.advance(1)
    assert flags() is True
    assert appconfig.calls == {"StartConfigurationSession": 1, "GetLatestConfiguration": 2}


def test_unchanged_flags_stay_in_force(flags: Flags[Any], appconfig: FakeAppConfig, clock: Clock) -> None:
    appconfig.deploy(hold_every_order=True)
    for _ in range(3):
        assert flags() is True
        clock.advance()


def test_appconfig_is_polled_within_its_limit(flags: Flags[Any], appconfig: FakeAppConfig, clock: Clock) -> None:
    flags._seconds = 1
    flags()
    clock.advance(59)
    flags()

    assert appconfig.calls["GetLatestConfiguration"] == 1
    assert appconfig.sessions[0]["RequiredMinimumPollIntervalInSeconds"] == 15


UNREACHABLE = [
    EndpointConnectionError(endpoint_url="https://appconfigdata.invalid"),
    ConnectTimeoutError(endpoint_url="https://appconfigdata.invalid"),
    ReadTimeoutError(endpoint_url="https://appconfigdata.invalid"),
    client_error("StartConfigurationSession", "ThrottlingException", "slow down"),
    client_error("StartConfigurationSession", "AccessDeniedException", "no"),
    client_error("StartConfigurationSession", "ResourceNotFoundException", "there is no such profile"),
]


@pytest.mark.parametrize("error", UNREACHABLE, ids=lambda error: type(error).__name__)
def test_default_flags_apply_while_appconfig_is_unavailable(
    flags: Flags[Any], appconfig: FakeAppConfig, logged: Logged, error: Exception
) -> None:
    failing(appconfig, error)

    assert [flags() for _ in range(10)] == ["default"] * 10
    assert sum(appconfig.calls.values()) == 1
    [line] = logged()
    assert (line["level"], line["message"], line["flags"]) == ("WARNING", "flags_not_read", "default")
    assert line["why"] == str(error)


@pytest.mark.parametrize("kind", ["Deployment", "Configuration"])
def test_before_the_first_deployment_the_default_applies_quietly(
    flags: Flags[Any], appconfig: FakeAppConfig, clock: Clock, logged: Logged, kind: str
) -> None:
    missing: Any = client_error("GetLatestConfiguration", "ResourceNotFoundException", "there is no deployment")
    missing.response["ResourceType"] = kind
    failing(appconfig, missing)

    assert flags() == "default"
    assert logged() == []
    failing(appconfig, None)
    appconfig.deploy(hold_every_order=True)
    clock.advance()
    assert flags() is True


def test_cached_flags_remain_while_appconfig_is_unavailable(flags: Flags[Any], appconfig: FakeAppConfig, clock: Clock) -> None:
    appconfig.deploy(hold_every_order=True)
    flags()
    failing(appconfig, UNREACHABLE[0])
    clock.advance()

    assert flags() is True


def test_flags_recover_with_appconfig(flags: Flags[Any], appconfig: FakeAppConfig, clock: Clock) -> None:
    flags()
    failing(appconfig, UNREACHABLE[2])
    clock.advance()
    flags()
    failing(appconfig, None)
    appconfig.deploy(hold_every_order=True)

    assert flags() is False
    clock.advance()
    assert flags() is True


def test_lost_answer_leaves_the_cached_flags(flags: Flags[Any], appconfig: FakeAppConfig, clock: Clock) -> None:
    """The next session returns the document whose answer was lost."""
    flags()
    appconfig.deploy(hold_every_order=True)
    clock.advance()

    def lose(_operation: str, _parameters: Any) -> None:
        raise UNREACHABLE[2]

    appconfig.after = lose
    assert flags() is False
    appconfig.after = None
    clock.advance()
    assert flags() is True


@pytest.mark.parametrize("document", [b"{", b"[]", b"null", b'{"hold_every_order": "nonsense"}'])
def test_invalid_flags_document_keeps_the_cached_flags(
    flags: Flags[Any], appconfig: FakeAppConfig, clock: Clock, logged: Logged, document: bytes
) -> None:
    appconfig.deploy(hold_every_order=True)
    flags()
    appconfig.deploy(document)
    clock.advance()

    assert flags() is True
    clock.advance()
    assert flags() is True
    [line] = logged()
    assert line["message"] == "flags_not_read"

    appconfig.deploy(hold_every_order=False)
    clock.advance()
    assert flags() is False


def test_invalid_first_document_leaves_the_default(flags: Flags[Any], appconfig: FakeAppConfig) -> None:
    appconfig.deploy(b"{")

    assert flags() == "default"


def test_log_lines_name_the_flags_version(flags: Flags[Any], appconfig: FakeAppConfig, clock: Clock, logged: Logged) -> None:
    from orderflow.aws.observability import logger  # noqa: PLC0415 - as the function's own lines

    flags()
    logger.info("one")
    first = version(appconfig.document)
    appconfig.deploy(hold_every_order=True)
    clock.advance()
    flags()
    logger.info("other")
    logger.remove_keys(["flags"])

    assert [line["flags"] for line in logged()] == [first, version(appconfig.document)]
    assert first != version(appconfig.document)


def test_unavailable_appconfig_is_awaited_once_and_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two reads open one connection to a listener that accepts it but never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        real: Any = clients.REAL
        client = real.__wrapped__("appconfigdata")
        clients.lend(appconfigdata=client)
        flags = Flags(parsed, "default", time.monotonic)

        assert [flags(), flags()] == ["default", "default"]
        silent.settimeout(0)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
        limits = client.meta.config
        assert (limits.connect_timeout, limits.read_timeout, limits.retries["total_max_attempts"]) == (0.5, 0.5, 1)
        client.close()
        clients.lend()
