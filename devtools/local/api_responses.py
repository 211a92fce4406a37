"""Set responses of a local target's API: its CloudFormation ignores gateway responses, and the emulator's those of mock integrations."""

from typing import Any

from devtools import template
from devtools.target import Target

_HTTP_OK = "200"


def ensure(target: Target) -> None:
    """Set the template's responses on a local target's API and deploy it; AWS reads them from the template."""
    gateway, api = target.client("apigateway"), target.resources["Api"]
    body = template.translated()["Resources"]["Api"]["Properties"]["Body"]
    if target.backend == "embedded":
        _set_preflight_headers(gateway, api, body["paths"])
    for name, response in body["x-amazon-apigateway-gateway-responses"].items():
        status = {"statusCode": str(response["statusCode"])} if "statusCode" in response else {}
        # The emulator renders the template of this type only.
        [text] = response["responseTemplates"].values()
        gateway.put_gateway_response(
            restApiId=api, responseType=name, responseParameters=_headers(response), responseTemplates={"application/json": text}, **status
        )
    gateway.create_deployment(restApiId=api, stageName="local")


def _set_preflight_headers(gateway: Any, api: str, paths: dict[str, Any]) -> None:
    ids = {one["path"]: one["id"] for page in gateway.get_paginator("get_resources").paginate(restApiId=api) for one in page["items"]}
    for path, methods in paths.items():
        [response] = methods["options"]["x-amazon-apigateway-integration"]["responses"].values()
        method = {"restApiId": api, "resourceId": ids[path], "httpMethod": "OPTIONS", "statusCode": _HTTP_OK}
        gateway.put_integration_response(**method, selectionPattern="", responseParameters=_headers(response))


def _headers(response: dict[str, Any]) -> dict[str, str]:
    """Return the response's headers, with the default of the parameter AllowedOrigin."""
    any_origin = template.source()["Parameters"]["AllowedOrigin"]["Default"]
    # The origin is the only header that refers to a parameter.
    headers: dict[str, Any] = response["responseParameters"]
    return {name: value if isinstance(value, str) else f"'{any_origin}'" for name, value in headers.items()}
