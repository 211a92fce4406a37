"""`make flags`: the feature flags in force, and with SET='name=value …' a changed version of them, checked and deployed.

A name may go into a flag (fraud.hold_score=40). A value is JSON without spaces, a word, or words with commas between; without a
value the stack's parameter applies again, as it does for every flag until it is set.
STACK is a stack in the account and region of the environment's credentials, without one it is the local target. There, and with
NOW=1, a change goes to everybody at once; otherwise with care: step by step, and back where an alarm goes off meanwhile.
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
from orderflow.aws.flags import DEFAULT, version
from orderflow.domain.countries import Country

DEPLOYING = frozenset({"DEPLOYING", "VALIDATING", "BAKING", "ROLLING_BACK"})
SERVED = frozenset({"COMPLETE", "BAKING"})
DEPLOY_SECONDS = 120.0
PAUSE_SECONDS = 0.5
# Words that are easily mistaken for a JSON value.
PYTHON_WORDS = {"True": "true", "False": "false"}


@dataclass(frozen=True)
class ServedFlags:
    """The document that functions are given, its version and deployment; what is being deployed meanwhile, where something is.

    Before the first deployment there are no flags, and the deployment is 0.
    """

    document: dict[str, Any]
    version: str
    number: int
    deploying: dict[str, Any] | None


class FlagStore:
    """Where the flags of a stack are; `resources` are the stack's outputs, and its physical ids by logical id."""

    def __init__(self, client: Any, resources: Mapping[str, str]) -> None:
        """Use an AppConfig client."""
        self.client = client
        try:
            self.profile = {"ApplicationId": resources["FlagsApplication"], "ConfigurationProfileId": resources["FlagsProfile"]}
            self.environment = {"ApplicationId": resources["FlagsApplication"], "EnvironmentId": resources["FlagsEnvironment"]}
            self.at_once, self.canary = resources["FlagsImmediate"], resources["FlagsCanary"]
            self.rules = resources["FraudRules"]
        except KeyError as missing:
            raise UserError(f"the stack has no {missing}; deploy the present template first") from None

    def schema(self) -> dict[str, Any]:
        """What AppConfig itself checks documents against."""
        [validator] = self.client.get_configuration_profile(**self.profile)["Validators"]
        return json.loads(validator["Content"])

    def deployments(self) -> list[dict[str, Any]]:
        """The deployments of the flags, latest first."""
        pages = self.client.get_paginator("list_deployments").paginate(**self.environment)
        return sorted((one for page in pages for one in page["Items"]), key=lambda one: -one["DeploymentNumber"])

    def served(self) -> ServedFlags:
        """What functions are given now."""
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
        """Deploy a document, which must be valid; at once it is waited for, and what is under way is taken back first.

        Raises UserError where something else is under way, or AppConfig did not deploy it.
        """
        under_way = self.served().deploying
        if under_way and not immediate:
            raise UserError(f"deployment {under_way['DeploymentNumber']} is under way; wait for it, or take it back with NOW=1")
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
            raise UserError("somebody else deployed flags at the same moment; look at `make flags` and try again") from None
        return self._wait(started["DeploymentNumber"], {"COMPLETE"}) if immediate else started

    def _roll_back(self, number: int) -> None:
        self.client.stop_deployment(**self.environment, DeploymentNumber=number, AllowRevert=True)
        self._wait(number, {"ROLLED_BACK", "REVERTED"})

    def _wait(self, number: int, expected: set[str]) -> dict[str, Any]:
        deadline = time.monotonic() + DEPLOY_SECONDS
        while (seen := self.client.get_deployment(**self.environment, DeploymentNumber=number))["State"] in DEPLOYING:
            if time.monotonic() > deadline:
                raise UserError(f"deployment {number} is still {seen['State'].lower()}; look at `make flags` later")
            time.sleep(PAUSE_SECONDS)
        if seen["State"] not in expected:
            raise UserError(f"deployment {number} is {seen['State'].lower().replace('_', ' ')}")
        return seen


def changed(document: dict[str, Any], changes: str, schema: dict[str, Any], fraud: str = "{}") -> dict[str, Any]:
    """The document with changes such as `hold_every_order=true fraud.hold_score=40`; `fraud` is the stack's parameter FraudRules.

    Raises UserError for what is no change, and for flags that make no sense afterwards.
    """
    after = deepcopy(document)
    for word in changes.split():
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise UserError(f"SET takes name=value, not {word!r}; the names are {', '.join(schema['properties'])}")
        _put(after, name.split("."), text, schema)
    check(after, schema, fraud)
    return after


def _put(document: dict[str, Any], path: list[str], text: str, schema: dict[str, Any]) -> None:
    *into, last = path
    for step in into:
        document = document.setdefault(step, {})
        if not isinstance(document, dict):  # pyright: ignore[reportUnnecessaryIsInstance] - what somebody else deployed
            raise UserError(f"{'.'.join(path)} is no flag; {step} has nothing in it")
    if text:
        document[last] = _value(text, listed=schema["properties"].get(".".join(path), {}).get("type") == "array")
    else:
        document.pop(last, None)


def _value(text: str, *, listed: bool) -> Any:
    try:
        return json.loads(PYTHON_WORDS.get(text, text))
    except ValueError:
        return text.split(",") if listed else text


def check(document: dict[str, Any], schema: dict[str, Any], fraud: str) -> None:
    """Refuse what AppConfig would refuse, and what the functions would not follow, with a UserError of one line."""
    validator: Any = Draft4Validator(cast("Any", schema))
    for error in sorted(validator.iter_errors(document), key=lambda error: list(map(str, error.absolute_path))):
        place = ".".join(map(str, error.absolute_path))
        raise UserError(f"{f'{place}: ' if place else ''}{error.message}")
    try:
        asked = fraud_rules.parse_flags(json.dumps(document).encode(), fraud)
    except msgspec.DecodeError as error:
        raise UserError(str(error)) from None
    # Functions take any two letters: flags that were deployed before this check stay in force.
    for country in sorted(asked.hold_countries - set(get_args(Country))):
        raise UserError(f"hold_countries: {country} is no country of ISO 3166-1")


def show(seen: ServedFlags) -> None:
    """Print the flags in force, with nothing left out, and what is being deployed."""
    if seen.number:
        ui.console.print(f"  flags {seen.version}, deployment {seen.number}", style="bold")
        ui.console.print_json(json.dumps(seen.document), indent=2)
    else:
        ui.console.print("  no flags are deployed; the stack's parameters FraudRules and PaymentProvider apply")
    if seen.deploying:
        at = seen.deploying
        ui.console.print(f"  deployment {at['DeploymentNumber']} is {at['State'].lower()}, {at.get('PercentageComplete', 0):.0f} %")


def main(arguments: Namespace) -> None:
    """Show the flags, or change them."""
    changes: str = arguments.set
    target = targets.chosen(arguments.stack)
    place = FlagStore(target.client("appconfig"), target.resources)
    seen = place.served()
    if not changes:
        show(seen)
        return
    document = changed(seen.document, changes, place.schema(), place.rules)
    if document == seen.document:
        ui.console.print("  nothing changes: these flags are in force")
        return
    deployed = place.deploy(document, immediate=target.local or arguments.now, why=changes)
    ui.console.print(f"  deployment {deployed['DeploymentNumber']} is {deployed['State'].lower()}; functions follow within FlagsTtlSeconds")
    show(place.served())
