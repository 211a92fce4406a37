"""`make flags`: accepted and refused changes, and deployments at AppConfig."""

import io
import json
from typing import Any

import pytest

from devtools import template
from devtools.cli import UserError
from devtools.ops import flags
from devtools.ops.flags import FlagStore

OUTPUTS = {
    "FlagsApplication": "app",
    "FlagsEnvironment": "env",
    "FlagsProfile": "profile",
    "FlagsImmediate": "immediate",
    "FlagsCanary": "canary",
}
BEFORE: dict[str, Any] = {"hold_every_order": False, "hold_countries": [], "payment_provider": "sandbox", "fraud": {}}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """Return the template's schema without Stripe."""
    [validator] = template.translated()["Resources"]["FlagsProfile"]["Properties"]["Validators"]
    return json.loads(validator["Content"]["Fn::Sub"][0].replace("${Providers}", '["sandbox"]'))


class AppConfig:
    """AppConfig's control plane with one profile. Immediate deployments complete at once, canary ones stay in progress."""

    class exceptions:  # noqa: N801 - botocore's name
        """The errors that callers catch by name."""

        class ConflictException(Exception):
            """Another deployment is in progress."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self.versions = [json.dumps(BEFORE).encode()]
        self.states = [{"DeploymentNumber": 1, "State": "COMPLETE", "ConfigurationVersion": "1"}]
        self.raced = False

    def get_configuration_profile(self, **_: str) -> dict[str, Any]:
        return {"Validators": [{"Type": "JSON_SCHEMA", "Content": json.dumps(self.schema)}]}

    def get_paginator(self, name: str) -> Any:
        assert name == "list_deployments"
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        return [{"Items": [one]} for one in self.states]

    def get_hosted_configuration_version(self, VersionNumber: int, **_: str) -> dict[str, Any]:  # noqa: N803 - botocore's name
        return {"Content": io.BytesIO(self.versions[VersionNumber - 1])}

    def create_hosted_configuration_version(self, Content: bytes, **_: str) -> dict[str, Any]:  # noqa: N803 - botocore's name
        self.versions.append(Content)
        return {"VersionNumber": len(self.versions)}

    def start_deployment(self, **given: str) -> dict[str, Any]:
        if self.raced:
            raise self.exceptions.ConflictException
        state = "COMPLETE" if given["DeploymentStrategyId"] == "immediate" else "DEPLOYING"
        self.states.append(
            {"DeploymentNumber": len(self.states) + 1, "State": state, "ConfigurationVersion": given["ConfigurationVersion"]}
        )
        return self.states[-1]

    def stop_deployment(self, DeploymentNumber: int, **_: Any) -> None:  # noqa: N803 - botocore's name
        self.states[DeploymentNumber - 1]["State"] = "ROLLED_BACK"

    def get_deployment(self, DeploymentNumber: int, **_: str) -> dict[str, Any]:  # noqa: N803 - botocore's name
        return self.states[DeploymentNumber - 1]


@pytest.fixture
def appconfig(schema: dict[str, Any]) -> AppConfig:
    return AppConfig(schema)


@pytest.fixture
def place(appconfig: AppConfig) -> FlagStore:
    return FlagStore(appconfig, OUTPUTS)


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ("hold_every_order=true", {"hold_every_order": True}),
        ("hold_every_order=True", {"hold_every_order": True}),
        ("hold_countries=FR,GB", {"hold_countries": ["FR", "GB"]}),
        ("hold_countries=FR", {"hold_countries": ["FR"]}),
        ('hold_countries=["FR"]', {"hold_countries": ["FR"]}),
        ("fraud.hold_score=40 fraud.weights.velocity=0", {"fraud": {"hold_score": 40, "weights": {"velocity": 0}}}),
        ("fraud.amounts.EUR.large=5", {"fraud": {"amounts": {"EUR": {"large": 5}}}}),
        ("", {}),
    ],
)
def test_change_leaves_other_flags_unchanged(schema: dict[str, Any], changes: str, after: dict[str, Any]):
    assert flags.changed(BEFORE, changes, schema) == BEFORE | after


def test_flag_without_value_has_its_default_again(schema: dict[str, Any]):
    document = BEFORE | {"fraud": {"hold_score": 40, "refuse_score": 140}}
    assert flags.changed(document, "fraud.hold_score= hold_countries=", schema) == {
        "hold_every_order": False,
        "payment_provider": "sandbox",
        "fraud": {"refuse_score": 140},
    }


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ("hold_every_order", "SET takes name=value, not 'hold_every_order'; the names are hold_every_order, hold_countries"),
        ("=true", "SET takes name=value, not '=true'"),
        ("hold_every_order=maybe", "hold_every_order: 'maybe' is not of type 'boolean'"),
        ("hold_all=true", "unknown flag hold_all; the names are hold_every_order, hold_countries"),
        ("fraud.hold=40", "unknown flag fraud.hold; the names are fraud.hold_score, "),
        ("hold_countries=France", "hold_countries.0: 'France' does not match"),
        ("hold_countries=GB,UK", "hold_countries: UK is not a country code of ISO 3166-1"),
        ("fraud.velocity.window_seconds=100000000000", "window_seconds"),
        ("fraud.velocity.orders=1001", "orders"),
        ("fraud.hold_score=-50", "fraud.hold_score: -50 is less than the minimum of 1"),
        ("fraud.hold_score=200", "`hold_score` (200) must not be above `refuse_score` (130)"),
        ("fraud.hold_score.high=1 ", "fraud.hold_score.high is not a flag; hold_score has no parts"),
        ("payment_provider=stripe", "payment_provider: 'stripe' is not one of ['sandbox']"),
    ],
)
def test_invalid_changes_are_rejected_in_one_line(schema: dict[str, Any], changes: str, line: str):
    with pytest.raises(UserError) as refused:
        flags.changed(BEFORE | {"fraud": {"hold_score": 50}}, changes, schema)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_threshold_is_validated_with_the_others_default(schema: dict[str, Any]):
    with pytest.raises(UserError, match=r"`hold_score` \(200\) must not be above `refuse_score` \(130\)"):
        flags.changed({}, "fraud.hold_score=200", schema)
    assert flags.changed({}, "fraud.hold_score=120", schema) == {"fraud": {"hold_score": 120}}


def test_new_stack_has_no_flags_and_accepts_the_first(place: FlagStore, appconfig: AppConfig):
    appconfig.versions.clear()
    appconfig.states.clear()
    seen = place.served()
    assert (seen.document, seen.version, seen.number, seen.deploying) == ({}, "default", 0, None)
    place.deploy({"hold_every_order": True}, immediate=True)
    assert place.served().document == {"hold_every_order": True}


def test_without_flags_the_defaults_apply(place: FlagStore, appconfig: AppConfig, capsys: pytest.CaptureFixture[str]):
    appconfig.states.clear()
    flags.show(place.served())
    assert "no flags are deployed; the default fraud rules" in " ".join(capsys.readouterr().out.split())


def test_immediate_change_is_served(place: FlagStore):
    first = place.served()
    assert place.deploy(BEFORE | {"hold_every_order": True}, immediate=True)["State"] == "COMPLETE"
    seen = place.served()
    assert (first.document, seen.document["hold_every_order"]) == (BEFORE, True)
    assert seen.version != first.version
    assert seen.deploying is None


def test_canary_change_blocks_another_until_it_ends(place: FlagStore):
    place.deploy(BEFORE | {"hold_every_order": True}, immediate=False)
    seen = place.served()
    assert seen.document == BEFORE
    assert seen.deploying
    with pytest.raises(UserError, match="deployment 2 is in progress; wait for it, or roll it back with NOW=1"):
        place.deploy(BEFORE | {"hold_countries": ["FR"]}, immediate=False)


def test_immediate_change_rolls_back_the_one_in_progress(place: FlagStore, appconfig: AppConfig):
    place.deploy(BEFORE | {"hold_countries": ["FR"]}, immediate=False)
    place.deploy(BEFORE | {"hold_every_order": True}, immediate=True)
    assert [one["State"] for one in appconfig.states] == ["COMPLETE", "ROLLED_BACK", "COMPLETE"]
    assert place.served().document == BEFORE | {"hold_every_order": True}


def test_concurrent_deployment_is_reported(place: FlagStore, appconfig: AppConfig):
    appconfig.raced = True
    with pytest.raises(UserError, match="another deployment of flags"):
        place.deploy(BEFORE | {"hold_every_order": True}, immediate=True)


def test_stack_without_flags_is_reported(appconfig: AppConfig):
    with pytest.raises(UserError, match="FlagsApplication"):
        FlagStore(appconfig, {})
