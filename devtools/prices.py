"""List prices of AWS (devtools/prices.toml) by billed item."""

import tomllib
from pathlib import Path

from devtools.target import ROOT

PRICES = ROOT / "devtools" / "prices.toml"


def rates(path: Path = PRICES) -> dict[str, float]:
    """Return the dollars of one unit of each billed item."""
    prices: dict[str, dict[str, float]] = tomllib.loads(path.read_text("utf-8"))
    return {item: prices[service][price] / units for item, (service, price, units) in _PRICED.items()}


_ONE, _MILLION, _GB = 1, 1_000_000, 1024**3
# Item: the service and name of its price, and the units for which that price is.
_PRICED = {
    "API requests": ("api", "rest_requests_million", _MILLION),
    "bytes out": ("transfer", "out_gb", _GB),
    "invocations": ("lambda", "requests_million", _MILLION),
    "Lambda GB-seconds": ("lambda", "gb_second", _ONE),
    "snapshot GB-seconds": ("lambda", "snapshot_gb_second", _ONE),
    "DynamoDB write units": ("dynamodb", "write_units_million", _MILLION),
    "DynamoDB read units": ("dynamodb", "read_units_million", _MILLION),
    "events": ("events", "custom_events_million", _MILLION),
    "stream units": ("kinesis", "put_units_million", _MILLION),
    "stream shard hours": ("kinesis", "shard_hour", _ONE),
    "bytes archived": ("firehose", "ingested_gb", _GB),
    "bytes partitioned": ("firehose", "partitioned_gb", _GB),
    "Express requests": ("states", "express_requests_million", _MILLION),
    "Express GB-seconds": ("states", "express_gb_second", _ONE),
    "log bytes": ("logs", "ingested_gb", _GB),
    "X-Ray traces": ("xray", "traces_million", _MILLION),
    "SNS requests": ("sns", "requests_million", _MILLION),
    "SQS requests": ("sqs", "requests_million", _MILLION),
    "S3 PUT requests": ("s3", "put_requests_million", _MILLION),
    "S3 GET requests": ("s3", "get_requests_million", _MILLION),
    "Secrets Manager calls": ("secretsmanager", "calls_million", _MILLION),
    "AppConfig requests": ("appconfig", "requests_million", _MILLION),
    "emails": ("ses", "mails_million", _MILLION),
    "alarms, by metric": ("cloudwatch", "alarm_month", _ONE),
    "composite alarms": ("cloudwatch", "composite_alarm_month", _ONE),
    "dashboards": ("cloudwatch", "dashboard_month", _ONE),
    "KMS keys": ("kms", "key_month", _ONE),
    "KMS requests": ("kms", "requests_million", _MILLION),
    "secrets": ("secretsmanager", "secret_month", _ONE),
    "scheduler invocations": ("scheduler", "invocations_million", _MILLION),
    "web ACLs": ("waf", "acl_month", _ONE),
    "web ACL rules": ("waf", "rule_month", _ONE),
}
