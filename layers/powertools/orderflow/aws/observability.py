"""Logging, tracing and metrics, the same in every function.

Every line carries the correlation id, and the order and event ids as soon as they are known. Keys of
one invocation never reach the next one of the same warm process. Logs are paid for by the byte, so what
the message says already, or the name of the log group, is on no line.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.tracing import Tracer

from orderflow.aws import settings
from orderflow.domain.ids import is_order_id
from orderflow.domain.metrics import Measurement, Metric, embedded

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# Lambda reads level and time of a line itself, and knows the time in this format alone.
logger = Logger(location=None, utc=True, use_rfc3339=True)
# Powertools prefers Lambda's own level, which is never above INFO.
logging.getLogger(logger.name).setLevel(settings.optional("LOG_LEVEL", "INFO"))
# Patching everything imports every library that the X-Ray SDK knows; AWS calls are what matters here.
tracer = Tracer(auto_patch=False)
# The SDK warns of every segment outside a trace, which is intended: only functions with a waiting caller start traces.
logging.getLogger("aws_xray_sdk").setLevel(logging.ERROR)

# What the log group says already, or the function's configuration.
_KNOWN = ("function_name", "function_arn", "function_memory_size")
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

type Handler[E, A] = Callable[[E, LambdaContext], A]


class Lines(logging.Filter):
    """Lets every line through and counts: the lines of an invocation, the messages of its batch, and those that have no line."""

    def __init__(self) -> None:
        """Start at nothing."""
        super().__init__()
        self.forget()

    def forget(self) -> None:
        """Start again at nothing."""
        self.written = self.messages = self.silent = 0
        self.refused = False

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - which line it is does not matter
        """Count a line."""
        self.written += 1
        return True

    @contextmanager
    def of_message(self) -> Generator[None]:
        """Count a message, with whose work the block is concerned."""
        before = self.written
        try:
            yield
        finally:
            self.messages += 1
            self.silent += self.written == before


lines = Lines()
logger.addFilter(lines)
# Bounded, because other callers of the order log than an invocation write none of it.
_measured: deque[Measurement] = deque(maxlen=10_000)


def measure(metric: Metric, value: float, **labels: str) -> None:
    """Add a value to a metric; `labels` are the values of its dimensions other than `service`. Written when the invocation ends."""
    _measured.append(Measurement(metric, value, tuple(sorted(labels.items()))))


def measure_nonzero(metric: Metric, value: float, **labels: str) -> None:
    """Add a value to a metric, unless it is 0.

    A custom metric is billed for every hour in which it has data. Missing data is no breach to an alarm of the template, so
    zeros from a schedule would only be paid for.
    """
    if value:
        measure(metric, value, **labels)


def measure_all(measurements: Iterable[Measurement]) -> None:
    """Add measurements."""
    _measured.extend(measurements)


def _write_metrics() -> None:
    """Print the invocation's measurements, a line for each set of dimensions."""
    if _measured:
        namespace, service = settings.optional("POWERTOOLS_METRICS_NAMESPACE", ""), settings.optional("POWERTOOLS_SERVICE_NAME", "")
        for document in embedded(namespace, service, _measured, int(time.time() * 1000)):
            print(json.dumps(document, separators=(",", ":")))  # noqa: T201 - CloudWatch reads it from the function's standard output
        _measured.clear()


def identify(**keys: str | None) -> None:
    """Put ids (`order_id`, `event_id`, `correlation_id`) on all further log lines and on the trace.

    Ids come from outside as well. Text that is no id is logged as `invalid`: it could hold personal data, or control
    characters for the terminal of an operator.
    """
    known = {name: value if _ID.fullmatch(value) else "invalid" for name, value in keys.items() if value}
    logger.append_keys(**known)
    for name, value in known.items():
        tracer.put_annotation(name, value)


def refused(*, warn: bool = False, **fields: Any) -> None:
    """Log a refused request as the only line of its invocation, which keeps refusals cheap."""
    (logger.warning if warn else logger.info)("refused", **fields)
    lines.refused = True


def correlation_of(event: Mapping[str, Any]) -> str | None:
    """Return the correlation id of a trigger.

    A saga step has it in its input. An HTTP request has the client's X-Correlation-Id if that is valid,
    otherwise the request id of API Gateway or the function URL.
    """
    context: dict[str, str] | None = event.get("requestContext")
    if context is None:
        return event.get("correlation_id")
    headers: dict[str, str | None] = event.get("headers") or {}
    offered = next((value for name, value in headers.items() if name.lower() == "x-correlation-id"), None) or ""
    return offered if _CORRELATION_ID.fullmatch(offered) else context.get("requestId")


def observed[E: Mapping[str, Any], A](handler: Handler[E, A]) -> Handler[E, A]:
    """Wrap a Lambda handler: fresh log keys, a trace segment, its metrics, one line for the outcome.

    A batch whose messages each have a line gets no further one, nor does a refused request. Event and answer are neither logged
    nor traced: they hold names, addresses and tokens.
    """

    @functools.wraps(handler)
    def invoke(event: E, context: LambdaContext) -> A:
        path: dict[str, str] = event.get("pathParameters") or {}
        path_id = path.get("order_id", "")
        _shorten()
        lines.forget()
        _measured.clear()
        identify(
            correlation_id=correlation_of(event),
            order_id=event.get("order_id") or (path_id if is_order_id(path_id) else None),
            event_id=event.get("event_id"),
        )
        try:
            answer = handler(event, context)
        except Exception:
            logger.exception("failed")
            raise
        finally:
            _write_metrics()
        if not lines.refused and not _each_message_logged(answer):
            logger.info("done", outcome=_outcome(answer))
        return answer

    traced = tracer.capture_lambda_handler(invoke, capture_response=False, capture_error=False)
    return logger.inject_lambda_context(traced, clear_state=True)


def _shorten() -> None:
    """Remove uninformative log keys: constant ones, a warm start, and the id of an unsampled trace."""
    logger.remove_keys(_KNOWN)
    if not logger.get_current_keys().get("cold_start"):
        logger.remove_keys(["cold_start"])
    if "Sampled=1" not in os.environ.get("_X_AMZN_TRACE_ID", ""):
        logger.append_keys(xray_trace_id=None)


def _each_message_logged(answer: object) -> bool:
    """Return whether each message of a batch succeeded and has its own line."""
    failed = isinstance(answer, dict) and answer.get("batchItemFailures")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return bool(lines.messages) and not lines.silent and not failed


def _outcome(answer: object) -> object:
    if not isinstance(answer, dict):
        return None
    return answer.get("outcome") or answer.get("statusCode")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
