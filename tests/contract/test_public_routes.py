"""Routes without a token: webhook URLs, throttles, the gateway's token format, and the firewall."""

import json
import re
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from devtools.target import ROOT
from tests.contract.stack import Stack, referred
from tests.support.guidance import require_same

# The functions that accept only signed messages, and the outputs with their URLs.
SIGNED = {"ShippingWebhook": "CarrierWebhookUrl", "PaymentsWebhook": "PaymentsWebhookUrl"}


class TestUrls:
    def test_only_webhook_functions_have_a_url(self, stack: Stack) -> None:
        urls = stack.of("Lambda::Url")
        open_to_all = {referred(url["TargetFunctionArn"]) for url in urls.values()}
        require_same(SIGNED, open_to_all, "SIGNED in this file", "a function URL is public: its function must verify a signature")
        assert all("Cors" not in url for url in urls.values())
        for function in SIGNED:
            source = (
                ROOT / "functions" / f"{stack.of('Lambda::Function')[function]['Handler'].removesuffix('.handler').replace('.', '/')}.py"
            )
            assert re.search(r"\b(verified_body|VERIFY)\(", source.read_text("utf-8")), function

    def test_each_url_is_an_output(self, stack: Stack) -> None:
        for name, url in stack.of("Lambda::Url").items():
            output = SIGNED[referred(url["TargetFunctionArn"])]
            assert stack.outputs[output]["Value"] == {"Fn::GetAtt": [name, "FunctionUrl"]}

    def test_function_url_is_public_and_the_function_is_not(self, stack: Stack) -> None:
        public = [one for one in stack.of("Lambda::Permission").values() if one["Principal"] == "*"]
        for function in SIGNED:
            granted = {one["Action"]: one for one in public if referred(one["FunctionName"]) == function}
            assert set(granted) == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}, function
            assert granted["lambda:InvokeFunctionUrl"]["FunctionUrlAuthType"] == "NONE", function
            assert granted["lambda:InvokeFunction"]["InvokedViaFunctionUrl"] is True, function
        assert len(public) == 2 * len(SIGNED)

    def test_cost_of_the_public_route_is_limited(self, stack: Stack) -> None:
        for function in SIGNED:
            reserved = stack.of("Lambda::Function")[function]["ReservedConcurrentExecutions"]
            assert reserved == {"Fn::If": ["ReserveWebhookConcurrency", {"Ref": "WebhookConcurrency"}, {"Ref": "AWS::NoValue"}]}, function

    def test_faults_of_webhooks_raise_an_alarm(self, stack: Stack) -> None:
        watched = {
            stack.named(alarm["Dimensions"][0]["Value"], "Lambda::Function")
            for alarm in stack.of("CloudWatch::Alarm").values()
            if (alarm.get("Namespace"), alarm.get("MetricName")) == ("AWS/Lambda", "Url5xxCount")
        }
        require_same(watched, SIGNED, "the alarms on Url5xxCount in devtools/monitoring/alarms.py", "a sender of webhooks stops retrying")


class TestFloods:
    """Requests without a token or signature must be cheap and must not exhaust shared capacity."""

    def test_no_api_route_invokes_a_webhook(self, stack: Stack) -> None:
        [api] = stack.of("ApiGateway::RestApi").values()
        assert not [function for function in SIGNED if f"${{{function}" in json.dumps(api["Body"])]
        invokers = {referred(one["FunctionName"]) for one in stack.of("Lambda::Permission").values() if one["Principal"] != "*"}
        assert invokers.isdisjoint(SIGNED)

    def test_every_public_route_has_its_own_throttle(self, stack: Stack) -> None:
        [api] = stack.of("ApiGateway::RestApi").values()
        public = {
            (path.replace("/", "~1"), method.upper())
            for path, methods in api["Body"]["paths"].items()
            for method, route in methods.items()
            if method != "options" and route["security"] == [{"NONE": []}]
        }
        assert public
        for stage in stack.of("ApiGateway::Stage").values():
            of_all, *others = stage["MethodSettings"]
            settings = {(one["ResourcePath"], one["HttpMethod"]): one for one in others}
            # https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-apigateway-stage-methodsetting.html
            assert set(settings) == {(f"/{path}", method) for path, method in public}
            for one in settings.values():
                assert one["ThrottlingRateLimit"] <= of_all["ThrottlingRateLimit"] / 10
                assert {name: one[name] for name in one if "Throttl" not in name and name not in ("ResourcePath", "HttpMethod")} == {
                    name: of_all[name] for name in of_all if "Throttl" not in name and name not in ("ResourcePath", "HttpMethod")
                }

    @pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
    def test_tokens_pass_the_gateway_and_other_headers_do_not(self, stack: Stack, algorithm: str) -> None:
        key: Any = rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
        claims = {"sub": "a" * 40, "email": f"{'a' * 64}@example.com", "groups": [f"group-{number}" for number in range(100)]}
        token = jwt.encode(claims, key, algorithm, headers={"kid": "k"})
        head, body, signature = token.split(".")
        assert self.passes(stack, f"Bearer {token}")
        assert self.passes(stack, f"bearer {token}")
        for other in (token, f"Basic {token}", "Bearer a.b.c", f"Bearer {head}.{body}", f"Bearer {head}.{body}.", f"Bearer x{token}"):
            assert not self.passes(stack, other)
        assert not self.passes(stack, f"Bearer {head}.{body}.{signature[:85]}")
        assert not self.passes(stack, f"Bearer {head}.{body * 99}.{signature}")
        assert not self.passes(stack, f"Bearer {jwt.encode(claims, '', 'none')}")

    def passes(self, stack: Stack, header: str) -> bool:
        [api] = stack.of("ApiGateway::RestApi").values()
        [scheme] = [one["x-amazon-apigateway-authorizer"] for one in _schemes(api["Body"])]
        return bool(re.fullmatch(scheme["identityValidationExpression"], header))

    def test_waf_exists_only_where_configured(self, translated: dict[str, Any]) -> None:
        firewall = {name for name, one in translated["Resources"].items() if one["Type"].startswith("AWS::WAFv2::")}
        assert {translated["Resources"][name]["Condition"] for name in firewall} == {"UseWaf"}
        assert not Stack(translated).holds({"Condition": "UseWaf"})
        assert not Stack(translated, WafRequestsPer5Minutes="2000", Target="emulator").holds({"Condition": "UseWaf"})
        assert Stack(translated, WafRequestsPer5Minutes="2000").holds({"Condition": "UseWaf"})

    @pytest.mark.parametrize(("value", "good"), [("0", True), ("10", True), ("2000", True), ("9", False), ("-1", False), ("", False)])
    def test_invalid_waf_rate_is_refused_by_the_template(self, translated: dict[str, Any], value: str, good: bool) -> None:
        assert bool(re.fullmatch(translated["Parameters"]["WafRequestsPer5Minutes"]["AllowedPattern"], value)) is good

    def test_firewall_limits_rates_by_ip_and_samples_no_requests(self, stack: Stack) -> None:
        [firewall] = stack.of("WAFv2::WebACL").values()
        assert firewall["DefaultAction"] == {"Allow": {}}
        for one in (firewall, *firewall["Rules"]):
            assert one["VisibilityConfig"]["SampledRequestsEnabled"] is False
        rates = [rule["Statement"]["RateBasedStatement"] for rule in firewall["Rules"]]
        assert [rule["Action"] for rule in firewall["Rules"]] == [{"Block": {}}] * len(rates)
        assert {rate["AggregateKeyType"] for rate in rates} == {"IP"}
        assert [rate["Limit"] for rate in rates if "ScopeDownStatement" not in rate] == [{"Ref": "WafRequestsPer5Minutes"}]
        [association] = stack.of("WAFv2::WebACLAssociation").values()
        [stage] = stack.of("ApiGateway::Stage")
        assert association["ResourceArn"]["Fn::Sub"].endswith(f"::/restapis/${{Api}}/stages/${{{stage}}}")


def _schemes(body: dict[str, Any]) -> list[Any]:
    return list((body.get("securityDefinitions") or body["components"]["securitySchemes"]).values())


class TestCustomers:
    def test_changed_email_is_verified_before_it_replaces_the_old(self, stack: Stack) -> None:
        [pool] = stack.of("Cognito::UserPool").values()
        assert pool["AutoVerifiedAttributes"] == ["email"]
        assert pool["UserAttributeUpdateSettings"] == {"AttributesRequireVerificationBeforeUpdate": ["email"]}

    def test_capitals_in_an_email_address_do_not_make_another_user(self, stack: Stack) -> None:
        """Telephones capitalize the first character. The default distinguishes case, and a pool that exists cannot be changed.

        Source: https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UsernameConfigurationType.html.
        """
        [pool] = stack.of("Cognito::UserPool").values()
        assert pool["UsernameConfiguration"] == {"CaseSensitive": False}

    def test_sign_in_emails_are_sent_by_ses_if_configured(self, stack: Stack) -> None:
        [pool] = stack.of("Cognito::UserPool").values()
        ses = {"EmailSendingAccount": "DEVELOPER", "SourceArn": {"Ref": "SignInEmailIdentityArn"}, "From": {"Ref": "EmailFrom"}}
        assert pool["EmailConfiguration"] == {"Fn::If": ["UseSesForSignIn", ses, {"Ref": "AWS::NoValue"}]}
