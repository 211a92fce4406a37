"""The OpenAPI document, compared with the template's routes, the models, and the problems that the code raises."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from devtools.checks.openapi import command
from devtools.checks.openapi.components import PROBLEMS
from devtools.target import ROOT
from loyalty.api_models import PointsAnswer
from orderflow.aws.http import PROBLEM_BASE
from orders.api_models import (
    CancelOrderRequest,
    CreateReturnRequest,
    OrderAnswer,
    OrderList,
    PlaceOrderRequest,
    ProductAnswer,
    ProductList,
    ReturnAnswer,
    Timeline,
)
from reviews.api_models import DecisionRequest, OpenReviews
from reviews.domain.decisions import Decision
from tests.contract.stack import Stack
from tests.support.guidance import require_same

ORDERS = (PlaceOrderRequest, CancelOrderRequest, CreateReturnRequest, OrderAnswer, OrderList, ReturnAnswer, Timeline)
PRODUCTS = (ProductAnswer, ProductList)
MODELS = {model.__name__: model for model in (*ORDERS, *PRODUCTS, DecisionRequest, OpenReviews, Decision, PointsAnswer)}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(command.DOCUMENT.read_text("utf-8"))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method not in {"parameters", "options"}:
                yield path, method, operation


def raised() -> set[tuple[int, str, str]]:
    """Return status, code and title of every problem that the functions raise."""
    files = [*(ROOT / "functions").rglob("*.py"), *(ROOT / "layers/powertools/orderflow").rglob("*.py")]
    calls = [
        node
        for path in files
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem"
    ]
    return {tuple(ast.literal_eval(argument) for argument in call.args[:3]) for call in calls}  # pyright: ignore[reportReturnType]


def gateway_problems(stack: Stack) -> set[tuple[int, str, str]]:
    """Return status, code and title of every problem that API Gateway itself answers."""
    [api] = stack.of("ApiGateway::RestApi").values()
    texts = [
        template
        for response in api["Body"]["x-amazon-apigateway-gateway-responses"].values()
        for template in response["responseTemplates"].values()
    ]
    documents = [json.loads(text.replace("$context.error.messageString", '"…"')) for text in texts]
    named = [problem for problem in documents if "status" in problem]
    return {(problem["status"], problem["type"].removeprefix(PROBLEM_BASE), problem["title"]) for problem in named}


def test_openapi_document_is_valid(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_committed_openapi_document_is_current() -> None:
    assert command.DOCUMENT.read_text("utf-8") == command.rendered()


def test_openapi_has_the_templates_routes_and_their_security(stack: Stack, document: dict[str, Any]) -> None:
    [api] = stack.of("ApiGateway::RestApi").values()
    deployed = {(path, method): route["security"] != [{"NONE": []}] for path, method, route in operations(api["Body"])}
    described = {(path, method): operation.get("security") != [] for path, method, operation in operations(document)}
    assert described == deployed


def test_openapi_lists_exactly_the_problems_of_code_and_gateway(stack: Stack) -> None:
    listed = {(problem.status, problem.code, problem.title) for problem in PROBLEMS}
    needed = {f"{code} ({status}, {title})" for status, code, title in raised() | gateway_problems(stack)}
    described = {f"{code} ({status}, {title})" for status, code, title in listed}
    require_same(
        described, needed, "PROBLEMS in devtools/checks/openapi/components.py", "it lists the problems that code and gateway raise"
    )


def test_problems_document_lists_the_same_problems() -> None:
    rows = [line.split("|")[1] for line in (ROOT / "docs/problems.md").read_text("utf-8").splitlines() if line.startswith("| `")]
    listed = {code for row in rows for code in re.findall("`([a-z-]+)`", row)}
    require_same(
        listed, {problem.code for problem in PROBLEMS}, "the table of docs/problems.md", "it has a row for each problem of the API"
    )


def test_every_example_is_decoded_by_its_model(document: dict[str, Any]) -> None:
    seen: set[str] = set()
    for content in contents(document):
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        if name in MODELS:
            seen.add(name)
            for example in content["examples"].values():
                msgspec.convert(example["value"], MODELS[name], strict=False)
    require_same(seen, MODELS, "the operations in devtools/checks/openapi/, with an example", "each model of the API has one")


def contents(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from contents(item)
    elif isinstance(value, dict):
        yield from value.get("content", {}).values()
        for item in value.values():
            yield from contents(item)
