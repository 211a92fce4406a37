"""The template's feature flags: their schema, deployment strategies and readers, compared with the functions."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from jsonschema import Draft4Validator

from fraud.domain import fraud_rules
from shipping.domain import parcel_watch
from tests.contract.stack import Stack, referred
from tests.support.guidance import require_same

READERS = {"FraudScreen", "ShippingTrack", "ShippingCheck"}
# They read the deployments instead; one of them deploys.
REMEDIATION = {"OperationsDecide", "OperationsRemediate"}
ALL: dict[str, Any] = {
    "hold_every_order": True,
    "hold_countries": ["FR", "GB"],
    "payment_provider": "sandbox",
    "remediation": False,
    "parcels": {"spoiled_minutes": 1, "recovered_minutes": 2, "not_moving_minutes": 3, "moved_meters": 4, "silent_minutes": 5},
    "fraud": {
        "hold_score": 40,
        "refuse_score": 200,
        "amounts": {"EUR": {"large": 5, "very_large": 9}},
        "other_amounts": {"large": 7},
        "velocity": {"orders": 3, "window_seconds": 60},
        "weights": {"amount_large": 0, "amount_very_large": 1, "velocity": 2, "country_mismatch": 3, "new_customer": 4},
    },
}
INVALID: list[dict[str, Any]] = [
    {"hold_every_order": "true"},
    {"hold_every_order": 1},
    {"hold_countries": "FR"},
    {"hold_countries": ["France"]},
    {"hold_countries": ["fr"]},
    {"fraud": []},
    {"fraud": {"hold_score": -50}},
    {"fraud": {"hold_score": 0}},
    {"fraud": {"hold_score": 1.5}},
    {"fraud": {"refuse_score": "130"}},
    {"fraud": {"threshold": 50}},
    {"fraud": {"amounts": {"euro": {}}}},
    {"fraud": {"amounts": {"EUR": {"large": -1}}}},
    {"fraud": {"other_amounts": {"huge": 1}}},
    {"fraud": {"velocity": {"orders": 0}}},
    {"fraud": {"weights": {"velocity": -1}}},
    {"fraud": {"weights": {"weather": 1}}},
]
# Invalid documents that the schema cannot detect; the functions ignore them.
BEYOND_THE_SCHEMA: list[dict[str, Any]] = [
    {"fraud": {"hold_score": 200}},
    {"fraud": {"amounts": {"EUR": {"large": 9, "very_large": 5}}}},
]


def only(stack: Stack, kind: str) -> dict[str, Any]:
    [found] = stack.of(f"AppConfig::{kind}").values()
    return found


def schema(stack: Stack, providers: str = '["sandbox", "stripe"]') -> Any:
    [validator] = only(stack, "ConfigurationProfile")["Validators"]
    text, given = validator["Content"]["Fn::Sub"]
    assert validator["Type"] == "JSON_SCHEMA"
    with_stripe = {"Fn::If": ["IsProduction", '["stripe"]', '["sandbox", "stripe"]']}
    assert given == {"Providers": {"Fn::If": ["UseStripe", with_stripe, '["sandbox"]']}}
    assert stack.conditions["IsProduction"] == {"Fn::Equals": [{"Ref": "Stage"}, "prod"]}
    return json.loads(text.replace("${Providers}", providers))


def refused(stack: Stack, document: Any, **given: str) -> bool:
    return not Draft4Validator(schema(stack, **given)).is_valid(document)


def ignored(document: Any) -> bool:
    try:
        fraud_rules.parse_flags(json.dumps(document).encode())
    except msgspec.DecodeError:
        return True
    return False


def test_schema_is_valid(stack: Stack) -> None:
    Draft4Validator.check_schema(schema(stack))


def test_every_flag_can_be_set(stack: Stack) -> None:
    assert not refused(stack, ALL)
    assert fraud_rules.parse_flags(json.dumps(ALL).encode()) == fraud_rules.FraudFlags(
        hold_every_order=True, hold_countries=frozenset({"FR", "GB"}), fraud=msgspec.convert(ALL["fraud"], fraud_rules.Thresholds)
    )


@pytest.mark.parametrize(
    "document",
    [{"parcels": limits} for limits in ([], {"silent_minutes": 0}, {"silent_minutes": 100_001}, {"moved_meters": "500"}, {"noise": 1})],
    ids=json.dumps,
)
def test_invalid_limits_of_parcels_are_refused_and_ignored(stack: Stack, document: Any) -> None:
    assert refused(stack, document)
    with pytest.raises(msgspec.ValidationError):
        parcel_watch.parse_flags(json.dumps(document).encode())


def test_schema_and_function_have_the_same_limits_of_parcels(stack: Stack) -> None:
    described, modelled = schema(stack), msgspec.json.schema(parcel_watch.Limits)["$defs"]["Limits"]["properties"]
    assert set(described["properties"]["parcels"]["properties"]) == set(modelled)
    for limit in modelled.values():
        assert described["definitions"]["limit"].items() <= limit.items()


@pytest.mark.parametrize("document", INVALID, ids=json.dumps)
def test_invalid_flags_are_refused_and_ignored(stack: Stack, document: Any) -> None:
    assert refused(stack, document)
    assert ignored(document)


@pytest.mark.parametrize("document", BEYOND_THE_SCHEMA, ids=json.dumps)
def test_flags_beyond_the_schema_are_ignored(stack: Stack, document: Any) -> None:
    assert not refused(stack, document)
    assert ignored(document)


def test_unknown_flag_is_refused(stack: Stack) -> None:
    assert refused(stack, {"hold_all": True})


def test_only_configured_providers_can_be_chosen(stack: Stack) -> None:
    assert not refused(stack, {"payment_provider": "stripe"})
    assert refused(stack, {"payment_provider": "stripe"}, providers='["sandbox"]')
    assert refused(stack, {"payment_provider": "paypal"})


def test_schema_and_functions_have_the_same_thresholds(stack: Stack) -> None:
    fraud = schema(stack)["properties"]["fraud"]["properties"]

    amounts = schema(stack)["definitions"]["amounts"]["properties"]
    for found, model in (
        (fraud, fraud_rules.Thresholds),
        (fraud["weights"]["properties"], fraud_rules.Weights),
        (fraud["velocity"]["properties"], fraud_rules.Velocity),
        (amounts, fraud_rules.AmountLimits),
    ):
        where = f"the schema of the flags in template.yaml, beside the other fields of {model.__name__}"
        require_same(found, model.__struct_fields__, where, "functions/fraud/domain/fraud_rules.py has the field")


def test_empty_flags_are_accepted(stack: Stack) -> None:
    assert not refused(stack, {})


def test_missing_threshold_has_its_default() -> None:
    assert fraud_rules.parse_flags(b"{}") == fraud_rules.FraudFlags()
    document = {"fraud": {"refuse_score": 140, "weights": {"new_customer": 2}}}
    expected = fraud_rules.Thresholds(refuse_score=140, weights=fraud_rules.Weights(new_customer=2))
    assert fraud_rules.parse_flags(json.dumps(document).encode()).fraud == expected


def test_immediate_flag_change_has_no_bake_time(stack: Stack) -> None:
    immediate = stack.resources["FlagsImmediate"]["Properties"]
    assert (immediate["DeploymentDurationInMinutes"], immediate["FinalBakeTimeInMinutes"]) == (0, 0)


def test_canary_flag_change_is_watched_by_the_readers_alarms(stack: Stack) -> None:
    canary = stack.resources["FlagsCanary"]["Properties"]
    assert stack.conditions["MonitorFlags"] == {"Fn::And": [{"Condition": "OnAws"}, {"Condition": "HasAlarms"}]}
    watched = [monitor["Fn::If"][1] for monitor in only(stack, "Environment")["Monitors"]]
    alarms = [stack.resources[referred(monitor["AlarmArn"])]["Properties"] for monitor in watched]
    metrics = {(alarm["MetricName"], alarm["Dimensions"][0]["Value"]["Fn::Sub"]) for alarm in alarms}

    assert canary["FinalBakeTimeInMinutes"] > 0
    assert metrics == {("Errors", "${AWS::StackName}-fraud-screen"), ("Errors", "${AWS::StackName}-payments-authorize")}
    for monitor in watched:
        [statement] = stack.statements(referred(monitor["AlarmRoleArn"]))
        assert statement["Action"] == ["cloudwatch:DescribeAlarms"]


def test_only_readers_may_read(stack: Stack) -> None:
    may = {
        name
        for name, function in stack.of("Lambda::Function").items()
        if any(action.startswith("appconfig:") for action, _ in stack.grants(referred(function["Role"])))
    }
    configured = {
        name
        for name, function in stack.of("Lambda::Function").items()
        if "Fn::Sub" in function["Environment"]["Variables"].get("FLAGS", {})  # with Stripe there is one more, see test_stripe.py
    }

    assert may == configured == READERS | REMEDIATION


def test_only_remediation_deploys_flags(stack: Stack) -> None:
    deploying = {
        name
        for name, function in stack.of("Lambda::Function").items()
        if any(action == "appconfig:StartDeployment" for action, _ in stack.grants(referred(function["Role"])))
    }

    assert deploying == {"OperationsRemediate"}
