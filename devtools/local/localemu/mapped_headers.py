"""Init script of LocalEmu: gateway responses take headers from the request, where LocalEmu sends the mapping itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

MAPPING = "method.request.header."

errors: Any = import_module("localemu.services.apigateway.next_gen.execute_api.handlers.gateway_exception").GatewayExceptionHandler


def mapped(build: Callable[..., Any]) -> Callable[..., Any]:
    """Replace mappings by the request's headers; API Gateway leaves a header out that the request has not."""

    @functools.wraps(build)
    def built(exception: Any, gateway_response: Any = None, context: Any = None) -> Any:
        headers = build(exception, gateway_response, context)
        for name, value in [one for one in headers.items() if one[1].startswith(MAPPING)]:
            del headers[name]
            if sent := context.invocation_request["headers"].get(value.removeprefix(MAPPING)):
                headers[name] = sent
        return headers

    return built


errors._build_response_headers = staticmethod(mapped(errors._build_response_headers))
