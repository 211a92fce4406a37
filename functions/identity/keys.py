"""The issuer's public keys, fetched from its JWKS document and kept in memory."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from jwt import PyJWK, PyJWKSet

LIFESPAN_SECONDS = 600
COOLDOWN_SECONDS = 30
TIMEOUT_SECONDS = 2


class UnknownKey(LookupError):
    """The issuer publishes no key with this id."""


class KeysUnavailable(RuntimeError):
    """The issuer's keys cannot be read, so no token can be verified."""


class KeySet:
    """The signing keys of one issuer.

    Keys older than `LIFESPAN_SECONDS` are read again, and so are keys for an unknown key id, since issuers rotate keys. They are
    read at most once in `COOLDOWN_SECONDS`, so that forged key ids cannot turn each request into a fetch. Known keys remain
    valid while the issuer is unreachable.
    """

    def __init__(self, fetch: Callable[[], Any], clock: Callable[[], float] = time.monotonic) -> None:
        """Read the JWKS document with `fetch`; `clock` counts seconds."""
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, PyJWK] = {}
        self._read_at = self._tried_at = float("-inf")

    def signing_key(self, key_id: object) -> PyJWK:
        """Return the key with this id.

        Raises:
            UnknownKey: the issuer has no such key.
            KeysUnavailable: the issuer's keys cannot be read.
        """
        now = self._clock()
        known = key_id in self._keys
        if (not known or now - self._read_at >= LIFESPAN_SECONDS) and self._may_read(now):
            self._read(now)
        if key_id in self._keys:
            return self._keys[str(key_id)]
        if self._read_at < self._tried_at:
            raise KeysUnavailable
        raise UnknownKey

    def _may_read(self, now: float) -> bool:
        return not self._keys or now - self._tried_at >= COOLDOWN_SECONDS

    def _read(self, now: float) -> None:
        self._tried_at = now
        try:
            self._keys = _signing_keys(self._fetch())
        except Exception as error:
            if not self._keys:
                raise KeysUnavailable from error
        else:
            self._read_at = now


def _signing_keys(document: Any) -> dict[str, PyJWK]:
    published = PyJWKSet.from_dict(document).keys
    keys = {key.key_id: key for key in published if key.key_id and key.public_key_use in ("sig", None)}
    if not keys:
        message = "the issuer publishes no signing key with an id"
        raise KeysUnavailable(message)
    return keys


def fetch_from(url: str) -> Callable[[], Any]:
    """Return a function that reads the JSON document at `url`."""

    def fetch() -> Any:
        # The address is a setting of the deployment, never part of a request.
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            return json.load(answer)

    return fetch
