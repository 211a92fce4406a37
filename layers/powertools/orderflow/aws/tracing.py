"""X-Ray traces across the table stream, the event stream, the bus and queues.

Streams carry no trace header, and Lambda starts a new trace for each batch of messages. So an event carries the header of the
sampled trace in which it was recorded, and each consumer adds a segment to that trace. X-Ray samples before the outcome is known,
so a failed invocation or message of a trace that is not sampled is sent as a segment of its own.

Segments go to the X-Ray daemon by UDP, as the X-Ray SDK sends them; the SDK cannot join another trace within Lambda
(https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html).
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

_SAMPLED = "Sampled=1"
# https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader. Clients can send the header, too, and
# EventBridge refuses every entry of a call with a longer one.
_ROOT = "1-[0-9a-f]{8}-[0-9a-f]{24}"
_PARENT = "[0-9a-f]{16}"
_IN_DOCUMENT = re.compile(rf'"trace":\s*"(Root={_ROOT};Parent={_PARENT};{_SAMPLED})"')
_PREFIX = b'{"format": "json", "version": 1}\n'


class _Segment:
    """The segment of the current message: the trace header for its effects, and its annotations."""

    def __init__(self, header: str) -> None:
        self.id = secrets.token_hex(8)
        self.trace_id, self.parent_id = _parts(header)
        self.start = time.time()
        self.annotations: dict[str, str] = {}

    @property
    def header(self) -> str:
        return f"Root={self.trace_id};Parent={self.id};{_SAMPLED}"


_current: list[_Segment] = []


def header() -> str | None:
    """Return the header for events and calls from here: of the message that is being processed, else of the invocation, if sampled.

    A client's header can be in the invocation's environment. It is returned in the documented form only, which `header_in` accepts.
    """
    if _current:
        return _current[-1].header
    given = os.environ.get("_X_AMZN_TRACE_ID", "")
    if _SAMPLED not in given.split(";"):
        return None
    trace_id, parent_id = _parts(given)
    return f"Root={trace_id};Parent={parent_id};{_SAMPLED}" if trace_id and parent_id else None


def header_in(document: str) -> str | None:
    """Return the header that an event's document, or a message with one, carries; none for a replay from the archive."""
    found = None if '"replay-name"' in document else _IN_DOCUMENT.search(document)
    return found[1] if found else None


@contextmanager
def continued(given: str | None) -> Generator[None]:
    """Add a segment for the work of the context to the trace of this header, if there is one."""
    if given is None:
        yield
        return
    segment = _Segment(given)
    _current.append(segment)
    fault = False
    try:
        yield
    except Exception:
        fault = True
        raise
    finally:
        _current.pop()
        _send(segment, fault=fault)


def record(given: str, begun: float, **annotations: str) -> None:
    """Add a segment for work that began at `begun` (seconds since 1970) and has ended now to the trace of this header."""
    segment = _Segment(given)
    segment.start = begun
    segment.annotations |= annotations
    _send(segment)


def record_fault(begun: float, **annotations: str) -> None:
    """Send a segment for work that failed, unless a sampled trace has it already."""
    if header():
        return
    trace_id, parent_id = _parts(os.environ.get("_X_AMZN_TRACE_ID", ""))
    segment = _Segment(f"Root={trace_id or _new_trace_id()};Parent={parent_id or ''}")
    segment.start = begun
    segment.annotations |= annotations
    _send(segment, fault=True)


def annotate(**annotations: str) -> None:
    """Add annotations, by which X-Ray finds traces, to the segment of the current message."""
    if _current:
        _current[-1].annotations |= annotations


def _parts(given: str) -> tuple[str, str]:
    """Return trace id and parent id of a header; both empty unless it has a trace id, each of the documented form."""
    fields = dict(part.split("=", 1) for part in given.split(";") if "=" in part)
    trace_id, parent_id = fields.get("Root", ""), fields.get("Parent", "")
    if not re.fullmatch(_ROOT, trace_id):
        return "", ""
    return trace_id, parent_id if re.fullmatch(_PARENT, parent_id) else ""


def _new_trace_id() -> str:
    return f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"


def _send(segment: _Segment, *, fault: bool = False) -> None:
    """Send a segment to the daemon. A trace that is lost must not fail an order."""
    address = os.environ.get("AWS_XRAY_DAEMON_ADDRESS", "")
    # The address is host:port, or both protocols' as "tcp:host:port udp:host:port".
    host, _, port = address.rpartition("udp:")[2].partition(" ")[0].partition(":")
    if not port.isdigit():
        return
    document: dict[str, Any] = {
        "name": os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "order-pipeline"),
        "id": segment.id,
        "trace_id": segment.trace_id,
        "start_time": segment.start,
        "end_time": time.time(),
        "annotations": segment.annotations,
    }
    if segment.parent_id:
        document["parent_id"] = segment.parent_id
    if fault:
        document["fault"] = True
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.sendto(_PREFIX + msgspec.json.encode(document), (host, int(port)))
