"""The feature flags, read from AppConfig and cached; while AppConfig is unavailable the last ones apply, at first the default.

A process polls AppConfig at most once in FLAGS_TTL_SECONDS, also after a failure, and waits about a second: flags must not fail an
order. An invalid document counts as unavailable. Until the first deployment of flags, the default applies.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import DecodeError

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import logger

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT = "default"
# AppConfig's shortest poll interval.
_SHORTEST_SECONDS = 15


class Flags[T]:
    """A context's flags, parsed from the flags' document."""

    def __init__(self, parse: Callable[[bytes], T], default: T, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the profile FLAGS (application/environment/profile, their ids); `parse` raises ValueError for an invalid document."""
        self._parse = parse
        self._value = default
        self._version = DEFAULT
        self._clock = clock
        self._profile = settings.required("FLAGS").split("/")
        self._seconds = settings.optional_int("FLAGS_TTL_SECONDS", 60)
        self._token = ""
        self._due = clock()

    def __call__(self) -> T:
        """Return the flags, and add their version to the invocation's log lines, as `make flags` shows it."""
        if self._clock() >= self._due:
            self._refresh()
        logger.append_keys(flags=self._version)
        return self._value

    def _refresh(self) -> None:
        self._due = self._clock() + self._seconds
        try:
            document = self._latest()
            if document:
                self._value, self._version = self._parse(document), version(document)
        except (BotoCoreError, ClientError, DecodeError, ValueError) as error:
            if _nothing_deployed(error):
                return
            logger.warning("flags_not_read", why=str(error), flags=self._version)

    def _latest(self) -> bytes:
        """Return the document, or nothing if it has not changed since the last call."""
        # A token is valid for one request: after a failure, a new session returns the whole document.
        token, self._token = self._token or self._session(), ""
        answer = client("appconfigdata").get_latest_configuration(ConfigurationToken=token)
        document = answer["Configuration"].read()
        self._token = answer["NextPollConfigurationToken"]
        self._due = self._clock() + max(self._seconds, answer["NextPollIntervalInSeconds"])
        return document

    def _session(self) -> str:
        application, environment, profile = self._profile
        asked: dict[str, Any] = {"RequiredMinimumPollIntervalInSeconds": max(self._seconds, _SHORTEST_SECONDS)}
        session = client("appconfigdata").start_configuration_session(
            ApplicationIdentifier=application, EnvironmentIdentifier=environment, ConfigurationProfileIdentifier=profile, **asked
        )
        return session["InitialConfigurationToken"]


def _nothing_deployed(error: Exception) -> bool:
    """Return whether the error only says that no flags were deployed yet."""
    return isinstance(error, ClientError) and error.response.get("ResourceType") in {"Deployment", "Configuration"}


def version(document: bytes) -> str:
    """Return the version of a document: the first eight hexadecimal digits of its SHA-256."""
    return hashlib.sha256(document).hexdigest()[:8]
