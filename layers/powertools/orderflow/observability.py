"""Logging, tracing and metrics, the same in every function.

Every line carries the correlation id, and the order and event ids as soon as they are known. Keys of
one invocation never reach the next one of the same warm process.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics
from aws_lambda_powertools.tracing import Tracer

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger()
metrics = Metrics()
# Patching everything imports every library that the X-Ray SDK knows; AWS calls are what matters here.
tracer = Tracer(auto_patch=False)

# What the log group says already, or the function's configuration: a log is paid for by the byte.
_KNOWN = ("function_name", "function_arn", "function_memory_size")
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")

type Handler[E, A] = Callable[[E, LambdaContext], A]


def identify(**keys: str | None) -> None:
    """Put ids (`order_id`, `event_id`, `correlation_id`) on all further log lines and on the trace."""
    known = {name: value for name, value in keys.items() if value}
    logger.append_keys(**known)
    for name, value in known.items():
        tracer.put_annotation(name, value)


def correlation_of(event: Mapping[str, Any]) -> str | None:
    """Return the correlation id that a trigger brings.

    A saga step names it; for an HTTP request it is the client's X-Correlation-Id if that is well
    formed, otherwise the request id that API Gateway gave.
    """
    context: dict[str, str] | None = event.get("requestContext")
    if context is None:
        return event.get("correlation_id")
    headers: dict[str, str | None] = event.get("headers") or {}
    offered = next((value for name, value in headers.items() if name.lower() == "x-correlation-id"), None) or ""
    return offered if _CORRELATION_ID.fullmatch(offered) else context.get("requestId")


def observed[E: Mapping[str, Any], A](handler: Handler[E, A]) -> Handler[E, A]:
    """Wrap a Lambda handler: fresh log keys, a trace segment, flushed metrics, one line a call.

    Neither the event nor the answer is logged or traced: they hold names, addresses and tokens.
    """

    @functools.wraps(handler)
    def invoke(event: E, context: LambdaContext) -> A:
        path: dict[str, str] = event.get("pathParameters") or {}
        logger.remove_keys(_KNOWN)
        identify(
            correlation_id=correlation_of(event),
            order_id=event.get("order_id") or path.get("order_id"),
            event_id=event.get("event_id"),
        )
        try:
            answer = handler(event, context)
        except Exception:
            logger.exception("failed")
            raise
        finally:
            # Without a metric there is nothing to flush, and Powertools would warn about it.
            if metrics.provider.metric_set:
                metrics.flush_metrics()
        logger.info("done", outcome=_outcome(answer))
        return answer

    traced = tracer.capture_lambda_handler(invoke, capture_response=False, capture_error=False)
    return logger.inject_lambda_context(traced, clear_state=True)


def _outcome(answer: object) -> object:
    if not isinstance(answer, dict):
        return None
    return answer.get("outcome") or answer.get("statusCode")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
