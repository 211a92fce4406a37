"""The sample events of events/: at least one for every function, in its trigger's format."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from devtools import template
from devtools.checks.contracts import routes
from devtools.target import ROOT
from orderflow.domain import events
from orders.api_models import PlaceOrderRequest
from tests.contract.stack import ALIAS, Stack, referred
from tests.contract.test_routing import RESOURCES
from tests.support.guidance import require_same

EVENTS = ROOT / "events"
WORKFLOWS = [json.loads(path.read_text("utf-8")) for path in sorted((ROOT / "workflows").glob("*.asl.json"))]
SAMPLES = sorted(str(path.relative_to(EVENTS).with_suffix("")) for path in EVENTS.glob("*/*/*.json") if not path.stem.endswith(".answer"))
WEBHOOKS = ("shipping/receive_webhook", "payments/receive_webhook")
# The events that the template routes to each consumer. Samples of emails are tested by the filter of their subscription.
CONSUMED = {name: types for name, types in routes.consumed(RESOURCES).items() if name != "notifications/send_emails"}
# By function: the state that invokes it, and all states of that workflow.
STEPS = {
    state["Parameters"]["FunctionName"].strip("${}"): (state, workflow["States"])
    for workflow in WORKFLOWS
    for state in workflow["States"].values()
    if ":lambda:invoke" in state.get("Resource", "")
}
# The folder of each function's samples.
FOLDERS = {
    name: resource["Properties"]["Handler"].removesuffix(".handler").replace(".handlers.", "/")
    for name, resource in template.source()["Resources"].items()
    if resource["Type"] == "AWS::Serverless::Function"
}


# Of which, the functions that answer requests to the API.
REQUESTS = tuple(
    FOLDERS[name]
    for name, resource in template.source()["Resources"].items()
    if any(event["Type"] == "Api" for event in resource["Properties"].get("Events", {}).values() if name in FOLDERS)
)


def sample(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text("utf-8"))


def answer(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.answer.json").read_text("utf-8"))


def events_of(name: str) -> Iterator[tuple[str, Any]]:
    """Yield the events of a consumer's batch: message id ("" for stream records) and event (None if malformed)."""
    for record in sample(name)["Records"]:
        match record:
            case {"eventSource": "aws:sqs", "body": body}:
                delivered = json.loads(body) if body.startswith("{") else None
                if delivered and "detail-type" in delivered:
                    assert delivered["detail"].get("type") in {delivered["detail-type"], None}
                yield record["messageId"], delivered and delivered.get("detail")
            case {"eventSource": "aws:kinesis", "kinesis": {"data": data, "partitionKey": key}}:
                event = json.loads(base64.b64decode(data))
                assert key == event["order_id"]
                yield "", event
            case _:
                assert record["eventSource"] == "aws:dynamodb"
                yield "", json.loads(record["dynamodb"]["NewImage"]["event"]["S"])


def of(*functions: str) -> list[str]:
    """Return the samples of functions, given by folder."""
    return [name for name in SAMPLES if name.rpartition("/")[0] in functions]


def requests() -> list[str]:
    """Return the samples of API requests."""
    return of(*REQUESTS)


def folder(stack: Stack, function: str) -> str:
    return stack.of("Lambda::Function")[function]["Handler"].removesuffix(".handler").replace(".handlers.", "/")


def test_every_function_has_a_sample_and_every_folder_a_function(stack: Stack) -> None:
    folders = {name.rpartition("/")[0] for name in SAMPLES}
    needed = {folder(stack, name) for name in stack.of("Lambda::Function")}
    require_same(folders, needed, "events/, as a folder with a sample event", "`make invoke` runs each function with its samples")


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_has_an_answer(name: str) -> None:
    assert answer(name)


def test_every_answer_belongs_to_a_sample() -> None:
    answers = {str(path.relative_to(EVENTS)).removesuffix(".answer.json") for path in EVENTS.glob("*/*/*.answer.json")}
    require_same(answers, SAMPLES, "events/, as a file ending in .answer.json", "each sample has an answer beside it")


@pytest.mark.parametrize("name", requests())
def test_request_sample_belongs_to_a_route_of_its_function(stack: Stack, name: str) -> None:
    request = sample(name)
    [api] = stack.of("ApiGateway::RestApi").values()
    route = api["Body"]["paths"][request["resource"]][request["httpMethod"].lower()]
    function = next(function for function in stack.of("Lambda::Function") if folder(stack, function) == name.rpartition("/")[0])
    assert re.search(rf"\$\{{{function}(\.Arn|{ALIAS})\}}", route["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"])
    known = request["requestContext"].get("authorizer") or {}
    assert (route["security"] == [{"NONE": []}]) or known["customer_id"]
    # API Gateway converts all values of an authorizer to strings.
    assert all(isinstance(value, str) for name, value in known.items() if name != "integrationLatency")


def test_only_webhooks_have_function_urls(stack: Stack) -> None:
    urls = stack.of("Lambda::Url").values()
    served = {folder(stack, referred(url["TargetFunctionArn"])) for url in urls}
    require_same(WEBHOOKS, served, "WEBHOOKS in this file", "samples of functions with a URL are checked as webhooks")


@pytest.mark.parametrize("name", of(*WEBHOOKS))
def test_function_url_samples_have_lambdas_format(name: str) -> None:
    request = sample(name)
    assert request["version"] == "2.0"
    assert request["rawPath"] == request["requestContext"]["http"]["path"]
    assert all(header == header.lower() for header in request["headers"])
    assert {"resource", "httpMethod", "multiValueHeaders"}.isdisjoint(request)


@pytest.mark.parametrize("name", of("orders/place_order"))
def test_accepted_order_samples_match_the_model(name: str) -> None:
    if answer(name)["statusCode"] == 201:
        msgspec.json.decode(sample(name)["body"], type=PlaceOrderRequest)


@pytest.mark.parametrize("name", requests())
def test_request_sample_is_answered_as_in_the_openapi_document(name: str) -> None:
    request, document = sample(name), json.loads((ROOT / "functions/orders/openapi.json").read_text("utf-8"))
    operation = document["paths"][request["resource"]][request["httpMethod"].lower()]
    assert str(answer(name)["statusCode"]) in operation["responses"]


# Operators invoke the redrive function as well.
@pytest.mark.parametrize("name", of(*(FOLDERS[function] for function in STEPS if function != "OperationsRedrive")))
def test_step_sample_has_the_workflows_fields(stack: Stack, name: str) -> None:
    state, states = next(step for function, step in STEPS.items() if folder(stack, function) == name.rpartition("/")[0])
    assert set(sample(name)) == {key.removesuffix(".$") for key in state["Parameters"]["Payload"]}
    expected = answer(name)
    if "errorType" not in expected:
        choice = states[state["Next"]]
        assert expected["outcome"] in known_outcomes(choice) or choice["Type"] != "Choice"


def known_outcomes(choice: dict[str, Any]) -> set[str]:
    rules = [rule for entry in choice.get("Choices", []) for rule in entry.get("Or", [entry])]
    return {rule["StringEquals"] for rule in rules}


@pytest.mark.parametrize("name", of("orders/publish"))
def test_stream_record_samples_are_appends(name: str) -> None:
    records = sample(name)["Records"]
    assert all(record["eventSource"] == "aws:dynamodb" for record in records)
    inserted = [record for record in records if record["eventName"] == "INSERT"]
    assert len(inserted) == (0 if name.endswith("overwritten") else len(records))
    readable = [record for record in inserted if is_event(record["dynamodb"]["NewImage"].get("event", {}).get("S", ""))]
    assert len(readable) == answer(name)["published"]
    for record in readable:
        image, event = record["dynamodb"]["NewImage"], events.decode(record["dynamodb"]["NewImage"]["event"]["S"])
        assert (image["order_id"]["S"], int(image["version"]["N"]), image["type"]["S"]) == (event.order_id, event.order_version, event.type)


@pytest.mark.parametrize("name", of("notifications/send_emails"))
def test_queue_samples_hold_events(stack: Stack, name: str) -> None:
    failed = {item["itemIdentifier"] for item in answer(name)["batchItemFailures"]}
    pattern = stack.of("SNS::Subscription")["MailSubscription"]["FilterPolicy"]["detail-type"]
    for record in sample(name)["Records"]:
        assert record["eventSource"] == "aws:sqs"
        if record["messageId"] not in failed:
            delivered = json.loads(record["body"])
            assert events.decode(json.dumps(delivered["detail"])).type == delivered["detail-type"]
            assert delivered["detail-type"] in pattern


@pytest.mark.parametrize("name", of(*CONSUMED))
def test_consumer_samples_hold_events_that_are_routed_to_it(name: str) -> None:
    failed = {item["itemIdentifier"] for item in answer(name)["batchItemFailures"]}
    for message_id, event in events_of(name):
        if message_id not in failed:
            assert events.decode(json.dumps(event)).type in CONSUMED[name.rpartition("/")[0]]


@pytest.mark.parametrize("name", of("identity/authorize_request"))
def test_authorizer_samples_have_api_gateways_format(name: str) -> None:
    assert set(sample(name)) == {"type", "authorizationToken", "methodArn"}
    assert sample(name)["type"] == "TOKEN"


@pytest.mark.parametrize(
    "name",
    [
        *of(
            "operations/recover_orders",
            "operations/publish_missing_events",
            "inventory/expire_reservations",
            "inventory/reconcile_stock",
            "payments/reconcile_payments",
        ),
        "analytics/aggregate/schedule",
    ],
)
def test_scheduled_sample_equals_the_schedules_input(stack: Stack, name: str) -> None:
    functions = stack.of("Lambda::Function")
    [schedule] = [
        one
        for one in stack.of("Scheduler::Schedule").values()
        if folder(stack, target := referred(one["Target"]["Arn"])) == name.rpartition("/")[0] and target in functions
    ]
    assert sample(name) == json.loads(schedule["Target"]["Input"])


def test_audit_sample_equals_the_schedules_input(stack: Stack) -> None:
    [schedule] = [s for s in stack.of("Scheduler::Schedule").values() if referred(s["Target"]["Arn"]) == "LedgerAudit"]
    assert sample("ledger/audit_ledger/scheduled") == json.loads(schedule["Target"]["Input"])


def test_samples_hold_no_real_keys_or_tokens() -> None:
    for path, text in texts():
        assert "AKIA" not in text, path
        assert "BEGIN" not in text, path


def texts() -> Iterator[tuple[str, str]]:
    for path in EVENTS.rglob("*.json"):
        yield str(path.relative_to(EVENTS)), path.read_text("utf-8")


def is_event(document: str) -> bool:
    try:
        events.decode(document)
    except (msgspec.DecodeError, events.UnknownEvent):
        return False
    return True
