"""Default descriptions of endpoints without an entry of their own, from the template and the handlers' docstrings."""

import ast
import re
from collections.abc import Iterator
from typing import Any

from devtools import template
from devtools.checks.openapi.parts import problem_answers, ref
from devtools.checks.openapi.problems import GENERAL
from devtools.target import ROOT


def routes(paths: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield path, method and handler module of every route of the template that `paths` does not describe."""
    for resource in template.source()["Resources"].values():
        properties = resource.get("Properties", {})
        for event in properties.get("Events", {}).values() if resource["Type"] == "AWS::Serverless::Function" else ():
            if event["Type"] == "Api":
                path, method = event["Properties"]["Path"], event["Properties"]["Method"].lower()
                if method not in paths.get(path, {}) and method != "options":
                    yield path, method, properties["Handler"].removesuffix(".handler")


def parameters(path: str) -> dict[str, Any]:
    """Return the parameters in a path, as the entry of the path has them."""
    names = re.findall(r"\{(\w+)\}", path)
    described = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    return {"parameters": described} if described else {}


def operation(module: str) -> dict[str, Any]:
    """Return the operation of a handler, summarized by the docstring of its function."""
    handler = ROOT / "functions" / f"{module.replace('.', '/')}.py"
    functions = [node for node in ast.parse(handler.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]
    text = next(ast.get_docstring(node) for node in functions if node.name == "handler") or ""
    first, *others = module.rpartition(".")[2].split("_")
    answers: dict[str, Any] = {
        "200": {
            "description": "The answer.",
            "headers": {"X-Correlation-Id": ref("headers", "CorrelationId")},
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    }
    return {
        "operationId": first + "".join(map(str.title, others)),
        "tags": [tag(module)],
        "summary": text.partition("\n")[0].removesuffix("."),
        "parameters": [ref("parameters", "CorrelationId")],
        "responses": answers | problem_answers(*GENERAL),
    }


def tag(module: str) -> str:
    """Return the tag of a handler's operation: its context."""
    return module.partition(".")[0]
