"""`make doctor` finds regions without a service, and settings with which SAM and the tools would use different ones."""

from typing import Any

import pytest

from devtools import environments
from devtools.ops import doctor, region

KINDS = {resource["Type"] for resource in environments.deployed(doctor.parameters("prod")).values()}


def test_every_service_of_the_template_is_known_to_botocore() -> None:
    assert region.services(KINDS) >= {"lambda", "schemas", "firehose", "cognito-idp", "stepfunctions", "ses"}
    assert region.lacking("nowhere-1", region.services(KINDS) - {"iam"}) == sorted(region.services(KINDS) - {"iam"})


@pytest.mark.parametrize(("name", "missing"), [("eu-west-1", []), ("us-east-1", []), ("il-central-1", ["schemas"])])
def test_region_without_a_service_stops_the_deployment(name: str, missing: list[str]) -> None:
    assert region.lacking(name, region.services(KINDS)) == missing
    assert region.availability(name, missing).level == ("stop" if missing else "ok")


@pytest.mark.parametrize(
    ("settings", "environment", "level"),
    [
        ({}, {}, "ok"),
        ({"region": "eu-west-1", "profile": "shop"}, {"AWS_REGION": "eu-west-1", "AWS_PROFILE": "shop"}, "ok"),
        ({}, {"AWS_REGION": "us-east-1"}, "stop"),
        ({"region": "us-east-1"}, {}, "stop"),
        ({"profile": "shop"}, {"AWS_PROFILE": "other"}, "stop"),
        ({"profile": "shop"}, {}, "stop"),
    ],
)
def test_region_and_profile_must_agree(settings: dict[str, Any], environment: dict[str, str], level: str) -> None:
    found = region.agreement("eu-west-1", settings, environment)
    assert found.level == level
    assert level == "ok" or " set AWS_" in found.detail


def test_environment_settings_replace_global_ones() -> None:
    assert environments.deploy_settings("prod")["stack_name"] == "order-pipeline-prod"
    assert environments.deploy_settings("test")["tags"] == "integration-tests=allowed"
