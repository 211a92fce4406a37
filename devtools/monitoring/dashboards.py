"""The four dashboards: CloudWatch gets them with the stack, and `make dashboard` draws the same ones."""

from __future__ import annotations

from dataclasses import dataclass

from devtools.monitoring.model import Series, api, function, own, queue
from devtools.monitoring.service_levels import LEVELS, Level
from orderflow.domain import metrics

PERIOD = 300
CURRENCIES = ("EUR", "USD")
QUEUES = ("mail", "payments-settle", "payments-notice", "shipping-request", "shipping-record")
OTHERS = ("invoices-issue", "loyalty-award", "inventory-settle", "order-view", "ledger", "analytics-count")
DEAD_LETTERS = ("operations", *(f"{name}-dead-letters" for name in ("publish", "saga", "review-rule", "scheduled-jobs", *QUEUES, *OTHERS)))
STREAM_READERS = ("orders-publish", "orders-project", "inventory-settle", "ledger-post", "analytics-count")
STEPS = {"reserve": "reserved", "screen": "approved", "authorize": "authorized", "confirm": "confirmed"}
AWAITED = ("orders-place", "identity-authorize", "inventory-reserve", "fraud-screen", "payments-authorize", "orders-confirm")
BUSY = (*AWAITED, *STREAM_READERS)
# CloudWatch's free dashboards have at most so many metrics (https://aws.amazon.com/cloudwatch/pricing/).
MOST = 50


@dataclass(frozen=True)
class Line:
    """A line of a chart: a series, or an expression of several, which are named in it."""

    label: str
    series: dict[str, Series]
    expression: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart over time with its unit."""

    title: str
    unit: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Board:
    """A dashboard: `name` is the end of its name in CloudWatch; with `has_alarms` it also lists each alarm that is on."""

    name: str
    title: str
    charts: tuple[Chart, ...]
    has_alarms: bool = False


def _line(label: str, series: Series) -> Line:
    return Line(label, {"value": series})


def _level(level: Level) -> Line:
    used = {name: series for name, series in level.series.items() if name in level.bad}
    return Line(level.title, used, f"100 - ({level.bad})")


BUSINESS = Board(
    "business",
    "Business",
    (
        Chart("Service levels, good share", "%", tuple(_level(one) for one in LEVELS)),
        Chart(
            "Orders",
            "orders",
            (
                _line("requests to POST /orders", own("PlaceRequests", "Sum")),
                _line("placed", own(metrics.ORDERS_PLACED, "Sum")),
                _line("out of stock", own(metrics.STOCK_OUTS, "Sum")),
            ),
        ),
        Chart(
            "Orders by outcome",
            "orders",
            tuple(
                _line(outcome, own(metrics.ORDER_DECISION_SECONDS, "SampleCount", outcome=outcome))
                for outcome in ("confirmed", "held", "rejected", "cancelled")
            ),
        ),
        Chart(
            "From placed to decided",
            "seconds",
            tuple(_line(stat, own(metrics.ORDER_DECISION_SECONDS, stat)) for stat in ("p50", "p99")),
        ),
        Chart(
            "Held orders by age",
            "seconds",
            tuple(_line(stat, own(metrics.HELD_ORDER_SECONDS, stat)) for stat in ("p50", "p99")),
        ),
        Chart("From event to email", "seconds", tuple(_line(stat, own(metrics.EMAIL_DELAY_SECONDS, stat)) for stat in ("p50", "p99"))),
    ),
)
FLOW = Board(
    "flow",
    "Flow",
    (
        Chart(
            "Saga steps, p99",
            "ms",
            tuple(_line(step, own(metrics.SAGA_STEP_MILLISECONDS, "p99", step=step, outcome=outcome)) for step, outcome in STEPS.items()),
        ),
        Chart(
            "Active orders",
            "orders, seconds",
            (
                _line("active orders", own(metrics.OPEN_ORDERS, "Maximum", service="operations")),
                _line("age of the oldest", own(metrics.OLDEST_OPEN_ORDER_SECONDS, "Maximum", service="operations")),
            ),
        ),
        Chart("Publication lag", "seconds", tuple(_line(stat, own(metrics.PUBLICATION_LAG_SECONDS, stat)) for stat in ("p50", "p99"))),
        Chart(
            "Iterator age of stream readers", "ms", tuple(_line(name, function(name, "IteratorAge", "Maximum")) for name in STREAM_READERS)
        ),
        Chart("Age of the oldest message", "seconds", tuple(_line(name, queue(name, "ApproximateAgeOfOldestMessage")) for name in QUEUES)),
        Chart(
            "Dead letters",
            "messages",
            tuple(_line(name.removesuffix("-dead-letters"), queue(name, "ApproximateNumberOfMessagesVisible")) for name in DEAD_LETTERS),
        ),
        Chart(
            "Retried messages and conflicts",
            "messages",
            (
                *(
                    _line(f"{name} retries", own(metrics.RETRIED_MESSAGES, "Sum", service=name))
                    for name in ("notifications", "payments", "ledger")
                ),
                *(_line(f"{name} conflicts", own(metrics.APPEND_CONFLICTS, "Sum", service=name)) for name in ("orders", "payments")),
            ),
        ),
        Chart(
            "Concurrency of the account",
            "executions",
            (
                _line("concurrent executions", Series("AWS/Lambda", "ConcurrentExecutions", "Maximum")),
                _line("throttles", Series("AWS/Lambda", "Throttles", "Sum")),
            ),
        ),
        Chart("Errors of functions", "errors", tuple(_line(name, function(name, "Errors")) for name in AWAITED)),
        Chart(
            "Latency of the API",
            "ms",
            (
                *(_line(f"API {stat}", api("Latency", stat)) for stat in ("p50", "p99")),
                _line("orders-place p99", function("orders-place", "Duration", "p99")),
            ),
        ),
    ),
    has_alarms=True,
)
MONEY = Board(
    "money",
    "Money",
    (
        Chart(
            "Captured and refunded",
            "minor units",
            tuple(
                _line(f"{currency} {label}", own(metric, "Sum", currency=currency))
                for currency in CURRENCIES
                for label, metric in (("captured", metrics.CAPTURED_AMOUNT), ("refunded", metrics.REFUNDED_AMOUNT))
            ),
        ),
        Chart(
            "Payment provider, p99",
            "ms",
            tuple(
                _line(operation, own(metrics.PROVIDER_MILLISECONDS, "p99", operation=operation))
                for operation in ("authorize", "capture", "void", "refund", "look_up")
            ),
        ),
        Chart(
            "Cases for an operator",
            "cases",
            (
                _line("unknown outcomes", own(metrics.PROVIDER_UNKNOWN_OUTCOMES, "Sum")),
                _line("need attention", own(metrics.PAYMENTS_NEED_ATTENTION, "Sum", service="payments")),
                _line("payments that differ", own(metrics.PAYMENTS_DIFFERENT, "Sum", service="payments")),
                _line("ledger differences", own(metrics.LEDGER_DIFFERENCES, "Sum", service="ledger")),
            ),
        ),
        Chart(
            "Audited and compared",
            "entries, payments",
            (
                _line("journal entries", own(metrics.LEDGER_ENTRIES_AUDITED, "Sum", service="ledger")),
                _line("payments", own(metrics.PAYMENTS_COMPARED, "Sum", service="payments")),
                _line("payments repaired", own(metrics.PAYMENTS_REPAIRED, "Sum", service="payments")),
            ),
        ),
        Chart(
            "Refused webhooks",
            "requests",
            tuple(
                _line(f"{name}, signature", own(metrics.WEBHOOK_REFUSALS, "Sum", service=name, reason="signature-invalid"))
                for name in ("payments", "shipping")
            ),
        ),
    ),
)
COST = Board(
    "cost",
    "Cost",
    (
        Chart("Invocations", "invocations", tuple(_line(name, function(name, "Invocations")) for name in BUSY)),
        Chart(
            "Duration billed",
            "seconds",
            tuple(Line(name, {"value": function(name, "Duration")}, "value / 1000") for name in BUSY),
        ),
        Chart(
            "Log bytes",
            "bytes",
            tuple(
                _line(name, Series("AWS/Logs", "IncomingBytes", "Sum", (("LogGroupName", f"/aws/lambda/${{StackName}}-{name}"),)))
                for name in ("orders", "inventory", "fraud", "payments", "shipping", "ledger", "operations")
            ),
        ),
        Chart(
            "Capacity units of the order log",
            "units",
            tuple(
                _line(label, Series("AWS/DynamoDB", metric, "Sum", (("TableName", "${OrderLog}"),)))
                for label, metric in (("written", "ConsumedWriteCapacityUnits"), ("read", "ConsumedReadCapacityUnits"))
            ),
        ),
        Chart(
            "Event stream",
            "bytes",
            (_line("written", Series("AWS/Kinesis", "IncomingBytes", "Sum", (("StreamName", "${StackName}-events"),))),),
        ),
    ),
)
BOARDS = (BUSINESS, FLOW, MONEY, COST)
