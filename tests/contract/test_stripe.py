"""Stripe's resources and permissions exist only with Stripe as provider, for the functions that use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ENVIRONMENT, ROOT
from tests.contract.stack import Stack, listed, referred

ONLY_WITH_STRIPE = {"StripePolicy", "StripePayments", "PaymentRoutes"}
CHOOSES = "PaymentsAuthorize"
WEBHOOK = "PaymentsWebhook"
SETTINGS = ("STRIPE_SECRET_ARN", "STRIPE_PAYMENTS_TABLE", "PAYMENT_ROUTES_TABLE")


def with_stripe(values: list[Any]) -> set[str]:
    """Return the elements of a list that exist only with Stripe."""
    chosen = (value["Fn::If"] for value in values if isinstance(value, dict) and "Fn::If" in value)
    return {referred(yes) for condition, yes, _ in chosen if condition == "UseStripe"}


def provider_users(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return the functions that call a payment provider."""
    functions = stack.of("Lambda::Function").items()
    named = {name: function for name, function in functions if "PAYMENT_PROVIDER" in function["Environment"]["Variables"]}
    return {name: function for name, function in named.items() if name != WEBHOOK}


def attached(stack: Stack, policy: str) -> set[tuple[str, str]]:
    """Return the grants of a policy: pairs of action and the resource's logical id."""
    statements = stack.resources[policy]["Properties"]["PolicyDocument"]["Statement"]
    granted = [(action, resource) for one in statements for action in one["Action"] for resource in listed(one["Resource"])]
    return {(action, referred(resource)) for action, resource in granted}


def test_functions_using_stripe_have_sdk_settings_and_permissions(stack: Stack) -> None:
    assert provider_users(stack)
    for name, function in provider_users(stack).items():
        [layer] = with_stripe(function["Layers"])
        role = stack.resources[referred(function["Role"])]["Properties"]
        assert layer.startswith("StripeLayer"), name
        assert set(SETTINGS) <= set(function["Environment"]["Variables"]), name
        assert with_stripe(role["ManagedPolicyArns"]) == {"StripePolicy"} | ({"ReadFlagsPolicy"} if name == CHOOSES else set()), name


def test_functions_choosing_a_provider_may_read_the_flags(stack: Stack) -> None:
    flag_readers = {name for name, function in provider_users(stack).items() if "FLAGS" in function["Environment"]["Variables"]}
    condition, flags, empty = stack.of("Lambda::Function")[CHOOSES]["Environment"]["Variables"]["FLAGS"]["Fn::If"]

    assert flag_readers == {CHOOSES}
    assert (condition, empty) == ("UseStripe", "")
    assert flags == stack.of("Lambda::Function")["FraudScreen"]["Environment"]["Variables"]["FLAGS"]


def test_other_functions_have_neither_stripe_sdk_nor_permissions(stack: Stack) -> None:
    for name, function in stack.of("Lambda::Function").items():
        if name not in {*provider_users(stack), WEBHOOK}:
            role = stack.resources[referred(function["Role"])]["Properties"]
            assert with_stripe(function["Layers"] + role["ManagedPolicyArns"]) == set(), name


@pytest.mark.parametrize("arn", ["", "arn:aws:secretsmanager:us-east-1:1:secret:stripe"], ids=["sandbox", "Stripe"])
def test_webhook_function_has_the_sdk_and_never_the_api_key(translated: dict[str, Any], arn: str) -> None:
    stack = Stack(translated, StripeSecretArn=arn)
    webhook = stack.of("Lambda::Function")[WEBHOOK]
    [layer] = with_stripe(webhook["Layers"])
    secrets = {resource for action, resource in stack.grants(referred(webhook["Role"])) if action.startswith("secretsmanager:")}

    assert layer.startswith("StripeLayer")
    assert secrets == {"PaymentsWebhookSecret"}
    assert referred(webhook["Environment"]["Variables"]["PAYMENTS_WEBHOOK_SECRET"]) == "PaymentsWebhookSecret"
    assert "StripeSecretArn" not in json.dumps([webhook, stack.resources[referred(webhook["Role"])]])


def test_only_functions_with_a_provider_may_read_the_api_key(translated: dict[str, Any]) -> None:
    stack = Stack(translated, StripeSecretArn="arn:aws:secretsmanager:us-east-1:1:secret:stripe")
    roles = {name: referred(function["Role"]) for name, function in stack.of("Lambda::Function").items()}
    having = {name for name, role in roles.items() if ("secretsmanager:GetSecretValue", "StripeSecretArn") in stack.grants(role)}

    assert having == set(provider_users(stack))


def test_other_provider_creates_no_stripe_resources(stack: Stack) -> None:
    layers = {name for name in stack.of("Lambda::LayerVersion") if name.startswith("StripeLayer")}
    for name in ONLY_WITH_STRIPE | layers:
        assert stack.resources[name]["Condition"] == "UseStripe"


def test_stripe_permissions_are_its_secret_and_two_tables(stack: Stack) -> None:
    [role] = {referred(function["Role"]) for name, function in provider_users(stack).items() if name == "PaymentsAuthorize"}
    before = stack.grants(role)
    grants = attached(stack, "StripePolicy")

    assert grants == {
        ("secretsmanager:GetSecretValue", "StripeSecretArn"),
        ("dynamodb:GetItem", "StripePayments"),
        ("dynamodb:PutItem", "StripePayments"),
        ("dynamodb:GetItem", "PaymentRoutes"),
        ("dynamodb:PutItem", "PaymentRoutes"),
    }
    assert not before & grants


@pytest.mark.parametrize("module", ["payments.handlers.authorize_payment", "payments.handlers.receive_webhook"])
@pytest.mark.parametrize(("provider", "imported"), [("sandbox", False), ("stripe", True)])
def test_stripe_sdk_is_imported_by_its_users_only(module: str, provider: str, imported: bool) -> None:
    program = f"import sys, {module}; sys.exit(int('stripe' in sys.modules))"
    path = os.pathsep.join([str(ROOT / "functions"), str(ROOT / "layers/powertools")])
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path, "PAYMENT_PROVIDER": provider}

    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == int(imported)
