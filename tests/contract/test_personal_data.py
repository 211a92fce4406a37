"""Personal data stands only where it is needed: not in the access log, and only in events that lead to a mail."""

from __future__ import annotations

import re

from tests.contract.stack import Stack

# `path` has what the client wrote, `authorizer` and `identity` say who it is.
LOGGED = re.compile(r"\$context\.(requestId|httpMethod|resourcePath|status|responseLatency|error\.\w+|integration\.\w+|authorizer\.error)")


def test_the_access_log_names_no_customer_and_no_client_text(stack: Stack) -> None:
    stages = stack.of("ApiGateway::Stage")
    assert stages
    for name, stage in stages.items():
        used = re.findall(r"\$context[\w.]*", stage["AccessLogSetting"]["Format"])
        assert [variable for variable in used if not LOGGED.fullmatch(variable)] == [], name
        assert "$context.requestId" in used, name
