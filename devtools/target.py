"""The stack that a tool or test works on: local, on the embedded emulator or a LocalStack, or on AWS.

BACKEND   embedded (default), localstack or aws
PORT      port of the embedded emulator; by default the one that was started last, or 4566
ENDPOINT  a local target that is already up: tools neither start nor stop it
STACK     name of a stack on AWS; with ENDPOINT, of a stack there, which is used as on AWS with BACKEND=aws
"""

import json
import os
import threading
from argparse import ArgumentTypeError
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from localstack_client.session import Session  # pyright: ignore[reportMissingTypeStubs]

from devtools import options
from devtools.cli import UsageError, UserError

ROOT = Path(__file__).resolve().parents[1]
LOCAL = ROOT / ".local"
STACK = "order-pipeline"
REGION = "us-east-1"
AWS = "aws"
BACKENDS = ("embedded", "localstack", AWS)
DEFAULT_PORT = 4566
ANY_CREDENTIALS: Mapping[str, Any] = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
RETRIES: Mapping[str, Any] = {"max_attempts": 2, "mode": "standard"}
# FilterLogEvents takes five requests a second of an account, and a stack has more log groups
# (https://repost.aws/knowledge-center/cloudwatch-logs-throttling).
RATE_LIMITED: Mapping[str, Any] = {"max_attempts": 9, "mode": "adaptive"}

# The host as containers reach it: accepted in the settings of functions, never as a target of these tools.
CONTAINER_HOSTS = frozenset({"172.17.0.1", "host.docker.internal", "localhost.localstack.cloud"})


def require_loopback(url: str, *, also: frozenset[str] = frozenset()) -> str:
    """Return the endpoint as `scheme://host:port` when its host is this machine (127.0.0.0/8, ::1, localhost).

    Other names are refused without a lookup, because their address can change. `also` holds further hosts that are allowed by
    name. Raises UsageError for every other host and for malformed endpoints.
    """
    host, port = _split(url)
    if not (host == "localhost" or host in also or _is_loopback(host)):
        raise UsageError(f"refused: {host} is not this machine; a local target must be on loopback, as http://127.0.0.1:4566")
    return f"{urlsplit(url).scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _split(url: str) -> tuple[str, int]:
    problem = UsageError(f"refused: {url!r} is not an endpoint; give it as http://127.0.0.1:4566")
    # A backslash or user part makes parsers disagree about which host is meant.
    if not url.isascii() or not url.isprintable() or set(url) & set("\\@ ?#"):
        raise problem
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise problem from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or port == 0:
        raise problem
    return parts.hostname, port or (443 if parts.scheme == "https" else 80)


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback and (address.version == 4 or str(address) == "::1")


def port_number(text: str) -> int:
    """Parse PORT. Raises UsageError unless it is 1024 to 65535."""
    try:
        return options.port_number(text)
    except ArgumentTypeError as error:
        raise UsageError(f"PORT {error}") from None


@dataclass(frozen=True)
class StackResource:
    """A resource of a deployed stack: its CloudFormation type and its physical id (a name, a URL, an ARN)."""

    type: str
    id: str


def stack_resources(cloudformation: Any, stack: str) -> dict[str, StackResource]:
    """Return the resources of a deployed stack by logical id, including those that users added to the template."""
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    return {
        one["LogicalResourceId"]: StackResource(one["ResourceType"], one["PhysicalResourceId"])
        for page in pages
        for one in page["StackResourceSummaries"]
        if "PhysicalResourceId" in one and not one.get("ResourceStatus", "").startswith("DELETE_")
    }


@dataclass(frozen=True)
class Target:
    """A deployed stack, on AWS or at the `endpoint` of a local target. Tools start and stop a `managed` one.

    `backend` is embedded, localstack or aws. With aws, credentials and region are those of the environment; an endpoint is all that
    then differs between AWS and an emulator, which needs neither.
    """

    backend: str
    endpoint: str
    managed: bool
    stack: str = STACK
    _clients: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, compare=False)
    # A session of boto3 must not create clients in several threads
    # (https://docs.aws.amazon.com/boto3/latest/guide/session.html#multithreading-or-multiprocessing-with-sessions).
    _creating: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def local(self) -> bool:
        """Whether the stack is on this machine."""
        return bool(self.endpoint)

    @property
    def port(self) -> int:
        """The TCP port of the endpoint."""
        return urlsplit(self.endpoint).port or 80

    @cached_property
    def _session(self) -> Any:
        if self.local:
            # boto3 and localstack_client read the endpoint from here; other clients of this process use it as well.
            os.environ["AWS_ENDPOINT_URL"] = self.endpoint
        if self.backend == AWS:
            return _session_of_environment(local=self.local)
        # The user's own profiles are not used, and may be missing or malformed.
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            os.environ.pop(name, None)
        os.environ |= dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
        return Session(**ANY_CREDENTIALS, region_name=REGION)

    def client(self, service: str) -> Any:
        """Return this process's client for a service, for instance "dynamodb"."""
        with self._creating:
            if service not in self._clients:
                self._clients[service] = self._client(
                    service, connect_timeout=3, read_timeout=30, retries=RATE_LIMITED if service == "logs" else RETRIES
                )
            return self._clients[service]

    def invoke(self, function: str, event: object, *, seconds: float = 30) -> dict[str, Any]:
        """Invoke a function by its logical id, once, and return its answer; `seconds` is how long it may take.

        Raises UserError where the stack does not have the function, or the function fails.
        """
        name = self.resources.get(function)
        if not name:
            raise UserError(f"the deployed stack has no {function}; deploy the present template, locally by `make run`")
        answer = self._invoking_client(seconds).invoke(FunctionName=name, Payload=json.dumps(event).encode())
        payload: dict[str, Any] = json.loads(answer["Payload"].read() or b"{}")
        if answer.get("FunctionError") or "errorMessage" in payload:
            raise UserError(" ".join(str(payload.get("errorMessage", payload)).split()))
        return payload

    def _invoking_client(self, seconds: float) -> Any:
        with self._creating:
            name = f"lambda {seconds}"
            if name not in self._clients:
                self._clients[name] = self._client("lambda", connect_timeout=3, read_timeout=seconds, retries={"total_max_attempts": 1})
            return self._clients[name]

    def _client(self, service: str, **limits: Any) -> Any:
        # Local clients use no proxy, clients of AWS no local endpoint, in any environment.
        limits |= {"proxies": {}} if self.local else {"ignore_configured_endpoint_urls": True}
        # localstack_client has the endpoint of the session.
        given = {"endpoint_url": self.endpoint} if self.backend == AWS and self.local else {}
        return self._session.client(service, config=Config(**limits), **given)

    def outputs(self) -> dict[str, str]:
        """Return the outputs of the deployed stack. Raises UserError when there is no stack or no target answers."""
        found = self.stack_outputs()
        if found is None and self.local and (region := self.client("cloudformation").meta.region_name) != REGION:
            raise UserError(f"there is no stack {self.stack!r} at {self.endpoint} in {region}: set AWS_DEFAULT_REGION={REGION}")
        if found is None and self.local and self.stack != STACK:
            raise UserError(f"there is no stack {self.stack!r} at {self.endpoint}; STACK names the stack")
        if found is None and self.local:
            raise UserError(f"nothing is deployed at {self.endpoint}; run `make run` first")
        if found is None:
            raise UserError(f"there is no stack {self.stack!r} in this account and region; STACK names the stack")
        return found

    def stack_outputs(self) -> dict[str, str] | None:
        """Return the outputs as `outputs` does, but None when there is no stack."""
        try:
            stacks = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"]
        except EndpointConnectionError:
            if not self.local:
                raise
            raise UserError(f"nothing answers at {self.endpoint}; run `make run` first") from None
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("ValidationError", "ResourceNotFoundException"):
                return None
            raise
        return {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}

    @cached_property
    def resources(self) -> dict[str, str]:
        """The physical ids of the stack's resources by logical id, with the stack's outputs; read once."""
        return {name: resource.id for name, resource in self.stack_resources.items()} | self.outputs()

    @cached_property
    def stack_resources(self) -> dict[str, StackResource]:
        """The type and physical id of each resource of the stack by logical id, read once; UserError as for `outputs`."""
        return stack_resources(self.client("cloudformation"), self.stack) if self.outputs() else {}

    def physical_ids(self, kind: str) -> dict[str, str]:
        """The physical ids of the stack's resources of a type, such as "AWS::Lambda::Function", by logical id."""
        return {name: resource.id for name, resource in self.stack_resources.items() if resource.type == kind}

    def forget_stack(self) -> None:
        """Discard the cached resources after a deployment."""
        for name in ("resources", "stack_resources"):
            self.__dict__.pop(name, None)

    def api_url(self, path: str = "") -> str:
        """The URL of a path of the API, for instance "/orders"."""
        if not self.local:
            return f"{self.resources['ApiUrl']}{path}"
        return f"{self.endpoint}/_aws/execute-api/{self.resources['ApiId']}/{self.resources['ApiStage']}{path}"

    def function_url(self, output: str) -> tuple[str, dict[str, str]]:
        """Return where the function URL of a stack output is reached, and the Host header that identifies the function locally."""
        if not self.local:
            return self.resources[output], {}
        return f"{self.endpoint}/", {"Host": urlsplit(self.resources[output]).netloc}

    def aws_environment(self) -> dict[str, str]:
        """Return this process's environment with every AWS setting replaced, for programs that may reach the local target only."""
        # With MAKEFLAGS, the makefiles that `sam build` runs would inherit variables of the command line.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_CLI_", "MAKE"))}
        hosts = ",".join(filter(None, [kept.get("NO_PROXY") or kept.get("no_proxy"), "localhost,127.0.0.1,::1"]))
        return kept | {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            # The user's own profiles are not used.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
            "NO_PROXY": hosts,
            "no_proxy": hosts,
        }


def _session_of_environment(*, local: bool) -> Any:
    """Return a session with the credentials and region of the environment. An emulator gets others where there are none."""
    if not local:
        return boto3.Session()
    # The credentials of a machine at AWS are no business of an emulator.
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    found = boto3.Session()
    return boto3.Session(region_name=found.region_name or REGION, **({} if found.get_credentials() else ANY_CREDENTIALS))


def chosen(stack: str) -> Target:
    """Return a stack by its name, the target of the environment without one. Raises UsageError as `from_environment`.

    The stack is on AWS, or with ENDPOINT on the local target there: nothing else differs.
    """
    if not stack:
        return from_environment()
    if os.environ.get("ENDPOINT"):
        return replace(from_environment(dict(os.environ) | {"STACK": stack}), stack=stack)
    return Target(AWS, "", managed=False, stack=stack)


def from_environment(settings: Mapping[str, str] = os.environ) -> Target:
    """Return the target that BACKEND, PORT, ENDPOINT and STACK describe. Raises UsageError for wrong values and other machines."""
    backend, given = settings.get("BACKEND") or "embedded", settings.get("ENDPOINT") or ""
    if backend not in BACKENDS:
        raise UsageError(f"BACKEND must be {' or '.join(BACKENDS)}, not {backend!r}")
    if backend == AWS:
        if not settings.get("STACK"):
            raise UsageError("BACKEND=aws needs the name of the stack: STACK=order-pipeline-test")
        return Target(AWS, require_loopback(given) if given else "", managed=False, stack=settings["STACK"])
    endpoint = given or f"http://127.0.0.1:{port_number(settings.get('PORT') or str(last_port()))}"
    return Target(backend, require_loopback(endpoint), managed=backend == "embedded" and not given)


def last_port() -> int:
    """Return the port on which the embedded emulator was started last, 4566 when none runs."""
    try:
        return port_number((LOCAL / "port").read_text().strip())
    except (OSError, UserError):
        return DEFAULT_PORT


def remember_port(port: int) -> None:
    """Make this the default port of commands."""
    (local_folder() / "port").write_text(f"{port}\n")


def forget_port(port: int) -> None:
    """Restore the usual default port of commands, if this port is the default."""
    if last_port() == port:
        (LOCAL / "port").unlink(missing_ok=True)


def local_folder() -> Path:
    """Return the folder of the tools' files: logs, process ids, the issuer's key. Only its owner can read it."""
    LOCAL.mkdir(mode=0o700, exist_ok=True)
    return LOCAL
