"""Renders the event contracts: docs/events.md for readers, the AsyncAPI document for tools."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import yaml

from devtools.checks.contracts.routes import PRODUCERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devtools.checks.contracts.catalogue import Contract
    from devtools.checks.contracts.routes import Routes

# Events of the ledger audit are on the bus only; the stream has every event of the order log.
BUS_ONLY = frozenset({"LedgerDifferenceFound"})
WRITTEN = "<!-- written by make contracts -->"

_INTRODUCTION = f"""# Events

{WRITTEN}

Every change of an order is an event in an envelope, stored in the order log and published from there. This page is generated from the
models; [the AsyncAPI document](../schemas/asyncapi.yaml) has the same for tools. Each event has a JSON Schema and an example, which a
test decodes for as long as its version is supported.

- **Bus.** EventBridge delivers an event as `detail`; `detail-type` is its type and `source` its producer. The bus has rules by type, an
  archive and replay.
- **Stream.** A record of the Kinesis stream is the event's JSON document; the partition key is the order id, so one shard has all events
  of an order.
- **At least once, in any order.** Deduplicate by `event_id`, sort an order's events by `order_version`.
- **Two times.** `occurred_at` is the time of occurrence; for reports of a carrier or bank it is the sender's time, which may be days before
  publication and before that of an earlier `order_version`. Then `recorded_at` is the time of recording.
- **Tolerant reading.** Ignore unknown fields: they may be added at any time. Any other change is a new `schema_version`
  ([decision](decisions/{{decision}})).
- **Python.** `pip install ./layers/powertools` installs the package `orderflow`: `orderflow.domain.events.decode(document)` returns any
  version as the current one, typed.

The envelope is the same for all events of an order:

"""


def page(contracts: Mapping[str, Contract], routes: Routes, decision: str) -> str:
    """Return the text of docs/events.md; `decision` is the file name of the decision on versions."""
    parts = [_INTRODUCTION.format(decision=decision), _envelope(contracts), "\n## All events\n\n", _overview(contracts, routes)]
    parts += [_section(name, contract, routes) for name, contract in contracts.items()]
    return "".join(parts)


def _envelope(contracts: Mapping[str, Contract]) -> str:
    fields = next(iter(contracts.values())).schema["properties"]
    rows = [f"| `{name}` | {_kind(field)} | {field.get('description', 'Data of the event')} |" for name, field in fields.items()]
    return "\n".join(["| field | type | |", "|---|---|---|", *rows]) + "\n"


def _overview(contracts: Mapping[str, Contract], routes: Routes) -> str:
    rows = [_row(name, contract, routes) for name, contract in contracts.items()]
    return "\n".join(["| event | version | producer | channel | consumers |", "|---|--:|---|---|--:|", *rows]) + "\n"


def _row(name: str, contract: Contract, routes: Routes) -> str:
    where = " and ".join(channels(name, routes))
    count = len({consumer.name for consumer in routes.consumers[name]})
    return f"| [{name}](#{name.lower()}) | {contract.version} | {', '.join(PRODUCERS[name])} | {where} | {count} |"


def channels(name: str, routes: Routes) -> list[str]:
    """Return the channels of an event: bus, stream, or both."""
    return [*(["bus"] if name not in routes.stream_only else []), *(["stream"] if name not in BUS_ONLY else [])]


def _section(name: str, contract: Contract, routes: Routes) -> str:
    taken = [
        f"{consumer} ({'; '.join(way.by for way in ways)})" for consumer, ways in groupby(routes.consumers[name], key=lambda way: way.name)
    ]
    versions = ", ".join(f"[{version}](../schemas/{name}/{version}.json)" for version in contract.versions)
    rows = {
        "producer": ", ".join(PRODUCERS[name]),
        "consumers": ", ".join(taken) or "none",
        "schema": f"version {versions}; [example](../schemas/{name}/{contract.version}.example.json)",
        "data": ", ".join(f"`{field}`" for field in contract.example["data"]),
    }
    lines = "\n".join(f"- {what}: {text}" for what, text in rows.items())
    return f"\n## {name}\n\n{contract.schema['description']}\n\n{lines}\n"


def _kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return "object"
    if "anyOf" in field:
        return " or ".join(_kind(part) for part in field["anyOf"])
    return field.get("format", field["type"])


def asyncapi(contracts: Mapping[str, Contract], routes: Routes, version: str) -> str:
    """Return the AsyncAPI document, which refers to the schemas beside it."""
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Order pipeline",
            "version": version,
            "description": "Events of orders, delivered at least once and in any order.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "bus": _channel("bus", "{stack}-orders", "The EventBridge event bus; `detail` contains the event.", contracts, routes),
            "stream": _channel("stream", "{stack}-events", "The Kinesis stream; an order's events are on one shard.", contracts, routes),
        },
        "operations": {f"publish-on-{channel}": _operation(channel, contracts, routes) for channel in ("bus", "stream")},
        "components": {"messages": {name: _message(name, contract) for name, contract in contracts.items()}},
    }
    return f"# Written by `make contracts`.\n{yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)}"


def _channel(channel: str, address: str, description: str, contracts: Mapping[str, Contract], routes: Routes) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "parameters": {"stack": {"description": "Name of the stack."}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in contracts if channel in channels(name, routes)},
    }


def _operation(channel: str, contracts: Mapping[str, Contract], routes: Routes) -> dict[str, Any]:
    names = [name for name in contracts if channel in channels(name, routes)]
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names],
    }


def _message(name: str, contract: Contract) -> dict[str, Any]:
    return {
        "name": name,
        "title": name,
        "summary": contract.schema["description"].partition("\n")[0],
        "contentType": "application/json",
        "tags": [{"name": context} for context in PRODUCERS[name]],
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"{name}/{contract.version}.json"},
        },
        "examples": [{"name": name, "payload": contract.example}],
    }
