"""Show the feature flags, or validate and deploy a changed version of them.

A name can address a part of a flag (fraud.hold_score=40). A value is JSON without spaces, a word, or words separated by commas;
without a value the default applies again. A change is deployed in one step on local targets and with NOW=1,
otherwise gradually, with a rollback when an alarm is raised.
"""

import json
import time
from argparse import Namespace
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast, get_args

import msgspec
from jsonschema import Draft4Validator

from devtools import target as targets
from devtools import ui
from devtools.cli import UserError
from fraud.domain import fraud_rules
from operations.flag_deployments import DEPLOYING, SERVED
from orderflow.aws.flags import DEFAULT, version
from orderflow.domain.countries import Country

DEPLOY_SECONDS = 120.0
PAUSE_SECONDS = 0.5
# Python's words for JSON's.
PYTHON_WORDS = {"True": "true", "False": "false"}


@dataclass(frozen=True)
class ServedFlags:
    """The document that functions receive, its version and deployment number, and the deployment in progress, if there is one.

    Before the first deployment the document is empty and the number 0.
    """

    document: dict[str, Any]
    version: str
    number: int
    deploying: dict[str, Any] | None


class FlagStore:
    """The AppConfig application of a stack; `resources` are the stack's physical ids by logical id, and its outputs."""

    def __init__(self, client: Any, resources: Mapping[str, str]) -> None:
        """Use an AppConfig client."""
        self.client = client
        try:
            self.profile = {"ApplicationId": resources["FlagsApplication"], "ConfigurationProfileId": resources["FlagsProfile"]}
            self.environment = {"ApplicationId": resources["FlagsApplication"], "EnvironmentId": resources["FlagsEnvironment"]}
            self.at_once, self.canary = resources["FlagsImmediate"], resources["FlagsCanary"]
        except KeyError as missing:
            raise UserError(f"the stack has no {missing}; deploy the present template first") from None

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema that AppConfig validates documents with."""
        [validator] = self.client.get_configuration_profile(**self.profile)["Validators"]
        return json.loads(validator["Content"])

    def deployments(self) -> list[dict[str, Any]]:
        """Return the deployments of the flags, latest first."""
        pages = self.client.get_paginator("list_deployments").paginate(**self.environment)
        return sorted((one for page in pages for one in page["Items"]), key=lambda one: -one["DeploymentNumber"])

    def served(self) -> ServedFlags:
        """Return the document that functions receive now."""
        deployments = self.deployments()
        served = next((one for one in deployments if one["State"] in SERVED), None)
        under_way = next((one for one in deployments if one["State"] in DEPLOYING), None)
        if served is None:
            return ServedFlags({}, DEFAULT, 0, under_way)
        content = self._content(served)
        return ServedFlags(json.loads(content), version(content), served["DeploymentNumber"], under_way)

    def _content(self, deployment: dict[str, Any]) -> bytes:
        number = int(deployment["ConfigurationVersion"])
        return self.client.get_hosted_configuration_version(**self.profile, VersionNumber=number)["Content"].read()

    def deploy(self, document: dict[str, Any], *, immediate: bool, why: str = "") -> dict[str, Any]:
        """Deploy a valid document. An immediate deployment rolls back the one in progress first, and is awaited.

        Raises UserError while another deployment is in progress, and where AppConfig does not complete this one.
        """
        under_way = self.served().deploying
        if under_way and not immediate:
            raise UserError(f"deployment {under_way['DeploymentNumber']} is in progress; wait for it, or roll it back with NOW=1")
        if under_way:
            self._roll_back(under_way["DeploymentNumber"])
        content = json.dumps(document, indent=2).encode()
        made = self.client.create_hosted_configuration_version(
            **self.profile, Content=content, ContentType="application/json", Description=why[:1024]
        )
        try:
            started = self.client.start_deployment(
                **self.environment,
                ConfigurationProfileId=self.profile["ConfigurationProfileId"],
                ConfigurationVersion=str(made["VersionNumber"]),
                DeploymentStrategyId=self.at_once if immediate else self.canary,
                Description=why[:1024],
            )
        except self.client.exceptions.ConflictException:
            raise UserError("another deployment of flags started at the same moment; check `make flags` and try again") from None
        return self._wait(started["DeploymentNumber"], {"COMPLETE"}) if immediate else started

    def _roll_back(self, number: int) -> None:
        self.client.stop_deployment(**self.environment, DeploymentNumber=number, AllowRevert=True)
        self._wait(number, {"ROLLED_BACK", "REVERTED"})

    def _wait(self, number: int, expected: set[str]) -> dict[str, Any]:
        deadline = time.monotonic() + DEPLOY_SECONDS
        while (seen := self.client.get_deployment(**self.environment, DeploymentNumber=number))["State"] in DEPLOYING:
            if time.monotonic() > deadline:
                raise UserError(f"deployment {number} is still {seen['State'].lower()}; check `make flags` later")
            time.sleep(PAUSE_SECONDS)
        if seen["State"] not in expected:
            raise UserError(f"deployment {number} is {seen['State'].lower().replace('_', ' ')}; `make flags` shows the flags in force")
        return seen


def changed(document: dict[str, Any], changes: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Apply changes such as `hold_every_order=true fraud.hold_score=40` to a document.

    Raises UserError for a malformed change, and for a document that is invalid afterwards.
    """
    after = deepcopy(document)
    for word in changes.split():
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise UserError(f"SET takes name=value, not {word!r}; the names are {', '.join(schema['properties'])}")
        _put(after, name.split("."), text, schema)
    check(after, schema)
    return after


def _put(document: dict[str, Any], path: list[str], text: str, schema: dict[str, Any]) -> None:
    *into, last = path
    for step in into:
        document = document.setdefault(step, {})
        if not isinstance(document, dict):  # pyright: ignore[reportUnnecessaryIsInstance] - deployed by other means
            raise UserError(f"{'.'.join(path)} is not a flag; {step} has no parts")
    if text:
        document[last] = _value(text, listed=schema["properties"].get(".".join(path), {}).get("type") == "array")
    else:
        document.pop(last, None)


def _value(text: str, *, listed: bool) -> Any:
    try:
        return json.loads(PYTHON_WORDS.get(text, text))
    except ValueError:
        return text.split(",") if listed else text


def check(document: dict[str, Any], schema: dict[str, Any]) -> None:
    """Raise UserError for a document that AppConfig or the functions would reject."""
    validator: Any = Draft4Validator(cast("Any", schema))
    for error in sorted(validator.iter_errors(document), key=lambda error: list(map(str, error.absolute_path))):
        place = ".".join(map(str, error.absolute_path))
        raise UserError(_unknown(error, place) or f"{f'{place}: ' if place else ''}{error.message}")
    try:
        parsed = fraud_rules.parse_flags(json.dumps(document).encode())
    except msgspec.DecodeError as error:
        raise UserError(str(error)) from None
    # Functions accept any two characters, so that flags deployed before this check keep working.
    for country in sorted(parsed.hold_countries - set(get_args(Country))):
        raise UserError(f"hold_countries: {country} is not a country code of ISO 3166-1")


def _unknown(error: Any, place: str) -> str:
    """Return one line about the names that a document must not have, or "" for another error."""
    if error.validator != "additionalProperties" or "properties" not in error.schema:
        return ""
    known = error.schema["properties"]
    names = ", ".join(f"{place}.{name}".strip(".") for name in sorted(error.instance.keys() - known))
    return f"unknown flag {names}; the names are {', '.join(f'{place}.{name}'.strip('.') for name in known)}"


def show(seen: ServedFlags) -> None:
    """Print the current flags and the deployment in progress."""
    if seen.number:
        ui.console.print(f"  flags {seen.version}, deployment {seen.number}", style="bold")
        ui.console.print_json(json.dumps(seen.document), indent=2)
    else:
        ui.console.print("  no flags are deployed; the default fraud rules and the stack's payment provider apply")
    if seen.deploying:
        at = seen.deploying
        ui.console.print(f"  deployment {at['DeploymentNumber']} is {at['State'].lower()}, {at.get('PercentageComplete', 0):.0f} %")


def main(arguments: Namespace) -> None:
    """Show or change the flags."""
    changes: str = arguments.set
    target = targets.chosen(arguments.stack)
    store = FlagStore(target.client("appconfig"), target.resources)
    seen = store.served()
    if not changes:
        show(seen)
        return
    document = changed(seen.document, changes, store.schema())
    if document == seen.document:
        ui.console.print("  no change: the flags have these values")
        return
    deployed = store.deploy(document, immediate=target.local or arguments.now, why=changes)
    ui.console.print(f"  deployment {deployed['DeploymentNumber']} is {deployed['State'].lower()}; functions follow within a minute")
    show(store.served())
