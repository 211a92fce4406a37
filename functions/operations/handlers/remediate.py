"""Step of the remediation workflow: performs the decided action, unless it has a result already, and reports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from operations.flag_deployments import FlagDeployments
from operations.releases import Releases
from operations.remediation import Remedies
from operations.remediation_report import Reporter, Run
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.event_bus import EventBus
from orderflow.aws.event_stream import EventStream
from orderflow.aws.observability import instrumented

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

REMEDIES = Remedies(
    flags=FlagDeployments.from_setting(settings.required("FLAGS"), client("appconfig"), settings.required("FLAGS_STRATEGY")),
    functions=client("lambda"),
    releases=Releases(settings.optional("RELEASES", ""), client("codedeploy")),
)
REPORTER = Reporter(
    EventBus(settings.required("EVENT_BUS"), client("events")), EventStream(settings.required("EVENT_STREAM"), client("kinesis"))
)


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, str]:
    """Return the outcome, `performed`, `refused` or `failed`, and a line about it for operators."""
    run = msgspec.convert(event, Run)
    return REPORTER.report(run, run.result if run.result is not None else REMEDIES.perform(run.to_perform, run.alarm_name))
