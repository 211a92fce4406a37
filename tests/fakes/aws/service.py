"""The base class of services other than DynamoDB: counts calls, calls hooks, and retries like botocore."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from botocore.exceptions import ClientError, ReadTimeoutError

from tests.fakes.aws.dynamodb import Hook, Parameters


class Refused(ClientError):
    """The service refuses the call; botocore does not retry it."""

    def __init__(self, operation: str, code: str, message: str) -> None:
        """Refuse an operation."""
        super().__init__({"Error": {"Code": code, "Message": message}}, operation)


class FakeService:
    """A service that counts its calls; a call fails if a hook raises.

    `before` and `after` are called around every call, as those of `FakeDynamoDB` are. An error that botocore retries is retried,
    `attempts` times in all.
    """

    def __init__(self, attempts: int = 1) -> None:
        """Start without calls."""
        self._attempts = attempts
        self.calls: Counter[str] = Counter()
        self.before: Hook | None = None
        self.after: Hook | None = None

    def _call[A](self, operation: str, parameters: Parameters, run: Callable[[], A]) -> A:
        for attempt in range(1, self._attempts + 1):
            try:
                return self._attempt(operation, parameters, run)
            except Refused:
                raise
            except (ClientError, ReadTimeoutError):
                if attempt == self._attempts:
                    raise
        raise AssertionError

    def _attempt[A](self, operation: str, parameters: Parameters, run: Callable[[], A]) -> A:
        self.calls[operation] += 1
        if self.before:
            self.before(operation, parameters)
        try:
            return run()
        finally:
            if self.after:
                self.after(operation, parameters)
