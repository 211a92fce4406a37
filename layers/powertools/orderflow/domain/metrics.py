"""The metrics of the pipeline, and CloudWatch's embedded metric format. All of it is pure.

A function prints a measurement as one line of its log, and CloudWatch makes the metric of it: no call, no agent. A metric is billed
for each combination of its dimensions' values, $0.30 for a month with data in every hour (https://aws.amazon.com/cloudwatch/pricing/),
so dimensions are few and their values a short list. docs/metrics.md has the price of each.
"""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Of the values of a metric in one line
# (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
MAX_VALUES = 100
SERVICE = "service"

Unit = Literal["Count", "Seconds", "Milliseconds", "None"]


class Metric(NamedTuple):
    """A metric: its name, its unit, and the sets of dimensions under which CloudWatch aggregates it; () is without dimensions."""

    name: str
    unit: Unit
    dimensions: tuple[tuple[str, ...], ...] = ((),)


class Measurement(NamedTuple):
    """A value of a metric, with the values of its dimensions."""

    metric: Metric
    value: float
    labels: tuple[tuple[str, str], ...] = ()


_BY_SERVICE = ((SERVICE,),)

ORDERS_PLACED = Metric("OrdersPlaced", "Count")
# From placing, approval or cancellation request to the outcome of the saga.
ORDER_DECISION_SECONDS = Metric("OrderDecisionSeconds", "Seconds", ((), ("outcome",)))
SAGA_STEP_MILLISECONDS = Metric("SagaStepMilliseconds", "Milliseconds", (("step", "outcome"),))
PUBLICATION_LAG_SECONDS = Metric("PublicationLagSeconds", "Seconds")
OPEN_ORDERS = Metric("OpenOrders", "Count", _BY_SERVICE)
OLDEST_OPEN_ORDER_SECONDS = Metric("OldestOpenOrderSeconds", "Seconds", _BY_SERVICE)
# One value for each held order: its samples count them, its percentiles are their ages.
HELD_ORDER_SECONDS = Metric("HeldOrderSeconds", "Seconds")
STOCK_OUTS = Metric("StockOuts", "Count")
PARCEL_ALERTS = Metric("ParcelAlerts", "Count", (("cause",),))
# Minor units.
CAPTURED_AMOUNT = Metric("CapturedAmount", "None", (("currency",),))
REFUNDED_AMOUNT = Metric("RefundedAmount", "None", (("currency",),))
APPEND_CONFLICTS = Metric("AppendConflicts", "Count", _BY_SERVICE)
RETRIED_MESSAGES = Metric("RetriedMessages", "Count", _BY_SERVICE)
PROVIDER_MILLISECONDS = Metric("ProviderMilliseconds", "Milliseconds", (("operation",),))
PROVIDER_UNKNOWN_OUTCOMES = Metric("ProviderUnknownOutcomes", "Count")
WEBHOOK_REFUSALS = Metric("WebhookRefusals", "Count", ((SERVICE, "reason"),))
EMAIL_DELAY_SECONDS = Metric("EmailDelaySeconds", "Seconds")
ORDER_LOG_OVERWRITES = Metric("OrderLogOverwrites", "Count", _BY_SERVICE)
OVERDUE_EVENTS = Metric("OverdueEvents", "Count", _BY_SERVICE)
OLDEST_OVERDUE_EVENT_SECONDS = Metric("OldestOverdueEventSeconds", "Seconds", _BY_SERVICE)
STOCK_DIFFERENCES = Metric("StockDifferences", "Count", _BY_SERVICE)
REPAIRED_RESERVATIONS = Metric("RepairedReservations", "Count", _BY_SERVICE)
EXPIRED_RESERVATIONS = Metric("ExpiredReservations", "Count", _BY_SERVICE)
LEDGER_ENTRIES_AUDITED = Metric("LedgerEntriesAudited", "Count", _BY_SERVICE)
LEDGER_DIFFERENCES = Metric("LedgerDifferences", "Count", _BY_SERVICE)
LEDGER_UNPROVEN_SECONDS = Metric("LedgerUnprovenSeconds", "Seconds", _BY_SERVICE)
PAYMENTS_COMPARED = Metric("PaymentsCompared", "Count", _BY_SERVICE)
PAYMENTS_REPAIRED = Metric("PaymentsRepaired", "Count", _BY_SERVICE)
PAYMENTS_DIFFERENT = Metric("PaymentsDifferent", "Count", _BY_SERVICE)
PAYMENTS_NEED_ATTENTION = Metric("PaymentsNeedAttention", "Count", _BY_SERVICE)


def embedded(namespace: str, service: str, measurements: Iterable[Measurement], at_milliseconds: int) -> list[dict[str, Any]]:
    """Return the documents that carry measurements in the embedded metric format, as few as possible, for logs are billed by the byte.

    A document has at most `MAX_VALUES` values of a metric, and one value of a dimension. `at_milliseconds` is Unix time.
    """
    documents: list[dict[str, Any]] = []
    for dimensions, labels, values in _grouped(service, measurements):
        described = [{"Name": name, "Unit": unit} for name, unit in values]
        directive = {"Namespace": namespace, "Dimensions": dimensions, "Metrics": described}
        # One value stands alone, which Logs Insights reads as a number.
        fields = labels | {name: found[0] if len(found) == 1 else found for (name, _), found in values.items()}
        for document in documents:
            if all(document.get(name, value) == value for name, value in labels.items()) and not any(
                name in document for name, _ in values
            ):
                break
        else:
            document: dict[str, Any] = {"_aws": {"Timestamp": at_milliseconds, "CloudWatchMetrics": []}}
            documents.append(document)
        document["_aws"]["CloudWatchMetrics"].append(directive)
        document.update(fields)
    return documents


type _Values = dict[tuple[str, Unit], tuple[float, ...]]


def _grouped(service: str, measurements: Iterable[Measurement]) -> Iterator[tuple[tuple[tuple[str, ...], ...], dict[str, str], _Values]]:
    """Yield the sets of dimensions with their values, and the values of each metric below them, at most `MAX_VALUES` at once."""
    groups: dict[tuple[Any, ...], dict[tuple[str, Unit], list[float]]] = {}
    for (name, unit, dimensions), value, labels in measurements:
        groups.setdefault((dimensions, labels), {}).setdefault((name, unit), []).append(value)
    for (dimensions, labels), values in groups.items():
        named = dict(labels) | ({SERVICE: service} if any(SERVICE in one for one in dimensions) else {})
        cut = {metric: list(batched(found, MAX_VALUES, strict=False)) for metric, found in values.items()}
        for number in range(max(map(len, cut.values()))):
            yield dimensions, named, {metric: parts[number] for metric, parts in cut.items() if number < len(parts)}
