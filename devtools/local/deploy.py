"""Deploy to the local target: by `sam build` and `sam deploy` after a change of the stack, directly after a change of code alone."""

import json
import os
import platform
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from threading import Timer
from typing import Any, cast

from samcli.yamlhelper import yaml_parse  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from devtools import target as targets
from devtools import ui
from devtools.cli import UserError
from devtools.local import api_responses, code_update, event_archive, issuer, parts, webhook_secrets
from devtools.local.parts import Part
from devtools.target import ROOT, STACK, Target
from devtools.template import expand
from devtools.trial import marked

# A change of these, or of the parameters, is deployed by CloudFormation; a change of code alone is not.
STACK_SOURCES = ("template.yaml", "observability.yaml", "samconfig.toml", "workflows")
# Hashes of the deployed parts, stored in the target: a new or emptied target has none.
DEPLOYED_PARAMETER = f"/{STACK}/deployed"
ARTIFACTS = f"{STACK}-artifacts"
# The environments of samconfig.toml.
CONFIG = {"embedded": "local", "localstack": "localstack"}
BUILD_SECONDS = 600
DEPLOY_SECONDS = 600
LAST_LINES = 30


def architecture(machine: str | None = None) -> str:
    """Return this machine's architecture as Lambda names it: x86_64 or arm64. Raises UserError for others."""
    name = (machine or platform.machine()).lower()
    known = {"x86_64": "x86_64", "amd64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}
    if name not in known:
        raise UserError(f"functions run on x86_64 and arm64; this machine is {name}")
    return known[name]


def parameters(target: Target) -> dict[str, str]:
    """Return the template's parameters for a local target."""
    return {
        "Stage": "local",
        "Target": "emulator" if target.backend == "embedded" else "localstack",
        "Architecture": architecture(),
        "JwtIssuer": issuer.issuer(target),
        "JwksUrl": issuer.jwks_url(target),
    }


@dataclass(frozen=True)
class Deployed:
    """The deployed state of a target: the hash of the stack's sources and of each part's.

    `drifted` names the parts that were updated since CloudFormation deployed last, which does not know their code.
    """

    stack: str = ""
    parts: dict[str, str] = field(default_factory=dict[str, str])
    drifted: list[str] = field(default_factory=list[str])


def ensure(target: Target) -> bool:
    """Deploy the current sources to the target, only code where only code changed; return whether there was a change.

    Raises UserError when the template is missing, and when build or deployment fails (the end of the log is printed).
    """
    if not (ROOT / "template.yaml").exists():
        raise UserError("template.yaml not found; run this from a full checkout")
    chosen, all_parts, present = parameters(target), parts.all_parts(), _deployed(target)
    sources = parts.fingerprint(ROOT, STACK_SOURCES)
    wanted = Deployed(
        sha256(f"{sources}{sorted(chosen.items())}".encode()).hexdigest(),
        {name: parts.fingerprint(ROOT, part.sources) for name, part in all_parts.items()},
    )
    if present.stack != wanted.stack or target.stack_outputs() is None:
        _store(target, replace(present, stack=""))
        _deploy_stack(target, chosen, f"{sources} {sorted(wanted.parts.items())}")
        # CloudFormation leaves a part alone that is as it deployed it last.
        _update_code(target, [all_parts[name] for name in present.drifted if name in all_parts])
        _store(target, wanted)
        return True
    changed = [name for name, sources in wanted.parts.items() if present.parts.get(name) != sources]
    if changed:
        drifted = sorted({*present.drifted, *changed})
        _store(target, replace(present, drifted=drifted))
        _update_code(target, [all_parts[name] for name in changed])
        _store(target, replace(wanted, drifted=drifted))
    return bool(changed)


def _deployed(target: Target) -> Deployed:
    ssm = target.client("ssm")
    try:
        return Deployed(**json.loads(ssm.get_parameter(Name=DEPLOYED_PARAMETER)["Parameter"]["Value"]))
    except (ssm.exceptions.ParameterNotFound, ValueError, TypeError):
        # A value of another version of these tools is none.
        return Deployed()


def _store(target: Target, deployed: Deployed) -> None:
    target.client("ssm").put_parameter(Name=DEPLOYED_PARAMETER, Value=json.dumps(asdict(deployed)), Type="String", Overwrite=True)


def _update_code(target: Target, changed: Sequence[Part]) -> None:
    if changed:
        with ui.stage("update code") as step:
            names = ", ".join(part.name for part in changed)
            step.detail = names
            step.detail = f"{names}: {code_update.update(target, changed, architecture())} functions"


def _deploy_stack(target: Target, chosen: dict[str, str], sources: str) -> None:
    log = targets.local_folder() / "deploy.log"
    log.write_text("")
    wheels = parts.host_wheels(target)
    _build(target, chosen, sha256(sources.encode()).hexdigest(), log, wheels)
    _deploy(target, chosen, log, build_folder(wheels))
    target.forget_stack()
    event_archive.ensure(target)
    webhook_secrets.ensure(target)
    api_responses.ensure(target)


def build_folder(wheels: Mapping[str, str]) -> Path:
    """Return the folder of a build. One with the wheels of this machine shares neither folder nor cache with those for Lambda."""
    return targets.local_folder() / ("host/build" if wheels else "build")


def build_for_containers(target: Target) -> None:
    """Build what Lambda containers run, where the deployed build is for this machine instead."""
    if parts.host_wheels(target):
        sources = parts.fingerprint(ROOT, (*STACK_SOURCES, "functions", "layers"))
        _build(target, parameters(target), sources, targets.local_folder() / "deploy.log", {})


def _build(target: Target, chosen: dict[str, str], sources: str, log: Path, wheels: Mapping[str, str]) -> None:
    folder = build_folder(wheels)
    mark = folder.with_suffix(".sha256")
    wanted = f"{sources} {chosen['Architecture']}"
    with ui.stage("sam build") as step:
        if (folder / "template.yaml").exists() and mark.exists() and mark.read_text() == wanted:
            step.detail = "unchanged"
            return
        mark.unlink(missing_ok=True)
        folder.parent.mkdir(exist_ok=True)
        _remove_caches()
        arguments = ["build", "--config-env", CONFIG[target.backend], "--build-dir", str(folder), "--parallel"]
        arguments += ["--cache-dir", str(folder.with_name("cache"))] if wheels else []
        for line in _sam(target, [*arguments, "--parameter-overrides", *_overrides(chosen)], log, BUILD_SECONDS, wheels):
            built = re.search(r"Building (?:codeuri|layer).*?(?:functions?: |layer ')([^']+)", line) or re.search(r"(build-\w+)", line)
            step.detail = built.group(1)[:50] if built else step.detail
        mark.write_text(wanted)
        step.detail = chosen["Architecture"]


def _remove_caches() -> None:
    """Remove Python's caches, which SAM would see as changed sources."""
    for folder in ("functions", "layers"):
        for cache in (ROOT / folder).rglob("__pycache__"):
            rmtree(cache, ignore_errors=True)


def _deploy(target: Target, chosen: dict[str, str], log: Path, folder: Path) -> None:
    with ui.stage("sam deploy") as step:
        target.client("s3").create_bucket(Bucket=ARTIFACTS)
        built = for_local_target(folder / "template.yaml", target.backend)
        if target.backend == "localstack":
            built = _expanded(target, built, chosen, log)
        arguments = [
            *("deploy", "--config-env", CONFIG[target.backend], "--stack-name", STACK, "--region", targets.REGION),
            *("--template-file", str(built), "--s3-bucket", ARTIFACTS),
            *("--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"),
            *("--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"),
            *("--parameter-overrides", *_overrides(chosen)),
            *("--tags", f"{marked.TAG}={marked.ALLOWED}"),
        ]
        done: set[str] = set()
        for line in _sam(target, arguments, log, DEPLOY_SECONDS):
            resource = re.match(r"(?:CREATE|UPDATE)_COMPLETE\s+AWS::\S+\s+(\w+)", line)
            done |= {resource.group(1)} if resource else set()
            step.detail = f"{len(done)} resources" if done else "uploading and planning"
        step.detail = f"{len(done)} resources changed" if done else "no change"


def _expanded(target: Target, built: Path, chosen: dict[str, str], log: Path) -> Path:
    """Upload the code and write the template with its serverless resources expanded.

    LocalStack resolves references before it expands the resources that some of them mean.
    """
    packaged, expanded = built.with_name("packaged.json"), built.with_name("expanded.json")
    arguments = ["package", "--template-file", str(built), "--s3-bucket", ARTIFACTS, "--use-json", "--output-template-file", str(packaged)]
    deque(_sam(target, [*arguments, "--region", targets.REGION, "--no-progressbar"], log, DEPLOY_SECONDS), maxlen=0)
    # sam accepts a nested stack's template at an address of S3 only, not at that of a local target.
    uploaded = packaged.read_text("utf-8").replace(f"{target.endpoint}/{ARTIFACTS}", f"https://s3.amazonaws.com/{ARTIFACTS}")
    expanded.write_text(json.dumps(expand(json.loads(uploaded), chosen)), "utf-8")
    return expanded


def for_local_target(built: Path, backend: str) -> Path:
    """Write the built template as a local target needs it, and return its path."""
    changed = built.with_name(f"{backend}.yaml")
    changed.write_text(json.dumps(localized(yaml_parse(built.read_text("utf-8")), backend)), "utf-8")
    return changed


def localized(template: Any, backend: str) -> dict[str, Any]:
    """Return a template as a local target needs it.

    Local targets use plain HTTP, so statements that deny it are removed, with policies that are empty then. They have no CodeDeploy,
    so an alias moves to its function's new version at once. LocalStack cannot update aliases, so callers invoke the functions
    themselves there.
    """
    if backend == "localstack":
        template = _without_aliases(template)
    resources = cast("dict[str, dict[str, Any]]", template["Resources"])
    template.get("Globals", {}).get("Function", {}).pop("DeploymentPreference", None)
    dropped: set[str] = set()
    for name, resource in list(resources.items()):
        policy = resource.get("Properties", {}).get("PolicyDocument")
        if policy:
            policy["Statement"] = [statement for statement in policy["Statement"] if not _requires_tls(statement)]
            if not policy["Statement"]:
                del resources[name]
                dropped.add(name)
        resource.get("Properties", {}).pop("DeploymentPreference", None)
        # Local targets do not name the function of a line in a shared log group, so each function has its own group.
        resource.get("Properties", {}).get("LoggingConfig", {}).pop("LogGroup", None)
        for statement in _own_statements(resource):
            _authorize_locally(statement)
    for resource in resources.values():
        if resource.get("DependsOn") in dropped:
            del resource["DependsOn"]
    return template


def _without_aliases(node: Any) -> Any:
    """Return a copy of a part of the template in which no function has an alias, and references to one mean the function."""
    match node:
        case {"Ref": str(name)} if name.endswith(".Alias"):
            return {"Fn::GetAtt": [name.removesuffix(".Alias"), "Arn"]}
        case dict():
            aliases = {"AutoPublishAlias", "AutoPublishAliasAllProperties", "VersionDeletionPolicy"}
            return {key: _without_aliases(value) for key, value in cast("dict[str, Any]", node).items() if key not in aliases}
        case list():
            return [_without_aliases(value) for value in cast("list[Any]", node)]
        case _:
            return node


def _requires_tls(statement: dict[str, Any]) -> bool:
    return statement.get("Effect") == "Deny" and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}


def _own_statements(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the statements that a function's own policies have."""
    if resource["Type"] == "AWS::Serverless::Function":
        for policy in resource["Properties"].get("Policies", ()):
            yield from policy.get("Statement", ())


def _authorize_locally(statement: dict[str, Any]) -> None:
    """Adapt a statement to the permissions that the emulator checks for the same calls (docs/fidelity.md)."""
    if "cloudwatch:DescribeAlarms" in statement.get("Action", ()):
        statement["Resource"] = "*"
    if "lambda:FunctionArn" in statement.get("Condition", {}).get("ArnLike", {}):
        del statement["Condition"]
        statement["Action"] = [*statement["Action"], "lambda:ListEventSourceMappings"]


def _overrides(chosen: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in chosen.items()]


def _sam(target: Target, arguments: Sequence[str], log: Path, limit: float, wheels: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield the lines that sam prints. Raises UserError when it fails or runs longer than `limit` seconds."""
    beside = Path(sys.executable).parent
    # The makefile builders look for the interpreter on the PATH.
    environment = (
        target.aws_environment()
        | dict(wheels or {})
        | {
            "PATH": f"{beside}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONUNBUFFERED": "1",
        }
    )
    # Wide tables do not break names; sam polls every five seconds by default.
    environment |= {"COLUMNS": "240", "SAM_CLI_POLL_DELAY": "0.5"}
    last: deque[str] = deque(maxlen=LAST_LINES)
    with (
        log.open("a") as file,
        subprocess.Popen(
            [str(beside / "sam"), *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        watchdog = Timer(limit, process.kill)
        watchdog.start()
        try:
            for line in process.stdout or ():
                file.write(line)
                last.append(line.rstrip())
                yield line.strip()
            failed = process.wait() != 0
        finally:
            watchdog.cancel()
            process.kill()
    if failed:
        ui.console.print("\n".join(f"    {line}" for line in last), style="dim")
        raise UserError(f"sam {arguments[0]} failed; the whole output is in .local/{log.name}")
