"""What Stripe needs of the template is there where Stripe is the provider, for the functions that ask a provider, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ENVIRONMENT, ROOT
from tests.contract.stack import Stack, referred

ONLY_WITH_STRIPE = {"StripePolicy", "StripePayments"}
SETTINGS = ("STRIPE_API_BASE", "STRIPE_SECRET_ARN", "STRIPE_PAYMENTS_TABLE")


def with_stripe(values: list[Any]) -> set[str]:
    """Return what a list holds only where Stripe is the provider."""
    return {referred(value["Fn::If"][1]) for value in values if value.get("Fn::If", [""])[0] == "UseStripe"}


def asking(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return the functions that ask a payment provider."""
    functions = stack.of("Lambda::Function").items()
    return {name: function for name, function in functions if "PAYMENT_PROVIDER" in function["Environment"]["Variables"]}


def test_functions_that_ask_a_provider_have_the_sdk_the_settings_and_the_permissions(stack: Stack) -> None:
    assert asking(stack)
    for name, function in asking(stack).items():
        [layer] = with_stripe(function["Layers"])
        role = stack.resources[referred(function["Role"])]["Properties"]
        assert layer.startswith("StripeLayer"), name
        assert set(SETTINGS) <= set(function["Environment"]["Variables"]), name
        assert with_stripe(role["ManagedPolicyArns"]) == {"StripePolicy"}, name


def test_no_other_function_has_the_sdk_or_the_permissions(stack: Stack) -> None:
    for name, function in stack.of("Lambda::Function").items():
        if name not in asking(stack):
            role = stack.resources[referred(function["Role"])]["Properties"]
            assert with_stripe(function["Layers"] + role["ManagedPolicyArns"]) == set(), name


def test_another_provider_leaves_nothing_of_stripe_behind(stack: Stack) -> None:
    layers = {name for name in stack.of("Lambda::LayerVersion") if name.startswith("StripeLayer")}
    for name in ONLY_WITH_STRIPE | layers:
        assert stack.resources[name]["Condition"] == "UseStripe"


def test_the_permissions_are_the_secret_and_the_table_of_intents(stack: Stack) -> None:
    [role] = {referred(function["Role"]) for name, function in asking(stack).items() if name == "PaymentsAuthorize"}
    before = stack.grants(role)
    attached = stack.resources["StripePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    grants = {(action, referred(statement["Resource"])) for statement in attached for action in statement["Action"]}

    assert grants == {
        ("secretsmanager:GetSecretValue", "StripeSecretArn"),
        ("dynamodb:GetItem", "StripePayments"),
        ("dynamodb:PutItem", "StripePayments"),
    }
    assert not before & grants


@pytest.mark.parametrize(("provider", "imported"), [("sandbox", False), ("stripe", True)])
def test_the_sdk_is_imported_by_those_alone_who_use_it(provider: str, imported: bool) -> None:
    program = "import sys, payments.authorize; sys.exit(int('stripe' in sys.modules))"
    path = os.pathsep.join([str(ROOT / "functions"), str(ROOT / "layers/powertools")])
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path, "PAYMENT_PROVIDER": provider}

    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == int(imported)
