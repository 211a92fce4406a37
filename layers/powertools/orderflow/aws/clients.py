"""AWS clients: one per service and process. All retries together finish before the functions' timeouts.

botocore is used directly because boto3 on top of it only costs import time here.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, overload

from botocore.config import Config
from botocore.session import get_session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ses import SESClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

_session = get_session()
# As many calls at once as `orderflow.aws.parallel` makes; a connection is only made when it is needed.
CONNECTIONS = 16
_config = Config(
    connect_timeout=1,
    read_timeout=2,
    max_pool_connections=CONNECTIONS,
    retries={"mode": "standard", "total_max_attempts": 3},
    tcp_keepalive=True,
)
# SES cannot distinguish a retry from a second email: no retries, and a longer timeout.
_once = Config(
    connect_timeout=1,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 1},
    tcp_keepalive=True,
)
# An order waits briefly for the feature flags and continues without them.
_briefly = Config(
    connect_timeout=0.5,
    read_timeout=0.5,
    retries={"mode": "standard", "total_max_attempts": 1},
    tcp_keepalive=True,
)
_configs = {"ses": _once, "appconfigdata": _briefly}
# How long an unused connection is good for, of a client without retries: "Lambda purges idle connections over time. Attempting to reuse an
# idle connection when invoking a function will result in a connection error"
# (https://docs.aws.amazon.com/lambda/latest/dg/best-practices.html).
IDLE_SECONDS = 30


@overload
def client(service: Literal["appconfig", "appconfigdata", "cloudwatch", "codedeploy", "lambda", "logs"]) -> Any: ...
@overload
def client(service: Literal["dynamodb"]) -> DynamoDBClient: ...
@overload
def client(service: Literal["dynamodbstreams"]) -> Any: ...
@overload
def client(service: Literal["events"]) -> EventBridgeClient: ...
@overload
def client(service: Literal["kinesis"]) -> KinesisClient: ...
@overload
def client(service: Literal["s3"]) -> S3Client: ...
@overload
def client(service: Literal["secretsmanager"]) -> SecretsManagerClient: ...
@overload
def client(service: Literal["ses"]) -> SESClient: ...
@overload
def client(service: Literal["sns"]) -> SNSClient: ...
@overload
def client(service: Literal["sqs"]) -> SQSClient: ...
@overload
def client(service: Literal["stepfunctions"]) -> SFNClient: ...


@cache
def client(service: str) -> Any:
    """Return the process's client of an AWS service; endpoint and region come from the environment."""
    created = _session.create_client(service, config=_configs.get(service, _config))
    if service in _configs:
        _close_idle_connections(created)
    return created


def _close_idle_connections(created: Any) -> None:
    """Let a client connect again for a request after `IDLE_SECONDS` without one: without retries, a purged connection fails the request."""
    used_at = time.time()

    def close(**_: object) -> None:
        nonlocal used_at
        now = time.time()
        if now - used_at > IDLE_SECONDS:
            created.close()
        used_at = now

    created.meta.events.register("before-send", close)
