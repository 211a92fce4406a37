"""Where a deployment goes: the region and profile of SAM and of the tools, and whether the region has every service (`make doctor`)."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import boto3

from devtools.ops.findings import Finding

# The names of services in resource types, where botocore has another one.
SERVICES = {
    "apigateway": "apigateway",
    "cloudwatch": "cloudwatch",
    "cognito": "cognito-idp",
    "eventschemas": "schemas",
    "kinesisfirehose": "firehose",
    "serverless": "lambda",
}


def services(kinds: Iterable[str]) -> set[str]:
    """Return botocore's names of the services that resource types belong to, with SES, which has no resource in the template."""
    names = {kind.split("::")[1].lower() for kind in kinds}
    return {SERVICES.get(name, name) for name in names} | {"ses"}


def lacking(region: str, wanted: Iterable[str]) -> list[str]:
    """Return the services without an endpoint in a region, according to botocore; global services are in none and do not count."""
    session = boto3.Session(region_name=region)
    regions = {service: session.get_available_regions(service) for service in wanted}
    return sorted(service for service, found in regions.items() if found and region not in found)


def availability(region: str, missing: list[str]) -> Finding:
    """Judge a region by the services that it lacks."""
    if missing:
        return Finding("stop", "region", f"{region} has no {', '.join(missing)}: deploy to another region, such as eu-west-1 or us-east-1")
    return Finding("ok", "region", f"{region} has every service of the template")


def agreement(region: str, settings: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Finding:
    """Judge whether SAM deploys to the region and profile in which `make … STACK=` looks for the stack, which is `region`.

    `settings` are the parameters of samconfig.toml for `sam deploy`, whose region and profile replace those of the environment.
    """
    named, profile = environment.get("AWS_REGION"), environment.get("AWS_PROFILE", "default")
    if named and named != region:
        return Finding(
            "stop", "settings", f"AWS_REGION is {named}, which SAM and boto3 ignore: set AWS_DEFAULT_REGION, which is {region} now"
        )
    if settings.get("region", region) != region:
        where = f"samconfig.toml deploys to {settings['region']}, the other commands use {region}"
        return Finding("stop", "settings", f"{where}: set AWS_DEFAULT_REGION={settings['region']}")
    if settings.get("profile", profile) != profile:
        where = f"samconfig.toml deploys with the profile {settings['profile']}, the other commands use {profile}"
        return Finding("stop", "settings", f"{where}: set AWS_PROFILE={settings['profile']}")
    return Finding("ok", "settings", "samconfig.toml and the environment name one region and one profile")
