"""Logging, tracing and metrics, the same in every function.

Every log line has the correlation id, and the order and event ids as soon as they are known. Log keys of
one invocation never appear in the next one of the same process. CloudWatch bills logs by the byte, so a line
repeats neither its message nor the log group's name.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.tracing import Tracer

from orderflow.aws import settings, snapshot, tracing
from orderflow.domain.ids import is_order_id
from orderflow.domain.metrics import Measurement, Metric, embedded

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# Lambda reads level and time from each line, and accepts the time in RFC 3339 only.
logger = Logger(location=None, utc=True, use_rfc3339=True)
# Powertools prefers Lambda's own level, which is never above INFO.
logging.getLogger(logger.name).setLevel(settings.optional("LOG_LEVEL", "INFO"))
# Without automatic patching, because that imports every library that the X-Ray SDK supports.
tracer = Tracer(auto_patch=False)
# The SDK warns of every segment outside a trace, which is intended: only functions with a waiting caller start traces.
logging.getLogger("aws_xray_sdk").setLevel(logging.ERROR)
# Here, because every function imports this module.
snapshot.reseed_after_restore()

# Log keys that repeat the log group's name or the function's configuration.
_CONSTANT_KEYS = ("function_name", "function_arn", "function_memory_size")
_SERVER_ERROR = 500
_TRACED = ("correlation_id", "order_id", "event_id")
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

type Handler[E, A] = Callable[[E, LambdaContext], A]


class LineCounter(logging.Filter):
    """Counts the log lines of an invocation, the messages of its batch, and the messages without a line. Filters nothing."""

    def __init__(self) -> None:
        """Start at zero."""
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Start at zero again, for a new invocation."""
        self.lines = self.messages = self.messages_without_line = 0
        self.refusal_logged = False

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - every line counts
        """Count a line."""
        self.lines += 1
        return True

    @contextmanager
    def count_message(self) -> Generator[None]:
        """Count the message that the `with` block processes."""
        before = self.lines
        try:
            yield
        finally:
            self.messages += 1
            self.messages_without_line += self.lines == before


line_counter = LineCounter()
logger.addFilter(line_counter)
# Bounded, because callers outside an invocation, such as tools, never write it.
_measured: deque[Measurement] = deque(maxlen=10_000)


def measure(metric: Metric, value: float, **labels: str) -> None:
    """Add a value to a metric; `labels` are the values of its dimensions other than `service`. Written when the invocation ends."""
    _measured.append(Measurement(metric, value, tuple(sorted(labels.items()))))


def measure_nonzero(metric: Metric, value: float, **labels: str) -> None:
    """Add a value to a metric, unless it is 0.

    CloudWatch bills a custom metric for every hour with data. The alarms of the template treat missing data as not breaching, so the
    zeros of scheduled functions would only cost money.
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


def annotate(**keys: str | None) -> None:
    """Add ids (`order_id`, `event_id`, `correlation_id`) to all further log lines of the invocation and to its trace.

    Clients and carriers send ids too. A text that is not an id is logged as `invalid`, because it could contain personal data or
    control characters.
    """
    known = {name: value if _ID.fullmatch(value) else "invalid" for name, value in keys.items() if value}
    logger.append_keys(**known)
    tracing.annotate(**known)
    for name, value in known.items():
        tracer.put_annotation(name, value)


def record_fault(begun: float) -> None:
    """Send a segment for work that began at `begun` (seconds since 1970) and failed, unless a sampled trace has it."""
    keys = logger.get_current_keys()
    tracing.record_fault(begun, **{name: str(keys[name]) for name in _TRACED if keys.get(name)})


def log_refusal(*, warn: bool = False, **fields: Any) -> None:
    """Log a refused request with these fields, as the only line of its invocation; `warn` logs it as a warning."""
    (logger.warning if warn else logger.info)("request_refused", **fields)
    line_counter.refusal_logged = True


def correlation_id_of(event: Mapping[str, Any]) -> str | None:
    """Return the correlation id of a Lambda event, or None if it has none.

    The input of a saga step contains it. For an HTTP request it is the client's header X-Correlation-Id if that is valid, otherwise
    the request id of API Gateway or of the function URL.
    """
    context: dict[str, str] | None = event.get("requestContext")
    if context is None:
        return event.get("correlation_id")
    headers: dict[str, str | None] = event.get("headers") or {}
    offered = next((value for name, value in headers.items() if name.lower() == "x-correlation-id"), None) or ""
    return offered if _CORRELATION_ID.fullmatch(offered) else context.get("requestId")


def instrumented[E: Mapping[str, Any], A](handler: Handler[E, A]) -> Handler[E, A]:
    """Add logging, tracing and metrics to a Lambda handler: new log keys, a trace segment, its metrics, one line `done`.

    There is no line `done` for a refused request, and for a batch each of whose messages has a line. Event and answer are neither
    logged nor traced, because they contain names, addresses and tokens.
    """

    @functools.wraps(handler)
    def invoke(event: E, context: LambdaContext) -> A:
        path: dict[str, str] = event.get("pathParameters") or {}
        path_id = path.get("order_id", "")
        _remove_uninformative_keys()
        line_counter.reset()
        _measured.clear()
        begun = time.time()
        annotate(
            correlation_id=correlation_id_of(event),
            order_id=event.get("order_id") or (path_id if is_order_id(path_id) else None),
            event_id=event.get("event_id"),
        )
        try:
            answer = handler(event, context)
        except Exception:
            logger.exception("invocation_failed")
            record_fault(begun)
            raise
        finally:
            _write_metrics()
        if _is_server_error(answer):
            record_fault(begun)
        if not line_counter.refusal_logged and not _each_message_logged(answer):
            logger.info("done", outcome=_outcome(answer))
        return answer

    traced = tracer.capture_lambda_handler(invoke, capture_response=False, capture_error=False)
    return logger.inject_lambda_context(traced, clear_state=True)


def _remove_uninformative_keys() -> None:
    """Remove constant log keys, `cold_start` of a warm start, and the id of a trace that is not sampled."""
    logger.remove_keys(_CONSTANT_KEYS)
    if not logger.get_current_keys().get("cold_start"):
        logger.remove_keys(["cold_start"])
    if not tracing.header():
        logger.append_keys(xray_trace_id=None)


def _each_message_logged(answer: object) -> bool:
    """Return whether each message of a batch succeeded and has its own line."""
    failed = isinstance(answer, dict) and answer.get("batchItemFailures")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return bool(line_counter.messages) and not line_counter.messages_without_line and not failed


def _is_server_error(answer: object) -> bool:
    """Return whether an HTTP answer is a 5xx: the API answers with one instead of raising."""
    status = answer.get("statusCode") if isinstance(answer, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return isinstance(status, int) and status >= _SERVER_ERROR


def _outcome(answer: object) -> object:
    if not isinstance(answer, dict):
        return None
    return answer.get("outcome") or answer.get("statusCode")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
