"""Event contracts: published schemas match the models, and events match the schemas."""

from __future__ import annotations

import ast
import copy
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, cast

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator

from devtools.checks.contracts import catalogue, command, registry, releases, routes
from devtools.cli import UserError
from devtools.commands import parsed
from devtools.target import ROOT
from orderflow.domain import commands, events, remediation_events
from orderflow.domain.ledger_events import LedgerDifferenceFound
from tests.contract.stack import Stack, referred
from tests.contract.test_routing import ROUTES, STREAMED
from tests.support import orders
from tests.support.contracts import DATES, UNNAMED, VERSIONS, embedded_events, problems, validator
from tests.support.guidance import require_same

OPERATIONS = {event.type: event for event in remediation_events.EVENTS}
TYPES = (*events.EVENT_TYPES, UNNAMED, *OPERATIONS)
EVENTS = list({(one.type, one.order_version): one for done in orders.STATES.values() for one in orders.history(*done)}.values())
EXAMPLES = {f"{name} {version}": catalogue.example(name, version) for name, version in VERSIONS}
SAMPLES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "events").rglob("*.json"))
# The unknown event of poison samples, which have no contract on purpose.
POISON = "no contract: ('OrderTeleported', 1)"


def read(document: dict[str, Any]) -> Any:
    """Decode an event from the bus as a consumer does."""
    raw = json.dumps(document)
    if document.get("type") in list(OPERATIONS):
        return remediation_events.decode(raw)
    return events.decode(raw) if "type" in document else msgspec.json.decode(raw, type=LedgerDifferenceFound)


# Published schemas.


@pytest.fixture(scope="module")
def files() -> dict[Any, str]:
    known = catalogue.contracts()
    return command.rendered(known, releases.read(command.RELEASED).version)


def test_committed_contracts_match_models_and_template(files: dict[Any, str]) -> None:
    assert command.stale(files) == []


def test_generated_files_are_deterministic(files: dict[Any, str]) -> None:
    assert command.rendered(catalogue.contracts(), releases.read(command.RELEASED).version) == files


def test_contracts_are_compatible_with_the_last_release() -> None:
    now = catalogue.catalogue(catalogue.contracts())
    found = releases.differences(releases.read(command.RELEASED).events, now, events.UPCASTERS)
    assert [str(finding) for finding in found if not finding.change.compatible] == []


def changed_model(kind: str, **fields: Any) -> type[events.EventData]:
    """Return a changed model of an event: a field set to None is removed, other fields are added or replaced."""
    existing: list[Any] = [
        (field.name, fields.pop(field.name, field.type), *(() if field.required else (field.default,)))
        for field in msgspec.structs.fields(events.EVENT_TYPES[kind])
        if fields.get(field.name, ...) is not None
    ]
    added = [(name, *(given if isinstance(given, tuple) else (given,))) for name, given in fields.items() if given is not None]
    made = msgspec.defstruct(kind, [*existing, *added], bases=(events.EventData,), frozen=True, namespace={"__doc__": "Changed."})
    return cast("type[events.EventData]", made)


BREAKING = {
    "field removed": ("PaymentVoided", {"amount": None}, "amount: required field removed"),
    "required field added": ("PaymentVoided", {"reason": str}, "reason: required field added"),
    "another type": ("PaymentVoided", {"authorization_id": int}, "authorization_id: type changed from string to integer"),
    "narrowed": ("PaymentVoided", {"authorization_id": Annotated[str, msgspec.Meta(max_length=9)]}, "authorization_id: maxLength 9 added"),
    "null": ("PaymentVoided", {"authorization_id": str | None}, "authorization_id: type widened from string to null or string"),
    "value removed": ("DisputeClosed", {"outcome": Literal["won"]}, 'outcome: value "lost" removed'),
    "value added": ("DisputeClosed", {"outcome": Literal["won", "lost", "open"]}, 'outcome: value "open" added'),
}


@pytest.mark.parametrize("change", BREAKING)
def test_incompatible_model_fails_the_check(change: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    kind, fields, message = BREAKING[change]
    monkeypatch.setitem(events.EVENT_TYPES, kind, changed_model(kind, **fields))
    with pytest.raises(UserError, match="new schema_version"):
        command.main(parsed("contracts", "--check"))
    assert f"{kind} 1 data.{message} - INCOMPATIBLE" in capsys.readouterr().out


def test_new_optional_field_is_reported_and_needs_new_schemas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(events.EVENT_TYPES, "PaymentVoided", changed_model("PaymentVoided", reason=(str, "")))
    with pytest.raises(UserError, match="make contracts"):
        command.main(parsed("contracts", "--check"))
    assert "PaymentVoided 1 data.reason: optional field added - compatible" in capsys.readouterr().out


def test_new_version_needs_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = changed_model("PaymentVoided", amount=None)
    monkeypatch.setattr(newer, "schema_version", 2)
    monkeypatch.setitem(events.EVENT_TYPES, "PaymentVoided", newer)
    with pytest.raises(UserError, match=r"schemas/PaymentVoided/2\.example\.json is missing"):
        command.main(parsed("contracts"))


@pytest.mark.parametrize("name", ["1.0.0", "0.9.9", "next"])
def test_release_number_must_follow_the_last_one(name: str) -> None:
    with pytest.raises(UserError, match=r"does not follow|has the form"):
        command.main(parsed("contracts", "--release", name))


def test_every_event_version_has_a_schema() -> None:
    present = (
        {name: event_data.schema_version for name, event_data in events.EVENT_TYPES.items()}
        | {UNNAMED: 1}
        | {name: event.schema_version for name, event in OPERATIONS.items()}
    )
    assert [(name, n) for name in sorted(present) for n in range(1, present[name] + 1)] == VERSIONS


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_schema_is_valid_and_allows_unknown_fields(name: str, version: int) -> None:
    schema = catalogue.schema(name, version)
    Draft202012Validator.check_schema(schema)
    assert "additionalProperties" not in json.dumps(schema), "remove additionalProperties: consumers must accept unknown fields"
    assert "(?" not in json.dumps(schema), "remove the lookahead: not every language's patterns support it"
    assert schema["$id"].endswith(f":{name}:{version}")
    assert schema["description"]


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_registry_entry_is_openapi_and_equals_the_schema(name: str, version: int) -> None:
    document = registry.openapi(name, version, catalogue.schema(name, version))
    OpenAPIV30SpecValidator(document).validate()
    parts = document["components"]["schemas"]
    entry = OAS30Validator({"$ref": f"#/components/schemas/{name}Event", "components": document["components"]}, format_checker=DATES)
    assert parts["AWSEvent"]["x-amazon-events-detail-type"] == name
    for changed in [EXAMPLES[f"{name} {version}"], *mutations(EXAMPLES[f"{name} {version}"])]:
        assert entry.is_valid(changed) is (problems_of(name, version, changed) == []), changed


def test_registry_template_has_valid_schemas() -> None:
    resources = yaml.safe_load((ROOT / "schemas/registry.yaml").read_text("utf-8"))["Resources"]
    contents = {name: entry["Properties"]["Content"] for name, entry in resources.items() if name != "Registry"}
    require_same(contents, {f"{name}{version}" for name, version in VERSIONS}, "schemas/registry.yaml", "run `make contracts`")
    # The registry's quota for one schema.
    assert max(map(len, contents.values())) <= 100_000


def test_asyncapi_document_links_every_schema_and_example() -> None:
    document = yaml.safe_load((ROOT / "schemas/asyncapi.yaml").read_text("utf-8"))
    require_same(document["components"]["messages"], TYPES, "schemas/asyncapi.yaml", "run `make contracts`")
    for name, message in document["components"]["messages"].items():
        path = ROOT / "schemas" / message["payload"]["schema"]["$ref"]
        assert json.loads(path.read_text("utf-8"))["title"] == name
        assert message["examples"][0]["payload"] == EXAMPLES[f"{name} {path.stem}"]
    for reference in references(document):
        target = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        yield from (value["$ref"] for _ in range(1) if str(value.get("$ref", "")).startswith("#/"))
        for item in value.values():
            yield from references(item)


# Models and schemas accept the same documents.


def problems_of(name: str, version: int, document: Any) -> list[str]:
    return [error.message for error in validator(name, version).iter_errors(document)]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: f"{event.type}-{event.order_version}")
def test_events_of_the_rules_match_their_schemas(event: events.Event) -> None:
    assert problems(json.loads(events.encode(event))) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_matches_its_contract_and_is_decoded(name: str) -> None:
    assert problems(EXAMPLES[name]) == []
    assert type(read(EXAMPLES[name])).__name__ in {"Event", "OperationsEvent", UNNAMED}


@pytest.mark.parametrize("name", [f"{name} {version}" for name, version in VERSIONS if name in events.EVENT_TYPES])
def test_example_of_any_version_is_read_as_the_current_one(name: str) -> None:
    event = read(EXAMPLES[name])
    assert problems(json.loads(events.encode(event))) == []
    assert event.schema_version == events.EVENT_TYPES[event.type].schema_version


@pytest.mark.parametrize("name", EXAMPLES)
def test_schema_and_decoder_accept_the_same_documents(name: str) -> None:
    kind, _, version = name.partition(" ")
    # The ledger's model does not check the constants of its envelope; the publisher sets them.
    changed = [
        one for one in mutations(EXAMPLES[name]) if kind in events.EVENT_TYPES or {**one, "data": 0} == {**EXAMPLES[name], "data": 0}
    ]
    # Documents that an older version refused may be readable now.
    older = kind in events.EVENT_TYPES and int(version) < events.EVENT_TYPES[kind].schema_version
    for document in changed:
        allowed = problems_of(kind, int(version), document) == []
        assert readable(document) is allowed or (older and not allowed), document
    assert any(readable(document) for document in changed)
    assert not all(readable(document) for document in changed)


def readable(document: Any) -> bool:
    try:
        read(document)
    except (msgspec.DecodeError, events.UnknownEvent):
        return False
    return True


def mutations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the document with one change: a field missing, null, of another type, empty, or an unknown field added."""
    for path in paths(document):
        *above, last = path
        if isinstance(last, str) and path != ["type"]:
            yield changed(document, above, lambda holder, key=last: holder.pop(key))
        if isinstance(last, str):
            yield changed(document, above, lambda holder: holder.update(of_a_later_version={"x": 1}))
        for value in (None, [], {}, "", "?", -1, 1.5, True):
            if not (isinstance(value, str) and path == ["type"]):
                yield changed(document, above, lambda holder, key=last, value=value: holder.__setitem__(key, value))


def paths(value: Any, above: tuple[str | int, ...] = ()) -> Iterator[list[str | int]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield [*above, key]
        yield from paths(part, (*above, key))


def changed(document: dict[str, Any], above: list[str | int], change: Callable[[Any], object]) -> dict[str, Any]:
    whole = copy.deepcopy(document)
    holder: Any = whole
    for key in above:
        holder = holder[key]
    change(holder)
    return whole


# Events of samples, consumers and producers.


@pytest.mark.parametrize("path", SAMPLES)
def test_events_of_samples_match_their_contracts(path: str) -> None:
    found = [problem for event in embedded_events(json.loads((ROOT / path).read_text("utf-8"))) for problem in problems(event)]
    assert set(found) <= ({POISON} if "poison" in path else set())


def test_samples_contain_events() -> None:
    assert any(any(embedded_events(json.loads((ROOT / path).read_text("utf-8")))) for path in SAMPLES)


def test_documented_consumers_are_those_of_rules_and_streams(stack: Stack) -> None:
    consumers = routes.routes(TYPES).consumers
    by_rule = {(by.split("`")[1], name) for name in TYPES for by in (way.by for way in consumers[name]) if by.startswith("rule")}
    assert by_rule == {(rule, name) for rule, names in ROUTES.items() for name in names}
    streamed = {(way.name.strip("`"), name) for name in TYPES for way in consumers[name] if way.by.startswith("stream")}
    functions = stack.of("Lambda::Function")
    handlers = {
        mapping: functions[referred(stack.of("Lambda::EventSourceMapping")[mapping]["FunctionName"])]["Handler"] for mapping in STREAMED
    }
    assert streamed == {
        (handlers[mapping].removesuffix(".handler").replace(".handlers.", "/"), name)
        for mapping, names in STREAMED.items()
        for name in names
    }


def test_stream_only_events_match_no_rule() -> None:
    found = routes.routes(TYPES)
    assert found.stream_only <= set(events.EVENT_TYPES)
    assert not [way for name in found.stream_only for way in found.consumers[name] if way.by.startswith("rule")]


def test_documented_producers_are_those_in_the_code() -> None:
    callers = defaultdict[str, set[str]](set)
    for path in (ROOT / "functions").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                callers[node.func.id].add(path.relative_to(ROOT / "functions").parts[0])
    producers = defaultdict[str, set[str]](set)
    for done in orders.STATES.values():
        for number, last in enumerate(done):
            for event in orders.history(*done[: number + 1])[len(orders.history(*done[:number])) :]:
                producers[event.type] |= callers[type(last).__name__] | callers[event.type]
    producers |= {UNNAMED: {"ledger"}} | {name: callers[name] for name in OPERATIONS}
    released = releases.read(command.RELEASED).events
    found = {name: tuple(sorted(contexts)) for name, contexts in producers.items()}
    present = {path.parent.name for path in (ROOT / "functions").glob("*/handlers")}
    for name, listed in routes.PRODUCERS.items():
        # Events of a context that was removed stay in the log, and appear in it no more.
        contexts = tuple(context for context in listed if context in present)
        assert name in found, f"no test order has {name}: add a state that has it to STATES in tests/support/orders.py"
        # An event may come before the function that appends it, until it is released.
        unused = not found[name] and name not in released
        assert unused or found[name] == contexts, (
            f"@evolves({name}, appended_by=…) says {contexts}, but functions of {found[name] or 'no context'} use the commands that add it"
        )
    assert not hasattr(commands, UNNAMED)
