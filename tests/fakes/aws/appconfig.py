"""AppConfig's data plane in memory: one document for every profile."""

from __future__ import annotations

import io
import json
from typing import Any

from tests.fakes.aws.service import FakeService, Refused

DEFAULTS = {"hold_every_order": False, "hold_countries": [], "payment_provider": "sandbox", "fraud": {}}
POLL_SECONDS = 60


class FakeAppConfig(FakeService):
    """One document for every profile. A session returns it once; a token works for one request."""

    def __init__(self, attempts: int = 1) -> None:
        """Start with the defaults deployed."""
        super().__init__(attempts)
        self.sessions: list[dict[str, Any]] = []
        self._tokens: dict[str, bytes] = {}
        self.deploy()

    def deploy(self, document: bytes | None = None, **flags: Any) -> None:
        """Deploy a document, or the defaults with these flags."""
        self.document = json.dumps(DEFAULTS | flags).encode() if document is None else document

    def start_configuration_session(self, **parameters: Any) -> dict[str, str]:
        """Start a session."""
        return self._call("StartConfigurationSession", parameters, lambda: self._start(parameters))

    def get_latest_configuration(self, *, ConfigurationToken: str) -> dict[str, Any]:  # noqa: N803 - botocore's name
        """Return the document, or no content if the session already returned it."""
        return self._call("GetLatestConfiguration", {"ConfigurationToken": ConfigurationToken}, lambda: self._latest(ConfigurationToken))

    def _start(self, parameters: dict[str, Any]) -> dict[str, str]:
        self.sessions.append(parameters)
        return {"InitialConfigurationToken": self._token(b"")}

    def _latest(self, token: str) -> dict[str, Any]:
        if token not in self._tokens:
            raise Refused("GetLatestConfiguration", "BadRequestException", "Request contains a configuration token that was used before")
        known = self._tokens.pop(token)
        return {
            "Configuration": io.BytesIO(b"" if known == self.document else self.document),
            "NextPollConfigurationToken": self._token(self.document),
            "NextPollIntervalInSeconds": POLL_SECONDS,
        }

    def _token(self, known: bytes) -> str:
        token = f"token-{sum(self.calls.values())}"
        self._tokens[token] = known
        return token
