"""The errors of the client, and the failures that tests inject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from botocore.errorfactory import ClientExceptionsFactory
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.session import get_session

type Parameters = dict[str, Any]
type Hook = Callable[[str, Parameters], None]

CONDITION_FAILED = "The conditional request failed"
RETRIED_CODES = {
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionInProgressException",
}


class Crash(BaseException):
    """The process crashes here. Not an Exception, so that no exception handler of the code under test catches it."""


class ConditionFailed(Exception):
    """A condition does not hold; `found` is the item in the answer, if any."""

    def __init__(self, found: dict[str, Any] | None) -> None:
        """Keep the item."""
        super().__init__()
        self.found = found


class Failure(Exception):
    """An operation fails with this error code."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        """Add the answer's message and fields to the code."""
        super().__init__(message)
        self.code, self.message, self.details = code, message, details


@cache
def model() -> Any:
    """Return botocore's model of DynamoDB."""
    return get_session().get_service_model("dynamodb")


@cache
def exceptions() -> Any:
    """Return the client's `exceptions`."""
    return ClientExceptionsFactory().create_client_exceptions(model())


def is_retried(error: Exception) -> bool:
    """Return whether botocore would send the request again."""
    return not isinstance(error, ClientError) or error.response.get("Error", {}).get("Code") in RETRIED_CODES


def client_error(operation: str, code: str, message: str, *, status: int = 400, **details: Any) -> ClientError:
    """Return the error that botocore would raise, of the modelled class where DynamoDB has one."""
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": 0},
        **details,
    }
    return exceptions().from_code(code)(response, operation)


def throttled(operation: str) -> ClientError:
    """Return the error of a throttled call, which had no effect."""
    return client_error(operation, "ThrottlingException", "Rate of requests exceeds the allowed throughput.")


def server_error(operation: str) -> ClientError:
    """Return a 5xx, after which the call may or may not have had an effect."""
    return client_error(operation, "InternalServerError", "Internal server error", status=500)


def answer_lost() -> ReadTimeoutError:
    """Return the time-out of a call whose answer was lost."""
    return ReadTimeoutError(endpoint_url="http://dynamodb.invalid")


def conflict(given: Parameters) -> ClientError:
    """Return the cancellation of a transaction, by its parameters, whose first item conflicts with another transaction."""
    reasons = [{"Code": "TransactionConflict"}, *({"Code": "None"} for _ in given["TransactItems"][1:])]
    return client_error("TransactWriteItems", "TransactionCanceledException", cancellation_message(reasons), CancellationReasons=reasons)


def crash_at(operation: str, *, call: int = 1) -> Hook:
    """Return a hook that crashes the process at the n-th call of an operation from now on."""
    seen = Counter[str]()

    def hook(name: str, _: Parameters) -> None:
        seen[name] += 1
        if name == operation and seen[name] == call:
            raise Crash(operation)

    return hook


def cancellation_message(reasons: Sequence[Mapping[str, Any]]) -> str:
    """Return the message of a cancelled transaction."""
    codes = ", ".join(reason["Code"] for reason in reasons)
    return f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
