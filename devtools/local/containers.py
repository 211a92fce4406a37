"""Run the built functions in Lambda containers (`sam local start-lambda`) against a local emulator.

Each has the environment of the deployed function and credentials of its role, so IAM applies as in the deployed stack.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import docker  # pyright: ignore[reportMissingTypeStubs]
from docker.errors import DockerException, ImageNotFound  # pyright: ignore[reportMissingTypeStubs]
from samcli.lib.providers.provider import LayerVersion  # pyright: ignore[reportMissingTypeStubs]

from devtools import target as targets
from devtools import template, web
from devtools.cli import UserError
from devtools.local import deploy, parts
from devtools.target import REGION, ROOT, Target

IMAGES = "public.ecr.aws"
START_SECONDS = 60.0
STOP_SECONDS = 60.0
# The first call builds the image with the layers.
CALL_SECONDS = 120.0


@dataclass(frozen=True)
class Lambda:
    """The functions behind SAM's own endpoint."""

    endpoint: str

    def call(self, function: str, event: str) -> Any:
        """Invoke a function by its logical id with an event (JSON) and return its answer; an error is an object with errorMessage.

        Raises UserError when SAM does not answer.
        """
        url = f"{self.endpoint}/2015-03-31/functions/{function}/invocations"
        try:
            answer = web.call("POST", url, body=event.encode(), timeout=CALL_SECONDS)
        except TimeoutError:
            return {"errorType": "Timeout", "errorMessage": f"no answer within {CALL_SECONDS:.0f} s"}
        except (OSError, HTTPException) as error:
            raise UserError(f"sam local stopped answering ({error}); look at .local/{_log().name}") from None
        if answer.status != 200:
            return {"errorType": f"HTTP {answer.status}", "errorMessage": answer.body.decode(errors="replace")}
        return decoded(answer.body)


def decoded(raw: bytes | str) -> Any:
    """Decode JSON text; return other text unchanged."""
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace") if isinstance(raw, bytes) else raw


def require_engine(architecture: str) -> bool:
    """Return whether SAM should use the local image: it exists, and the registry is out of reach.

    Raises UserError without a Docker engine.
    """
    try:
        engine = docker.from_env(timeout=10)
        engine.ping()  # pyright: ignore[reportUnknownMemberType]
        engine.images.get(f"{IMAGES}/lambda/python:3.13-{architecture}")
    except ImageNotFound:
        return False
    except DockerException:
        hint = "install one (https://docs.docker.com/engine/install/), start it, and run `make invoke` again"
        raise UserError(f"no Docker engine answers, and Lambda containers need one: {hint}") from None
    return not _reachable(f"https://{IMAGES}/v2/")


def _reachable(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=3).close()  # noqa: S310 - a fixed address
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a free TCP port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def resolved(target: Target, endpoint: str) -> dict[str, Any]:
    """Return a template of the built functions alone, with every reference resolved.

    SAM resolves few references, and passes only the variables that its template declares. `endpoint` is the target as containers
    reach it.
    """
    source = template.source(targets.local_folder() / "build" / "template.yaml")
    built, shared = source["Resources"], source["Globals"]["Function"]
    found = [Path(_built(one["Properties"]["ContentUri"])) for one in built.values() if one["Type"] == "AWS::Serverless::LayerVersion"]
    layers = downloaded(found, _layers())
    functions = {
        name: _function(shared | found["Properties"], layers, _environment(target, name, endpoint))
        for name, found in built.items()
        if found["Type"] == "AWS::Serverless::Function"
    }
    return {"AWSTemplateFormatVersion": "2010-09-09", "Transform": "AWS::Serverless-2016-10-31", "Resources": functions}


def downloaded(layers: Sequence[Path], cache: Path) -> list[str]:
    """Link built layers into SAM's cache of downloaded ones; return ARNs that contain the layers' hashes.

    For a layer of its template, SAM builds an image for every function. For downloaded layers it builds one image and reuses it.
    """
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir()
    arns = [f"arn:aws:lambda:{REGION}:000000000000:layer:{layer.name}-{_content(layer)}:1" for layer in layers]
    for layer, arn in zip(layers, arns, strict=True):
        (cache / LayerVersion(arn, None).name).symlink_to(layer)
    return arns


def _content(layer: Path) -> str:
    return parts.fingerprint(layer, [""])[:16]


def _layers() -> Path:
    return targets.local_folder() / "layers"


def _function(properties: dict[str, Any], layers: list[str], environment: dict[str, str]) -> dict[str, Any]:
    kept = {name: properties[name] for name in ("Handler", "MemorySize", "Timeout")}
    own = {
        "CodeUri": _built(properties["CodeUri"]),
        "Runtime": "python3.13",
        "Architectures": [deploy.architecture()],
        "Layers": layers,
        "Environment": {"Variables": environment},
    }
    return {"Type": "AWS::Serverless::Function", "Properties": kept | own}


def _built(uri: str) -> str:
    return str((targets.local_folder() / "build" / uri).resolve())


def _environment(target: Target, function: str, endpoint: str) -> dict[str, str]:
    """Return the deployed function's environment, with the target's addresses as containers reach them."""
    name = target.resources[function]
    deployed = target.client("lambda").get_function_configuration(FunctionName=name)
    role = target.client("sts").assume_role(RoleArn=deployed["Role"], RoleSessionName=function)["Credentials"]
    variables: dict[str, str] = deployed["Environment"]["Variables"]
    # The issuer must equal the tokens' claim; the URL of its keys is an address.
    return {key: value if key == "JWT_ISSUER" else value.replace(target.endpoint, endpoint) for key, value in variables.items()} | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": role["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": role["SecretAccessKey"],
        "AWS_SESSION_TOKEN": role["SessionToken"],
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }


def _log() -> Path:
    return targets.local_folder() / "invoke.log"


@contextlib.contextmanager
def running(resources: dict[str, Any], options: Sequence[str] = (), *, skip_pull: bool) -> Generator[Lambda]:
    """Run the functions of a resolved template, each in a container from its first call to the end of the block.

    `options` are further options of SAM, such as names of hosts.
    """
    path = targets.local_folder() / "invoke-template.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(resources, indent=2))
    port = free_port()
    arguments = [
        *("local", "start-lambda", "--template", str(path), "--port", str(port), "--warm-containers", "LAZY", "--no-watch"),
        *("--layer-cache-basedir", str(_layers())),
        *(["--skip-pull-image"] if skip_pull else []),
        *options,
    ]
    with _log().open("wb") as file:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("sam")), *arguments],
            cwd=ROOT,
            env=_sam_environment(resources),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_listening(process, port)
        yield Lambda(f"http://127.0.0.1:{port}")
    finally:
        # SAM removes its containers on SIGTERM, not on SIGKILL.
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _sam_environment(resources: dict[str, Any]) -> dict[str, str]:
    # With credentials SAM calls STS, which takes seconds; a variable with a function's variable name would replace its value.
    functions = (found["Properties"] for found in resources["Resources"].values() if "Environment" in found["Properties"])
    declared = {name for function in functions for name in function["Environment"]["Variables"]}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") and name not in declared}
    return kept | {
        "SAM_CLI_TELEMETRY": "0",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _wait_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    last = (_log().read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
    raise UserError(f"sam local did not start: {last} (see .local/{_log().name})")
