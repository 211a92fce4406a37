"""Secrets Manager in memory."""

from __future__ import annotations

from tests.fakes.aws.service import FakeService


class FakeSecretsManager(FakeService):
    """The same text for every secret."""

    def __init__(self, attempts: int = 1) -> None:
        """Hold the text `secret`."""
        super().__init__(attempts)
        self.text = "secret"

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:  # noqa: N803 - botocore's name
        """Return the text."""
        return self._call("GetSecretValue", {"SecretId": SecretId}, lambda: {"SecretString": self.text})
