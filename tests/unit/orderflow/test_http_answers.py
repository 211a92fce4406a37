"""API responses: success, problem documents, and the caller's identity."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from orderflow.aws import http
from orderflow.aws.dynamodb import TransactionConflict
from orderflow.aws.http import ApiEvent, Caller, Problem, Response, answer, api, body_bytes, caller, header, parse_model

type Lines = Callable[[], list[dict[str, Any]]]
SOON = str(int(time.time()) + 3600)


def request(*, headers: dict[str, Any] | None = None, **authorizer: Any) -> Any:
    return {"headers": headers, "requestContext": {"requestId": "gateway-1", "authorizer": authorizer}}


def raising(error: BaseException) -> Any:
    @api
    def handler(_event: ApiEvent) -> Response:
        raise error

    return handler


@api
def fine(_event: ApiEvent) -> Response:
    return answer(201, {"ok": True}, location="/orders/1", content_language="en")


class TestApi:
    def test_answer_is_json_and_names_its_correlation_id(self, context: Any) -> None:
        response = fine(request(), context)
        assert response["statusCode"] == 201
        assert response["headers"] == {
            "content-type": "application/json",
            "cache-control": "no-store",
            "location": "/orders/1",
            "content-language": "en",
            "x-correlation-id": "gateway-1",
        }
        assert json.loads(response["body"]) == {"ok": True}

    def test_problem_is_answered_with_its_document(self, context: Any, logged: Lines) -> None:
        response = raising(Problem(422, "unknown-sku", "Unknown sku", "not in the catalogue: X", skus=["X"]))(request(), context)
        assert response["statusCode"] == 422
        assert response["headers"]["content-type"] == "application/problem+json"
        assert json.loads(response["body"]) == {
            "type": "urn:order-pipeline:problem:unknown-sku",
            "title": "Unknown sku",
            "status": 422,
            "detail": "not in the catalogue: X",
            "skus": ["X"],
        }
        assert "ERROR" not in {line["level"] for line in logged()}

    def test_refused_request_is_one_line(self, context: Any, logged: Lines) -> None:
        raising(Problem(422, "unknown-sku", "Unknown sku", "not in the catalogue: X"))(request(), context)
        [line] = logged()
        assert (line["level"], line["message"], line["outcome"]) == ("INFO", "request_refused", 422)
        assert (line["problem"], line["correlation_id"]) == ("urn:order-pipeline:problem:unknown-sku", "gateway-1")

    def test_problem_with_a_reason_is_one_warning_that_names_it(self, context: Any, logged: Lines) -> None:
        problem = Problem(401, "signature-invalid", "Signature invalid", "the header is missing")
        problem.reason = "no header"
        raising(problem)(request(), context)
        [line] = logged()
        assert (line["level"], line["reason"]) == ("WARNING", "no header")

    def test_log_keys_of_a_refused_request_are_cleared(self, context: Any, logged: Lines) -> None:
        raising(Problem(422, "unknown-sku", "Unknown sku", "not in the catalogue: X"))(request(), context)
        fine(request(), context)
        assert [(line["message"], line["outcome"]) for line in logged()] == [("request_refused", 422), ("done", 201)]

    def test_unexpected_error_is_a_500_without_details(self, context: Any, logged: Lines) -> None:
        response = raising(RuntimeError("password=hunter2"))(request(), context)
        document = json.loads(response["body"])
        assert (response["statusCode"], document["status"]) == (500, 500)
        assert "hunter2" not in response["body"]
        assert "gateway-1" in document["detail"]
        assert [line["message"] for line in logged() if line["level"] == "ERROR"] == ["request_failed"]

    def test_crash_is_not_answered(self, context: Any) -> None:
        with pytest.raises(SystemExit):
            raising(SystemExit())(request(), context)

    @pytest.mark.parametrize(
        ("offered", "taken"),
        [
            ("order-7.retry:2", "order-7.retry:2"),
            ("", "gateway-1"),
            ("x" * 65, "gateway-1"),
            ("two words", "gateway-1"),
            ("a\nb", "gateway-1"),
            ("ünïcode", "gateway-1"),
            (None, "gateway-1"),
        ],
    )
    def test_client_may_bring_its_own_correlation_id(self, context: Any, offered: str | None, taken: str) -> None:
        response = fine(request(headers={"X-CORRELATION-ID": offered}), context)
        assert response["headers"]["x-correlation-id"] == taken


def reading(document: Any) -> Any:
    @api
    def handler(_event: ApiEvent) -> Response:
        return answer(200, document)

    return handler


def got(**headers: str) -> Any:
    return {**request(headers={name.replace("_", "-"): value for name, value in headers.items()}), "httpMethod": "GET"}


class TestRevalidation:
    def test_client_that_has_the_answer_gets_304_without_a_body(self, context: Any) -> None:
        first = reading({"state": "placed"})(got(), context)
        again = reading({"state": "placed"})(got(If_None_Match=first["headers"]["etag"]), context)
        assert (again["statusCode"], again["body"]) == (304, "")
        assert again["headers"]["etag"] == first["headers"]["etag"]
        assert "content-type" not in again["headers"]

    def test_changed_answer_is_sent_whole(self, context: Any) -> None:
        first = reading({"state": "placed"})(got(), context)
        changed = reading({"state": "confirmed"})(got(If_None_Match=first["headers"]["etag"]), context)
        assert (changed["statusCode"], json.loads(changed["body"])) == (200, {"state": "confirmed"})

    def test_browsers_keep_an_answer_only_to_revalidate_it(self, context: Any) -> None:
        assert reading({})(got(), context)["headers"]["cache-control"] == "private, no-cache"

    def test_answers_to_a_post_have_no_entity_tag(self, context: Any) -> None:
        response = reading({})({**request(), "httpMethod": "POST"}, context)
        assert "etag" not in response["headers"]
        assert response["headers"]["cache-control"] == "no-store"


class TestCors:
    def test_page_of_the_allowed_origin_may_read_answers_and_their_headers(self, context: Any) -> None:
        headers = fine(request(headers={"origin": "https://shop.example.com"}), context)["headers"]
        assert headers["access-control-allow-origin"] == "*"
        assert headers["access-control-expose-headers"] == "ETag, Location, Retry-After, X-Correlation-Id"

    def test_one_origin_can_be_allowed_alone(self, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "ALLOWED_ORIGIN", "https://shop.example.com")
        headers = fine(request(headers={"Origin": "https://elsewhere.example.com"}), context)["headers"]
        assert headers["access-control-allow-origin"] == "https://shop.example.com"

    def test_problem_can_be_read_too(self, context: Any) -> None:
        response = raising(Problem(422, "unknown-sku", "Unknown sku", "x"))(request(headers={"Origin": "https://a.example"}), context)
        assert response["headers"]["access-control-allow-origin"] == "*"

    def test_other_clients_get_no_such_headers(self, context: Any) -> None:
        assert not [name for name in fine(request(), context)["headers"] if name.startswith("access-control")]


class TestOverload:
    @pytest.mark.parametrize(
        "error",
        [
            TransactionConflict(),
            ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "slow down"}}, "GetItem"),
            ClientError({"Error": {"Code": "SlowDown", "Message": "slow down"}}, "GetObject"),
            ReadTimeoutError(endpoint_url="https://dynamodb"),
            ConnectTimeoutError(endpoint_url="https://dynamodb"),
            EndpointConnectionError(endpoint_url="https://dynamodb"),
            ConnectionClosedError(endpoint_url="https://dynamodb"),
        ],
    )
    def test_overloaded_or_silent_dependency_is_a_503_with_retry_after(self, context: Any, logged: Lines, error: Exception) -> None:
        response = raising(error)(request(), context)
        assert (response["statusCode"], response["headers"]["retry-after"]) == (503, "1")
        assert json.loads(response["body"])["type"] == "urn:order-pipeline:problem:unavailable"
        assert [line["message"] for line in logged() if line["level"] == "ERROR"] == ["request_failed"]

    def test_other_errors_of_a_service_are_a_500(self, context: Any) -> None:
        error = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetItem")
        response = raising(error)(request(), context)
        assert response["statusCode"] == 500
        assert "retry-after" not in response["headers"]


class TestBodies:
    def test_bytes_that_are_not_utf_8_are_malformed(self) -> None:
        """API Gateway replaces such bytes before it invokes the function."""
        event: Any = {**request(), "body": '{"name": "\ufffd"}'}
        with pytest.raises(Problem) as wrong:
            body_bytes(event)
        assert wrong.value.document["type"] == "urn:order-pipeline:problem:malformed-json"

    def test_body_of_a_webhook_is_not_checked_for_utf_8(self) -> None:
        event: Any = {"headers": {}, "requestContext": {"requestId": "1", "http": {"method": "POST"}}, "body": '{"name": "\ufffd"}'}
        assert body_bytes(event) == '{"name": "\ufffd"}'.encode()


class TestCaller:
    def test_caller_is_the_authorizers_result(self) -> None:
        event = request(customer_id="ann", email="ann@example.com", groups="clerks,managers", expires_at=SOON)
        assert caller(event) == Caller("ann", "ann@example.com", frozenset({"clerks", "managers"}))

    def test_caller_may_have_no_groups_and_no_email(self) -> None:
        assert caller(request(customer_id="ann", expires_at=SOON)) == Caller("ann", "", frozenset())

    @pytest.mark.parametrize(
        "authorizer",
        [
            {},
            {"customer_id": "", "expires_at": SOON},
            {"customer_id": "ann"},
            {"customer_id": "ann", "expires_at": "0"},
            {"customer_id": "ann", "expires_at": str(int(time.time()) - 1)},
        ],
    )
    def test_expired_or_missing_token_is_a_401(self, authorizer: dict[str, str]) -> None:
        with pytest.raises(Problem) as refused:
            caller(request(headers=None, **authorizer))
        assert refused.value.status == 401

    def test_token_expires_at_its_second(self, monkeypatch: pytest.MonkeyPatch) -> None:
        event = request(customer_id="ann", expires_at="1000")
        monkeypatch.setattr(http.time, "time", lambda: 999.9)
        assert caller(event).customer_id == "ann"
        monkeypatch.setattr(http.time, "time", lambda: 1000.0)
        with pytest.raises(Problem):
            caller(event)

    def test_request_without_an_authorizer_is_a_401(self) -> None:
        with pytest.raises(Problem):
            caller({"requestContext": {"requestId": "gateway-1"}, "resource": "/orders", "headers": None})


def test_header_names_are_case_insensitive() -> None:
    assert header(request(headers={"iDEMPOTENCY-kEY": "k"}), "Idempotency-Key") == "k"
    assert header(request(headers=None), "Idempotency-Key") is None


class Sample(msgspec.Struct, forbid_unknown_fields=True):
    lines: list[int]


@pytest.mark.parametrize(
    ("document", "field", "detail"),
    [
        ('{"lines": [1, "x"]}', "$.lines[1]", "$.lines[1]: expected `int`, got `str`"),
        ("[]", "$", "$: expected `object`, got `array`"),
        ('{"lines": [], "price": 1}', "$.price", "$.price: there is no such field"),
        ("{}", "$.lines", "$.lines: this field is missing"),
    ],
)
def test_invalid_document_names_the_field(document: str, field: str, detail: str) -> None:
    with pytest.raises(Problem) as wrong:
        parse_model(document.encode(), Sample)
    problem = wrong.value
    assert (problem.status, problem.document["field"], problem.document["detail"]) == (422, field, detail)
