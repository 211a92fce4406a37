"""Step of the remediation workflow: decides which action an alarm starts, if any."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from operations import redrive_routes, remediation
from operations.consumers import Consumers
from operations.dead_letter_reader import DeadLetterReader
from operations.domain.remediation import MAX_REDRIVEN
from operations.flag_deployments import FlagDeployments
from operations.releases import Releases
from operations.remediation import SituationReader
from operations.remediation_claims import Claims
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

STACK = settings.required("STACK")
QUEUES = settings.required("OPERATIONS_QUEUE_URL").removesuffix(redrive_routes.OPERATIONS)
CLAIMS = Claims(settings.required("REMEDIATIONS_TABLE"), client("dynamodb"))
MAPPINGS = msgspec.json.decode(settings.required("CONSUMERS"), type=dict[str, str])
CONSUMERS = Consumers(MAPPINGS, QUEUES, functions=client("lambda"), logs=client("logs"), sqs=client("sqs"))
SITUATIONS = SituationReader(
    alarms=client("cloudwatch"),
    flags=FlagDeployments.from_setting(settings.required("FLAGS"), client("appconfig")),
    consumers=CONSUMERS,
    dead_letters=DeadLetterReader(QUEUES, CONSUMERS, client("sqs")),
    releases=Releases(settings.optional("RELEASES", ""), client("codedeploy")),
)


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Return the decision on `event["alarm"]`, CloudWatch's event about it; for a redrive, with its request."""
    decision = remediation.decide(
        event["alarm"], event["execution"], stack=STACK, claims=CLAIMS, situations=SITUATIONS, now=datetime.now(UTC)
    )
    answer = msgspec.to_builtins(decision)
    if decision.outcome == "redrive" and decision.action:
        answer["redrive"] = {"queue": decision.action.target, "max": MAX_REDRIVEN, "once": True}
    return answer
