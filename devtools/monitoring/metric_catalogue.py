"""The meaning, emitter and cost of each metric; `make observability` writes docs/metrics.md from it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import get_args

from devtools.target import ROOT
from orderflow.domain import metrics
from orderflow.domain.metrics import Metric
from orderflow.domain.order_state import ParcelCause

CONTEXTS_THAT_APPEND = ("orders", "inventory", "fraud", "payments", "shipping", "reviews", "invoices")
CONSUMERS = ("inventory", "payments", "shipping", "reviews", "invoices", "loyalty", "analytics", "notifications", "ledger", "orders")
STEP_OUTCOMES = {
    "reserve": ("reserved", "out_of_stock"),
    "screen": ("approved", "held", "refused"),
    "authorize": ("authorized", "declined"),
    "confirm": ("confirmed",),
    "record_failure": ("failing",),
    "recall": ("recalled",),
    "void": ("voided", "nothing_to_void"),
    "release": ("released",),
    "finalize": ("rejected", "cancelled"),
}


@dataclass(frozen=True)
class Described:
    """A metric, the function or context that records it, its meaning, and how many series a busy stack has of it."""

    metric: Metric
    by: str
    meaning: str
    values: tuple[int, ...] = (1,)

    @property
    def series(self) -> int:
        """How many combinations of dimension values are billed: those of the usual outcomes."""
        return sum(self.values)

    @property
    def dimensions(self) -> str:
        """The sets of dimensions, as the document prints them."""
        return "; ".join(", ".join(names) or "none" for names in self.metric.dimensions)


CATALOGUE = (
    Described(metrics.ORDERS_PLACED, "orders/place_order", "Orders that were placed."),
    Described(
        metrics.ORDER_DECISION_SECONDS,
        "the order log, at the append",
        "Time from placing, approval or cancellation request to `confirmed`, `held`, `rejected` or `cancelled`. Its sample count by "
        "`outcome` counts orders by outcome.",
        (1, 4),
    ),
    Described(
        metrics.SAGA_STEP_MILLISECONDS,
        "every step of the saga",
        "Duration of a step by its outcome; `fault` where it raised.",
        (sum(map(len, STEP_OUTCOMES.values())),),
    ),
    Described(metrics.PUBLICATION_LAG_SECONDS, "orders/publish", "Time from the append of an event to its publication."),
    Described(metrics.OPEN_ORDERS, "operations/recover_orders", "Active orders, each minute."),
    Described(metrics.OLDEST_OPEN_ORDER_SECONDS, "operations/recover_orders", "Age of the oldest active order, each minute."),
    Described(
        metrics.HELD_ORDER_SECONDS,
        "operations/recover_orders",
        "Age of each held order, every quarter of an hour: the sample count is their number, percentiles are their ages.",
    ),
    Described(metrics.STOCK_OUTS, "the order log, at the append", "Orders that could not be reserved."),
    Described(
        metrics.PARCEL_ALERTS,
        "the order log, at the append",
        "Alerts on the conditions of parcels by cause.",
        (len(get_args(ParcelCause)),),
    ),
    Described(metrics.CAPTURED_AMOUNT, "the order log, at the append", "Captured minor units by currency.", (2,)),
    Described(
        metrics.REFUNDED_AMOUNT, "the order log, at the append", "Refunded minor units by currency; the sample count counts refunds.", (2,)
    ),
    Described(
        metrics.APPEND_CONFLICTS,
        "the order log",
        "Appends that another writer preceded and that were decided again.",
        (len(CONTEXTS_THAT_APPEND),),
    ),
    Described(
        metrics.RETRIED_MESSAGES, "every consumer", "Messages that were received again, or sent to the retry queue.", (len(CONSUMERS),)
    ),
    Described(
        metrics.PROVIDER_MILLISECONDS, "payments/measured_provider", "Duration of a request to the payment provider by operation.", (5,)
    ),
    Described(metrics.PROVIDER_UNKNOWN_OUTCOMES, "payments/measured_provider", "Requests whose outcome is unknown."),
    Described(
        metrics.WEBHOOK_REFUSALS,
        "payments/receive_webhook, shipping/receive_webhook",
        "Refused webhooks by the kind of problem, such as `signature-invalid`.",
        (2 * 2,),
    ),
    Described(metrics.EMAIL_DELAY_SECONDS, "notifications/send_emails", "Time from the append of an event to its email."),
    Described(metrics.ORDER_LOG_OVERWRITES, "orders/publish", "Items of the order log that were overwritten or deleted."),
    Described(
        metrics.OVERDUE_EVENTS, "operations/publish_missing_events", "Events of sampled orders that were not published after ten minutes."
    ),
    Described(metrics.OLDEST_OVERDUE_EVENT_SECONDS, "operations/publish_missing_events", "Age of the oldest of them."),
    Described(metrics.STOCK_DIFFERENCES, "inventory/reconcile_stock", "Products whose reserved stock differs from their reservations."),
    Described(metrics.REPAIRED_RESERVATIONS, "inventory/reconcile_stock", "Outdated reservations that were repaired."),
    Described(metrics.EXPIRED_RESERVATIONS, "inventory/expire_reservations", "Reservations that expired."),
    Described(metrics.LEDGER_ENTRIES_AUDITED, "ledger/audit_ledger", "Journal entries that an audit compared with the order log."),
    Described(metrics.LEDGER_DIFFERENCES, "ledger/audit_ledger", "Differences that an audit found."),
    Described(metrics.LEDGER_UNPROVEN_SECONDS, "ledger/audit_ledger", "How far the audit is behind, from two hours on."),
    Described(
        metrics.PAYMENTS_COMPARED, "payments/reconcile_payments", "Payments that the nightly reconciliation compared with the provider."
    ),
    Described(metrics.PAYMENTS_REPAIRED, "payments/reconcile_payments", "Payments that it repaired."),
    Described(metrics.PAYMENTS_DIFFERENT, "payments/reconcile_payments", "Payments that still differ afterwards."),
    Described(metrics.PAYMENTS_NEED_ATTENTION, "payments", "Alerts for an operator, such as a failed refund."),
)
# Counted from log lines by a metric filter: their names and meanings.
FILTERED = {
    "PlaceRequests": ("access log of the API", "Requests to `POST /orders`, with any answer."),
    "PlaceFaults": ("access log of the API", "Requests to `POST /orders` that were answered with 5xx."),
    "PlaceSlow": ("access log of the API", "Requests to `POST /orders` that were answered after three seconds or later."),
    "AuditDeliveryErrors": ("log of the audit archive", "Failed deliveries to the audit archive."),
}


def price() -> float:
    """Return the dollars of a custom metric in a month with data in every hour."""
    return tomllib.loads((ROOT / "devtools" / "prices.toml").read_text("utf-8"))["cloudwatch"]["metric_month"]


def month() -> float:
    """Return the dollars of all custom metrics in a month with data in every hour."""
    return price() * (sum(one.series for one in CATALOGUE) + len(FILTERED))


def document() -> str:
    """Return docs/metrics.md."""
    rows = [
        f"| `{one.metric.name}` | {one.metric.unit} | {one.dimensions} | {one.by} | {one.meaning} | {price() * one.series:.2f} |"
        for one in CATALOGUE
    ]
    rows += [f"| `{name}` | Count | none | {by} | {meaning} | {price():.2f} |" for name, (by, meaning) in FILTERED.items()]
    return _PAGE.format(price=price(), month=month(), rows="\n".join(rows), steps=", ".join(f"`{step}`" for step in STEP_OUTCOMES))


_PAGE = """# Metrics

<!-- written by `make observability` -->

The functions write metrics as log lines in CloudWatch's [embedded metric
format](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format.html), which costs no call. They
are in the namespace `OrderPipeline/<stack>`. `layers/powertools/orderflow/domain/metrics.py` defines them; a test compares code, this
page and the alarms.

The last column is the price of a month with data in every hour, at ${price:.2f} for each combination of dimension values; a metric
without data costs nothing. All together cost at most ${month:.2f}. Metrics of AWS services, such as Lambda's `Duration`, SQS's
`ApproximateAgeOfOldestMessage` or API Gateway's `5XXError`, are free.

| metric | unit | dimensions | recorded by | meaning | $ a month |
|---|---|---|---|---|--:|
{rows}

`service` is the context. Metrics of an appended event count once, because an append happens once; lags, delays and retries count
deliveries. A metric whose value is 0 is not written. The steps are {steps}.
"""
