"""AWS's documented requirements for stages, deployments, deletion and settings, checked on the translated template."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest

from devtools import environments, stack_names, template
from devtools.local import deploy, issuer
from devtools.target import CONTAINER_HOSTS, ROOT, Target
from orderflow.aws import settings
from tests.contract.stack import Stack, listed, referred
from tests.contract.test_template import watched

PARAMETERS = template.source()["Parameters"]
RULES = template.source()["Rules"]


def holds(expression: Any, given: dict[str, str]) -> bool:
    """Evaluate a condition or a rule's assertion with these parameters and defaults for the others."""
    values = {name: str(spec.get("Default", "")) for name, spec in PARAMETERS.items()} | given

    def value(operand: Any) -> Any:
        return values[operand["Ref"]] if isinstance(operand, dict) else str(operand)

    [(operator, operands)] = expression.items()
    match operator:
        case "Condition":
            return holds(template.source()["Conditions"][operands], given)
        case "Fn::Equals":
            return value(operands[0]) == value(operands[1])
        case "Fn::Not":
            return not holds(operands[0], given)
        case "Fn::And":
            return all(holds(one, given) for one in operands)
        case "Fn::Or":
            return any(holds(one, given) for one in operands)
        case _:
            raise AssertionError(operator)


def refusals(**given: str) -> list[str]:
    """Return CloudFormation's messages for the rules that refuse these parameters."""
    return [
        assertion["AssertDescription"]
        for rule in RULES.values()
        if holds(rule["RuleCondition"], given)
        for assertion in rule["Assertions"]
        if not holds(assertion["Assert"], given)
    ]


class TestApi:
    def test_there_is_one_stage_with_throttle_log_and_tracing(self, stack: Stack) -> None:
        [stage] = stack.of("ApiGateway::Stage").values()
        assert stage["StageName"] == {"Ref": "Stage"}
        assert stage["TracingEnabled"] is True
        assert referred(stage["AccessLogSetting"]["DestinationArn"]) == "ApiLogs"
        assert ("/*", "*") in [(method["ResourcePath"], method["HttpMethod"]) for method in stage["MethodSettings"]]
        for method in stage["MethodSettings"]:
            assert method["ThrottlingRateLimit"] > 0
            assert method["ThrottlingBurstLimit"] > 0

    def test_deployment_creates_no_extra_stage(self, stack: Stack) -> None:
        [deployment] = stack.of("ApiGateway::Deployment").values()
        assert "StageName" not in deployment
        assert "StageDescription" not in deployment

    def test_api_definition_has_authorizer_and_gateway_responses(self, stack: Stack) -> None:
        body = stack.of("ApiGateway::RestApi")["Api"]["Body"]
        written = template.source()["Resources"]["Api"]["Properties"]
        assert body["openapi"].startswith("3.")
        assert "swagger" not in body
        assert set(body["components"]["securitySchemes"]) == {"Jwt"}
        assert set(body["x-amazon-apigateway-gateway-responses"]) == set(written["GatewayResponses"])

    def test_page_can_read_the_headers_of_every_gateway_error(self, stack: Stack) -> None:
        """Browsers hide the others, unless Access-Control-Expose-Headers names them."""
        [api] = stack.of("ApiGateway::RestApi").values()
        for name, response in api["Body"]["x-amazon-apigateway-gateway-responses"].items():
            headers = {key.removeprefix("gatewayresponse.header."): value for key, value in response["responseParameters"].items()}
            exposed = set(headers["Access-Control-Expose-Headers"].strip("'").split(", "))
            assert exposed == headers.keys() & {"X-Correlation-Id", "Retry-After"}, name
            assert "X-Correlation-Id" in exposed, name

    def test_stage_is_created_after_the_accounts_logging_role(self, stack: Stack) -> None:
        """API Gateway refuses a stage with an access log if the account has no logging role."""
        assert "ApiLogsAccount" in listed(stack.resources["Api"]["DependsOn"])
        [stage] = stack.of("ApiGateway::Stage").values()
        assert referred(stage["RestApiId"]) == "Api"

    def test_changed_origin_is_deployed_to_the_stage(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A stage serves the API as of its deployment, whose name SAM derives from the definition before it knows parameters.

        Source: https://github.com/aws/serverless-application-model/issues/914.
        """
        before = _deployments(template.translated())
        monkeypatch.setattr("samtranslator.model.apigateway.time.time", lambda: 2_000_000_000)
        assert before != _deployments(template.translated({"AllowedOrigin": "https://shop.example.com"}))

    @pytest.mark.parametrize("given", ["-", "403", "FORBIDDEN"])
    def test_access_log_line_is_json(self, stack: Stack, given: str) -> None:
        """API Gateway writes a hyphen for a variable without value, also for numbers."""
        [stage] = stack.of("ApiGateway::Stage").values()
        line = re.sub(r"\$context\.[\w.]+", given, stage["AccessLogSetting"]["Format"])
        assert "$" not in line
        assert set(json.loads(line).values()) == {given}

    def test_access_log_holds_no_text_that_could_break_its_line(self, stack: Stack) -> None:
        """API Gateway does not escape values, so texts of clients and error messages are excluded."""
        [stage] = stack.of("ApiGateway::Stage").values()
        named = re.findall(r"\$context\.([\w.]+)", stage["AccessLogSetting"]["Format"])
        assert set(named) <= {
            "requestId",
            "integration.requestId",
            "httpMethod",
            "resourcePath",
            "status",
            "responseLatency",
            "error.responseType",
        }


def _deployments(translated: dict[str, Any]) -> list[str]:
    return [name for name, one in translated["Resources"].items() if one["Type"] == "AWS::ApiGateway::Deployment"]


class TestFlags:
    def test_stack_deploys_no_flags(self, stack: Stack) -> None:
        """A new stack's alarms have no data, which would roll back the deployment and the stack."""
        assert stack.of("AppConfig::Deployment", "AppConfig::HostedConfigurationVersion") == {}

    def test_alarms_without_data_roll_back_no_change(self, stack: Stack) -> None:
        [environment] = stack.of("AppConfig::Environment").values()
        for monitor in stack.chosen(environment["Monitors"]):
            alarm = stack.of("CloudWatch::Alarm")[referred(monitor["AlarmArn"])]
            assert alarm["TreatMissingData"] == "notBreaching"


class TestEnvironments:
    def test_every_environment_is_built_the_same_way(self) -> None:
        environments = tomllib.loads((ROOT / "samconfig.toml").read_text("utf-8"))
        builds = [one["build"]["parameters"] for one in environments.values() if isinstance(one, dict)]
        assert all(build["build_in_source"] and build["cached"] and build["parallel"] for build in builds)


class TestConcurrency:
    def test_defaults_reserve_no_concurrency(self) -> None:
        """Lambda requires 100 unreserved executions, and a new account has 10 in total."""
        assert PARAMETERS["WebhookConcurrency"]["Default"] == 0

    def test_production_reserves_concurrency_for_webhooks(self) -> None:
        text = (ROOT / "samconfig.toml").read_text("utf-8")
        [production] = re.findall(r"^\[prod\.deploy\.parameters\]\n(?:.+\n)*", text, re.MULTILINE)
        assert re.search(r'"WebhookConcurrency=[1-9]\d*"', production)


# The account's setting refers to this role even after the stack's deletion, and all APIs of the account log with it.
ALWAYS_RETAINED = {"ApiLogsAccount", "ApiLogsRole"}


class TestDeletion:
    def test_failed_first_deployment_deletes_empty_resources(self, stack: Stack) -> None:
        policies = {name: one["DeletionPolicy"] for name, one in stack.resources.items() if "DeletionPolicy" in one}
        assert {name for name, policy in policies.items() if policy == "Retain"} == ALWAYS_RETAINED

    def test_resources_deleted_with_the_stack_are_unprotected(self, stack: Stack) -> None:
        deleted = [one for one in stack.resources.values() if one.get("DeletionPolicy", "Delete") == "Delete"]
        protected = [one for one in deleted if {"DeletionProtectionEnabled", "DeletionProtection"} & set(one.get("Properties", {}))]
        assert deleted
        assert protected == []

    @pytest.mark.parametrize("name", ["Flags", "FlagsProfile"])
    def test_flags_that_were_set_do_not_stop_the_deletion(self, stack: Stack, name: str) -> None:
        """AppConfig deletes no profile that has versions, and the stack deletes none: `make flags` and the remediation created them.

        Source: https://github.com/aws/aws-cdk/issues/26804.
        """
        assert (stack.resources[name]["DeletionPolicy"], stack.resources[name]["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")

    def test_workgroup_is_deleted_with_its_history(self, stack: Stack) -> None:
        assert all(group["RecursiveDeleteOption"] is True for group in stack.of("Athena::WorkGroup").values())

    @pytest.mark.parametrize(
        ("stage", "wanted", "protected"),
        [
            *[(stage, "auto", False) for stage in ("dev", "local")],
            *[(stage, "auto", True) for stage in ("staging", "prod", "production", "live", "qa")],
            ("dev", "enabled", True),
            ("prod", "disabled", False),
        ],
    )
    def test_every_stage_but_dev_and_local_is_protected(self, stage: str, wanted: str, protected: bool) -> None:
        given = {"Stage": stage, "DeletionProtection": wanted}
        assert PARAMETERS["DeletionProtection"]["Default"] == "auto"
        assert holds({"Condition": "IsProtected"}, given) is protected

    def test_archive_of_a_protected_stack_is_locked_for_a_year(self, stack: Stack) -> None:
        retention = stack.of("S3::Bucket")["AuditArchive"]["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
        assert retention == {"Mode": "GOVERNANCE", "Days": {"Fn::If": ["IsProtected", 365, 1]}}


class TestNamespace:
    def test_metrics_are_separated_by_stack(self, stack: Stack) -> None:
        own = {"Fn::Sub": "OrderPipeline/${AWS::StackName}"}
        functions = stack.of("Lambda::Function").values()
        used = [one["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"] for one in functions]
        alarmed = [metric["Namespace"] for alarm in stack.of("CloudWatch::Alarm").values() for metric in watched(alarm)]
        used += [namespace for namespace in alarmed if not str(namespace).startswith("AWS/")]
        used += [one["MetricNamespace"] for found in stack.of("Logs::MetricFilter").values() for one in found["MetricTransformations"]]
        assert all(namespace == own for namespace in used)


class TestParameters:
    def test_production_needs_a_payment_provider(self) -> None:
        stripe = {"StripeSecretArn": "arn:aws:secretsmanager:us-east-1:1:secret:stripe"}
        [refusal] = refusals(Stage="prod")
        assert "another Stage" in refusal
        assert refusals(Stage="prod", **stripe) == []
        assert refusals(Stage="staging") == []
        assert refusals() == []

    @pytest.mark.parametrize("name", ["JwtIssuer", "JwksUrl"])
    @pytest.mark.parametrize(
        "address",
        [
            "http://issuer.example.com",
            "http://127.0.0.1.example.com/keys",
            "http://localhost@example.com",
            "http://localhost:1@example.com",
            "http://10.0.0.1/",
            "http:issuer.example.com",
            "ftp://127.0.0.1/",
            "issuer.example.com",
            "https://",
        ],
    )
    def test_unencrypted_remote_address_is_refused(self, name: str, address: str) -> None:
        assert not re.fullmatch(PARAMETERS[name]["AllowedPattern"], address)

    @pytest.mark.parametrize("name", ["JwtIssuer", "JwksUrl"])
    def test_https_and_loopback_addresses_are_accepted(self, name: str) -> None:
        pattern = PARAMETERS[name]["AllowedPattern"]
        local = [f"http://{host}:4566/keys/jwks.json" for host in ("127.0.0.1", "127.0.0.2", "localhost", "[::1]", *CONTAINER_HOSTS)]
        for address in ("https://issuer.example.com", "https://issuer.example.com/a/b?c=d", *local):
            assert re.fullmatch(pattern, address), address

    def test_local_issuer_is_accepted(self) -> None:
        target = Target("embedded", "http://127.0.0.1:4566", managed=True)
        chosen = {"JwtIssuer": issuer.issuer(target), "JwksUrl": issuer.jwks_url(target)}
        assert all(re.fullmatch(PARAMETERS[name]["AllowedPattern"], value) for name, value in chosen.items())
        assert set(chosen) <= set(deploy.parameters(target))

    def test_functions_and_template_accept_the_same_addresses(self) -> None:
        assert PARAMETERS["JwtIssuer"]["AllowedPattern"] == PARAMETERS["JwksUrl"]["AllowedPattern"] == f"({settings.ADDRESS})?"

    @pytest.mark.parametrize("sender", ["Shop <orders@example.com>", "<orders@example.com>", "orders", "example.com", ""])
    def test_sender_other_than_a_plain_address_is_refused(self, sender: str) -> None:
        """The condition ses:FromAddress is compared without display name, so every email would be denied.

        Source: https://docs.aws.amazon.com/ses/latest/dg/sending-authorization-policy-examples.html.
        """
        pattern = PARAMETERS["EmailFrom"]["AllowedPattern"]
        assert not re.fullmatch(pattern, sender)
        assert re.fullmatch(pattern, PARAMETERS["EmailFrom"]["Default"])

    def test_empty_issuer_selects_the_user_pool(self) -> None:
        assert re.fullmatch(PARAMETERS["JwtIssuer"]["AllowedPattern"], "")
        assert re.fullmatch(PARAMETERS["JwksUrl"]["AllowedPattern"], "")


def test_name_of_every_stack_fits_the_names_of_its_resources(stack: Stack) -> None:
    """A longer one is noticed by the service only, in the middle of the first deployment."""
    assert max(map(len, environments.stacks().values())) <= stack_names.longest()
    assert stack_names.longest() == stack_names.longest(stack.resources)


class TestTracing:
    @pytest.mark.parametrize("machine", ["Fulfilment", "Review"])
    def test_workflows_may_send_traces_and_read_sampling_rules(self, stack: Stack, machine: str) -> None:
        actions = ("PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules", "GetSamplingTargets")
        assert {(f"xray:{action}", "*") for action in actions} <= stack.grants(f"{machine}Role")

    def test_functions_may_not_read_sampling_rules(self, stack: Stack) -> None:
        for function in stack.of("Lambda::Function").values():
            assert ("xray:GetSamplingRules", "*") not in stack.grants(referred(function["Role"]))


class TestQueries:
    def test_saved_queries_read_only_the_given_days(self, stack: Stack) -> None:
        for query in stack.of("Athena::NamedQuery").values():
            assert query["QueryString"].count("archive") == query["QueryString"].count("date BETWEEN ? AND ?") == 1, query["Name"]
