"""Place the order of a sample event of API Gateway and follow it to its final state."""

import base64
import json
import re
import time
from argparse import Namespace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import msgspec
from rich.text import Text

from devtools import target as targets
from devtools import ui
from devtools.cli import UserError
from devtools.local.api_client import ApiClient, is_final, state_of
from devtools.ops import timeline

FOLLOW_SECONDS = 120.0
POLL_SECONDS = 0.15
# Headers that this client sets itself.
REPLACED = frozenset({"authorization", "host", "content-length", "connection"})


def request_of(path: Path) -> tuple[bytes, dict[str, str]]:
    """Return the body and headers of an API Gateway proxy event in a file. Raises UserError for other files."""
    try:
        event: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"file {path} not found; samples are in events/orders/place_order/") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; name one of its files") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(event, dict) or not {"httpMethod", "body"} <= event.keys():
        raise UserError(f"{path} is not an API Gateway event: it has no httpMethod and body")
    try:
        return _unpack(cast("dict[str, Any]", event))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is not an API Gateway event: {error}") from None


def _unpack(event: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    raw: object = event["body"] or ""
    if not isinstance(raw, str):
        raise TypeError("its body is not text")
    headers = msgspec.convert(event.get("headers") or {}, dict[str, str])
    if not all(_is_header(*header) for header in headers.items()):
        raise ValueError("its headers are not HTTP headers")
    body = base64.b64decode(raw, validate=True) if event.get("isBase64Encoded") else raw.encode("utf-8", "surrogatepass")
    return body, {name: value for name, value in headers.items() if name.lower() not in REPLACED}


def _is_header(name: str, value: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name)) and value.isascii() and value.isprintable()


def main(arguments: Namespace) -> int:
    """Place the order and print the answer; 0 when it was accepted and reached its final state."""
    body, headers = request_of(Path(arguments.file))
    api, customer = ApiClient(targets.chosen(arguments.stack)), arguments.customer
    answer = api.call("POST", "/orders", customer, body=body, **_headers(headers, arguments.key))
    ui.console.print(Text(f"  {answer.status}", "green" if answer.status == 201 else "red"))
    ui.console.print_json(answer.body.decode(errors="replace") if answer.json() else json.dumps(answer.body.decode(errors="replace")))
    if answer.status != 201:
        return 1
    return _follow(api, customer, answer.json()["order_id"])


def _headers(headers: dict[str, str], key: str) -> dict[str, str]:
    """Return the sample's headers; its Idempotency-Key is replaced by `key`, or a new one without `key`."""
    # The sample's own key would return the order that it placed the first time.
    return {
        name.replace("-", "_"): (key or str(uuid4())) if name.lower() == "idempotency-key" else value for name, value in headers.items()
    }


def _follow(api: ApiClient, customer: str, order_id: str) -> int:
    events: list[dict[str, Any]] = []
    deadline = time.monotonic() + FOLLOW_SECONDS
    with ui.stage("order") as step:
        while not is_final(state_of(events)) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            events = api.events(customer, order_id)
            step.detail = timeline.line(events).plain
        step.detail = state_of(events)
    ui.console.print(Text.assemble("  ", timeline.line(events)))
    ui.console.print(Text(f"\n  make trace ORDER={order_id}", "bold"))
    return 0 if is_final(state_of(events)) else 1
