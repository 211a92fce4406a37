"""The contracts for people and for tools: docs/events.md and the AsyncAPI document."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

import yaml

from devtools.checks.contracts.routes import PRODUCERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devtools.checks.contracts.catalogue import Contract
    from devtools.checks.contracts.routes import Routes

# What only the ledger's proof says is on the bus alone; what is on an order's log is on the stream in any case.
BUS_ONLY = frozenset({"LedgerDifferenceFound"})
WRITTEN = "<!-- written by make contracts -->"

_INTRODUCTION = f"""# Events

{WRITTEN}

Everything that happens to an order is an event: a fact in an envelope, kept on the order log and published from there. What
[the AsyncAPI document](../schemas/asyncapi.yaml) says to tools this page says to people. Each event has a JSON Schema, and an
example that is read by a test for as long as there are events of its version.

- **Bus.** EventBridge delivers an event as `detail`; `detail-type` is its type and `source` the context that says it. Archive
  and replay, rules by type.
- **Stream.** A record of the Kinesis stream is the event's JSON document; the partition key is the order's id, so an order's
  events are on one shard.
- **At least once, in no promised order.** Know an event by `event_id`; put an order's events in order by `order_version`.
- **Two times.** `occurred_at` is when it happened; what a carrier or bank reports has its sender's time, which may be days before it is
  published, and before that of an earlier `order_version`. Then `recorded_at` tells when it was recorded.
- **Be tolerant.** Ignore fields that you do not know: they may be added at any time. Anything else comes as a new
  `schema_version` ([decision](decisions/{{decision}})).
- **In Python**, `pip install ./layers/powertools` gives the package `orderflow`: `orderflow.domain.events.decode(document)` returns
  any version as the present one, with types.

The envelope, the same for all events of an order:

"""


def page(contracts: Mapping[str, Contract], routes: Routes, decision: str) -> str:
    """Return docs/events.md; `decision` is the file name of the decision on versions."""
    parts = [_INTRODUCTION.format(decision=decision), _envelope(contracts), "\n## All events\n\n", _overview(contracts, routes)]
    parts += [_section(name, contract, routes) for name, contract in contracts.items()]
    return "".join(parts)


def _envelope(contracts: Mapping[str, Contract]) -> str:
    fields = next(iter(contracts.values())).schema["properties"]
    rows = [f"| `{name}` | {_kind(field)} | {field.get('description', 'What the event says')} |" for name, field in fields.items()]
    return "\n".join(["| field | type | |", "|---|---|---|", *rows]) + "\n"


def _overview(contracts: Mapping[str, Contract], routes: Routes) -> str:
    rows = [_row(name, contract, routes) for name, contract in contracts.items()]
    return "\n".join(["| event | version | said by | is on | consumers |", "|---|--:|---|---|--:|", *rows]) + "\n"


def _row(name: str, contract: Contract, routes: Routes) -> str:
    where = " and ".join(channels(name, routes))
    count = len({consumer.name for consumer in routes.consumers[name]})
    return f"| [{name}](#{name.lower()}) | {contract.version} | {', '.join(PRODUCERS[name])} | {where} | {count} |"


def channels(name: str, routes: Routes) -> list[str]:
    """Return where an event is published: on the bus, on the stream, or on both."""
    return [*(["bus"] if name not in routes.stream_only else []), *(["stream"] if name not in BUS_ONLY else [])]


def _section(name: str, contract: Contract, routes: Routes) -> str:
    taken = [
        f"{consumer} ({'; '.join(way.by for way in ways)})" for consumer, ways in groupby(routes.consumers[name], key=lambda way: way.name)
    ]
    schemas = ", ".join(f"[{version}](../schemas/{name}/{version}.json)" for version in contract.versions)
    example = json.dumps(contract.example["data"], indent=2, ensure_ascii=False)
    return (
        f"\n## {name}\n\n{contract.schema['description']}\n\n"
        f"- said by: {', '.join(PRODUCERS[name])}\n- consumers: {', '.join(taken) or 'none here'}\n- schema: version {schemas}\n\n"
        f"```json\n{example}\n```\n"
    )


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
            "description": "What happens to orders. Every event is delivered at least once, in no promised order.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "bus": _channel("bus", "{stack}-orders", "The EventBridge event bus; an event is the `detail`.", contracts, routes),
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
