"""Which local target the tools and tests work on: the embedded emulator, or a LocalStack that is up.

BACKEND   embedded (default) or localstack
PORT      where the embedded emulator listens; without it the port that was started last, or 4566
ENDPOINT  a target that is already up; nothing is started or stopped then
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from localstack_client.session import Session  # pyright: ignore[reportMissingTypeStubs]

from devtools.cli import UserError

ROOT = Path(__file__).resolve().parents[1]
LOCAL = ROOT / ".local"
STACK = "order-pipeline"
REGION = "us-east-1"
BACKENDS = ("embedded", "localstack")
DEFAULT_PORT = 4566

# Where a function in a container finds the host. Accepted for what is handed to functions, never as a target of ours.
CONTAINER_HOSTS = frozenset({"172.17.0.1", "host.docker.internal", "localhost.localstack.cloud"})


def require_loopback(url: str, *, also: frozenset[str] = frozenset()) -> str:
    """The endpoint as `scheme://host:port`, when its host is this machine (127.0.0.0/8, ::1, localhost).

    Names other than localhost are refused without looking them up: what they resolve to is not ours to say. `also`
    holds further hosts that are allowed by name. Raises UserError for everything else, and for what is no endpoint.
    """
    host, port = _split(url)
    if not (host == "localhost" or host in also or _is_loopback(host)):
        raise UserError(f"refused: {host} is not this machine; a local target must be on loopback, as http://127.0.0.1:4566")
    return f"{urlsplit(url).scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _split(url: str) -> tuple[str, int]:
    problem = UserError(f"refused: {url!r} is not an endpoint; give it as http://127.0.0.1:4566")
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
    """A TCP port from text. Raises UserError unless it is 1024 to 65535."""
    if not text.isascii() or not text.isdigit() or not 1024 <= int(text) <= 65535:
        raise UserError(f"PORT must be a number from 1024 to 65535, not {text!r}")
    return int(text)


@dataclass(frozen=True)
class StackResource:
    """A resource of a deployed stack: its CloudFormation type and its physical id (a name, a URL, an ARN)."""

    type: str
    id: str


def stack_resources(cloudformation: Any, stack: str) -> dict[str, StackResource]:
    """The resources of a deployed stack by logical id, with those that users added to the template."""
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    return {
        one["LogicalResourceId"]: StackResource(one["ResourceType"], one["PhysicalResourceId"])
        for page in pages
        for one in page["StackResourceSummaries"]
        if "PhysicalResourceId" in one and not one.get("ResourceStatus", "").startswith("DELETE_")
    }


@dataclass(frozen=True)
class Target:
    """A local target. `managed`: it is ours to start and stop."""

    backend: str
    endpoint: str
    managed: bool
    _clients: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, compare=False)

    @property
    def port(self) -> int:
        """The TCP port of the endpoint."""
        return urlsplit(self.endpoint).port or 80

    @cached_property
    def session(self) -> Session:
        """A localstack_client session whose every client talks to the endpoint."""
        # localstack_client reads its endpoint from here; and a stray client of this process then goes there as well.
        os.environ["AWS_ENDPOINT_URL"] = self.endpoint
        return Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)

    def client(self, service: str) -> Any:
        """The one client of this process for a service, for instance "dynamodb"."""
        if service not in self._clients:
            # An empty dict of proxies means none, whatever the environment says.
            limits = Config(connect_timeout=3, read_timeout=30, retries={"max_attempts": 2, "mode": "standard"}, proxies={})
            self._clients[service] = cast("Any", self.session).client(service, config=limits)
        return self._clients[service]

    def outputs(self) -> dict[str, str]:
        """The outputs of the deployed stack. Raises UserError when nothing is deployed or nothing answers."""
        found = self.stack_outputs()
        if found is None:
            raise UserError(f"nothing is deployed at {self.endpoint}; run `make run` first")
        return found

    def stack_outputs(self) -> dict[str, str] | None:
        """As `outputs`, but None when the stack is absent."""
        try:
            stacks = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        except EndpointConnectionError:
            raise UserError(f"nothing answers at {self.endpoint}; run `make run` first") from None
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("ValidationError", "ResourceNotFoundException"):
                return None
            raise
        return {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}

    @cached_property
    def resources(self) -> dict[str, str]:
        """The physical ids of the stack's resources by logical id, and the stack's outputs; read once."""
        return {name: resource.id for name, resource in self.stack_resources.items()} | self.outputs()

    @cached_property
    def stack_resources(self) -> dict[str, StackResource]:
        """The type and physical id of each resource of the stack by logical id, read once; UserError as for `outputs`."""
        return stack_resources(self.client("cloudformation"), STACK) if self.outputs() else {}

    def physical_ids(self, kind: str) -> dict[str, str]:
        """The physical ids of the stack's resources of a type, such as "AWS::Lambda::Function", by logical id."""
        return {name: resource.id for name, resource in self.stack_resources.items() if resource.type == kind}

    def forget_stack(self) -> None:
        """Read the stack again at the next question, because it was deployed meanwhile."""
        for name in ("resources", "stack_resources"):
            self.__dict__.pop(name, None)

    def api_url(self, path: str = "") -> str:
        """The URL of a path of the API, for instance "/orders"."""
        return f"{self.endpoint}/_aws/execute-api/{self.resources['ApiId']}/{self.resources['ApiStage']}{path}"

    def function_url(self, output: str) -> tuple[str, dict[str, str]]:
        """Where the function URL of a stack output is reached here, and the Host header by which the target tells which it is."""
        return f"{self.endpoint}/", {"Host": urlsplit(self.resources[output]).netloc}

    def aws_environment(self) -> dict[str, str]:
        """This process's environment with every AWS setting replaced, for programs that must reach the target only."""
        # MAKEFLAGS: the makefiles that `sam build` runs would take over variables of the command line.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_CLI_", "MAKE"))}
        hosts = ",".join(filter(None, [kept.get("NO_PROXY") or kept.get("no_proxy"), "localhost,127.0.0.1,::1"]))
        return kept | {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            # The user's own profiles must not come into it.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
            "NO_PROXY": hosts,
            "no_proxy": hosts,
        }


def from_environment(settings: Mapping[str, str] = os.environ) -> Target:
    """The target that BACKEND, PORT and ENDPOINT describe. Raises UserError for none, or one off this machine."""
    backend = settings.get("BACKEND") or "embedded"
    if backend not in BACKENDS:
        raise UserError(f"BACKEND must be {' or '.join(BACKENDS)}, not {backend!r}")
    given = settings.get("ENDPOINT") or ""
    endpoint = given or f"http://127.0.0.1:{port_number(settings.get('PORT') or str(last_port()))}"
    return Target(backend, require_loopback(endpoint), managed=backend == "embedded" and not given)


def last_port() -> int:
    """The port on which the embedded emulator was started last, 4566 when none was or it was stopped."""
    try:
        return port_number((LOCAL / "port").read_text().strip())
    except (OSError, UserError):
        return DEFAULT_PORT


def remember_port(port: int) -> None:
    """Have commands without PORT use this port from now on."""
    (local_folder() / "port").write_text(f"{port}\n")


def forget_port(port: int) -> None:
    """Have commands without PORT use the usual port again, if they use this one."""
    if last_port() == port:
        (LOCAL / "port").unlink(missing_ok=True)


def local_folder() -> Path:
    """The folder for what the tools keep: logs, process ids, the issuer's key. Readable by its owner only."""
    LOCAL.mkdir(mode=0o700, exist_ok=True)
    return LOCAL
