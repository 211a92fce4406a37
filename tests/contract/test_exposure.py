"""Public routes, and customers' data in logs, workflows and streams."""

import re
from collections.abc import Iterator
from typing import Any

from tests.contract.stack import Stack, referred

# The OpenAPI document and the catalogue need no token. Webhooks have URLs of their own and signed messages.
PUBLIC = {("/openapi.json", "get"), ("/products", "get"), ("/products/{sku}", "get")}
# The fields of an event in a workflow's input.
IDS = {"$.id", "$.detail.order_id", "$.detail.correlation_id", "$.detail.event_id"}


def api(stack: Stack) -> dict[str, Any]:
    """Return the definition of the API."""
    [found] = stack.of("ApiGateway::RestApi").values()
    return found["Body"]


def authorizers(stack: Stack) -> dict[str, Any]:
    """Return the authorizers by name, from a Swagger or an OpenAPI definition."""
    body = api(stack)
    return body.get("securityDefinitions") or body["components"]["securitySchemes"]


class TestApi:
    def test_every_route_but_the_public_ones_needs_a_token(self, stack: Stack) -> None:
        routes = {
            (path, method): route
            for path, methods in api(stack)["paths"].items()
            for method, route in methods.items()
            if method != "options"
        }
        open_routes = {key for key, route in routes.items() if route["security"] != [{"Jwt": []}]}
        assert open_routes == PUBLIC

    def test_preflight_of_every_route_is_answered_without_a_token(self, stack: Stack) -> None:
        """API Gateway answers it; as text, because it fails with `*/*` as a binary type (aws/serverless-application-model#1344)."""
        assert "x-amazon-apigateway-binary-media-types" not in api(stack)
        for path, methods in api(stack)["paths"].items():
            [answered] = methods["options"]["x-amazon-apigateway-integration"]["responses"].values()
            headers = answered["responseParameters"]
            assert "security" not in methods["options"], path
            assert headers["method.response.header.Access-Control-Allow-Origin"] == {"Fn::Sub": "'${AllowedOrigin}'"}, path
            allowed = set(headers["method.response.header.Access-Control-Allow-Methods"].strip("'").split(","))
            assert {method.upper() for method in methods} <= allowed, path

    def test_errors_of_the_gateway_can_be_read_by_an_allowed_page(self, stack: Stack) -> None:
        for name, response in api(stack)["x-amazon-apigateway-gateway-responses"].items():
            headers = response["responseParameters"]
            assert headers["gatewayresponse.header.Access-Control-Allow-Origin"] == {"Fn::Sub": "'${AllowedOrigin}'"}, name
            assert headers["gatewayresponse.header.X-Correlation-Id"] == "method.request.header.X-Correlation-Id", name
            retriable = name in {"THROTTLED", "WAF_FILTERED", "DEFAULT_5XX"}
            assert ("gatewayresponse.header.Retry-After" in headers) == retriable, name

    def test_authorizer_answers_are_cached_for_five_minutes_at_most(self, stack: Stack) -> None:
        assert set(authorizers(stack)) == {"Jwt"}
        scheme = authorizers(stack)["Jwt"]
        authorizer = scheme["x-amazon-apigateway-authorizer"]
        assert (scheme["in"], scheme["name"], authorizer["type"]) == ("header", "Authorization", "token")
        assert 0 < authorizer["authorizerResultTtlInSeconds"] <= 300
        assert referred(authorizer["authorizerUri"]["Fn::Sub"][1]["__FunctionArn__"]) == "IdentityAuthorize"
        assert authorizer["identityValidationExpression"].startswith("^[Bb]earer ")
        assert authorizer["identityValidationExpression"].endswith("$")

    def test_tls_before_1_2_is_refused(self, stack: Stack) -> None:
        """The default policy of a Regional API accepts TLS 1.0. An existing API cannot change to the policy TLS_1_2.

        Sources: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-security-policies.html and
        https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-security-policies-list.html. Lambda requires TLS 1.2 of
        the function URLs: https://docs.aws.amazon.com/lambda/latest/dg/security-infrastructure.html.
        """
        [found] = stack.of("ApiGateway::RestApi").values()
        assert found["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
        assert re.fullmatch(r"SecurityPolicy_TLS13_1_[23]_\w+", found["SecurityPolicy"])
        assert found["EndpointAccessMode"] in {"BASIC", "STRICT"}

    def test_no_body_or_header_is_logged(self, stack: Stack) -> None:
        for stage in stack.of("ApiGateway::Stage").values():
            for settings in stage["MethodSettings"]:
                assert settings["DataTraceEnabled"] is False
                assert settings["LoggingLevel"] in {"ERROR", "OFF"}

    def test_calls_are_throttled(self, stack: Stack) -> None:
        for stage in stack.of("ApiGateway::Stage").values():
            [of_all] = [one for one in stage["MethodSettings"] if (one["ResourcePath"], one["HttpMethod"]) == ("/*", "*")]
            assert 0 < of_all["ThrottlingRateLimit"] <= 500
            assert 0 < of_all["ThrottlingBurstLimit"] <= 1000


class TestWorkflows:
    def test_rules_pass_only_ids_to_workflows(self, stack: Stack) -> None:
        """An execution stores its input, so it must hold no personal data."""
        for rule in stack.of("Events::Rule").values():
            # CloudWatch's events name an alarm and a metric, but no customer.
            of_orders = rule["EventPattern"].get("source") != ["aws.cloudwatch"]
            for target in rule["Targets"] if of_orders else []:
                if stack.kind(referred(target["Arn"])) == "StepFunctions::StateMachine":
                    assert set(target["InputTransformer"]["InputPathsMap"].values()) <= IDS
                    assert not {"Input", "InputPath"} & set(target)


class TestEvents:
    def test_no_role_may_delete_durable_data(self, stack: Stack) -> None:
        """Events, journal entries and invoices are append-only."""
        for table in ("OrderLog", "LedgerEntries", "Invoices", "Catalogue"):
            assert _may(stack, table) & {"dynamodb:DeleteItem", "dynamodb:BatchWriteItem", "dynamodb:PartiQLDelete"} == set(), table

    def test_queues_and_topics_are_encrypted(self, stack: Stack) -> None:
        for name, stream in stack.of("Kinesis::Stream").items():
            assert stream["StreamEncryption"] == {"EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}, name


def _may(stack: Stack, table: str) -> set[str]:
    return {action for role in stack.of("IAM::Role") for action, name in stack.grants(role) if name == table}


FLOWS = {"ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_ADMIN_USER_PASSWORD_AUTH"}


class TestUsers:
    def test_clients_never_send_passwords_and_accounts_are_not_revealed(self, stack: Stack) -> None:
        """ALLOW_ADMIN_USER_PASSWORD_AUTH is for AdminInitiateAuth, which needs IAM permission."""
        for client in stack.of("Cognito::UserPoolClient").values():
            assert set(client["ExplicitAuthFlows"]) == FLOWS
            assert client["PreventUserExistenceErrors"] == "ENABLED"

    def test_passwords_are_long(self, stack: Stack) -> None:
        for pool in stack.of("Cognito::UserPool").values():
            assert pool["Policies"]["PasswordPolicy"]["MinimumLength"] >= 12


class TestSecrets:
    def test_secrets_are_generated_and_in_no_environment(self, stack: Stack) -> None:
        for name, secret in stack.of("SecretsManager::Secret").items():
            assert "SecretString" not in secret, name
        for name, function in stack.of("Lambda::Function").items():
            assert not [value for value in _texts(function["Environment"]) if "resolve:" in value], name


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
