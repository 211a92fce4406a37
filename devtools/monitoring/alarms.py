"""The alarms of a deployed stack, in the order of the flow, and the groups in which they notify."""

from __future__ import annotations

from devtools import template
from devtools.monitoring import model
from devtools.monitoring.model import Alarm, Area, Group, Series, api, function, own, queue, workflow
from devtools.monitoring.service_levels import LEVELS
from orderflow.domain import metrics

STEPS = ("inventory-reserve", "fraud-screen", "payments-authorize", "orders-confirm")


def _dead_letters(identifier: str, area: Area, queue_name: str, meaning: str) -> Alarm:
    series = {"visible": queue(queue_name, "ApproximateNumberOfMessagesVisible")}
    return Alarm(identifier, area, "dead-letters", meaning, series, 0)


def _age(identifier: str, area: Area, queue_name: str, meaning: str, seconds: int) -> Alarm:
    series = {"oldest": queue(queue_name, "ApproximateAgeOfOldestMessage")}
    return Alarm(identifier, area, "queue-age", meaning, series, seconds)


def _one(
    identifier: str, area: Area, runbook: str, meaning: str, series: Series, *, above: float, period: int = 60, periods: int = 1
) -> Alarm:
    return Alarm(identifier, area, runbook, meaning, {"value": series}, above, period=period, periods=periods)


def _errors(identifier: str, area: Area, step: str, meaning: str) -> Alarm:
    return Alarm(identifier, area, "step-errors", meaning, {"value": function(step, "Errors")}, 10)


ORDERS = (
    _one(
        "ApiLatencyAlarm",
        model.ORDERS,
        "api-latency",
        "One request in a hundred takes longer than three seconds.",
        api("Latency", "p99"),
        above=3000,
        period=300,
        periods=3,
    ),
    Alarm(
        "NoOrdersAlarm",
        model.ORDERS,
        "no-orders",
        "Not one order was placed within an hour.",
        {"value": own(metrics.ORDERS_PLACED, "Sum")},
        1,
        period=3600,
        # An hour without orders has no data point, and CloudWatch evaluates the last order's for hours before it counts as missing.
        expression="FILL(value, 0)",
        comparison="LessThanThreshold",
        missing="breaching",
        condition="SellsAlways",
    ),
    Alarm(
        "ThrottlesAlarm",
        model.ORDERS,
        "throttles",
        "Lambda throttles the function that places orders, or the event stream refuses records.",
        {
            # The account's throttles count those of the webhooks as well, which are reserved few executions so that they reject a flood.
            "throttled": function("orders-place", "Throttles"),
            "refused": Series("AWS/Kinesis", "WriteProvisionedThroughputExceeded", "Sum", (("StreamName", "${StackName}-events"),)),
        },
        10,
        periods=3,
        expression="SUM([throttled, refused])",
    ),
    Alarm(
        "ReleaseApiFaultsAlarm",
        model.ORDERS,
        "release",
        "More than one request in 200 got a 5xx, in two minutes of three; a running release is rolled back.",
        {"value": api("5XXError", "Average")},
        0.005,
        periods=3,
        of=2,
    ),
    Alarm(
        "ReleaseStepErrorsAlarm",
        model.ORDERS,
        "release",
        "More than one attempt of saga steps in 100 failed, in two minutes of three; a running release is rolled back.",
        {f"e{number}": function(step, "Errors", live=True) for number, step in enumerate(STEPS, 1)}
        | {f"i{number}": function(step, "Invocations", live=True) for number, step in enumerate(STEPS, 1)},
        0.01,
        periods=3,
        of=2,
        expression="SUM([e1, e2, e3, e4]) / SUM([i1, i2, i3, i4])",
    ),
    _dead_letters("PublishDeadLettersAlarm", model.ORDERS, "publish-dead-letters", "Events of the order log were not published."),
    _one(
        "OrderLogOverwritesAlarm",
        model.ORDERS,
        "order-log-overwrites",
        "An event of the order log was overwritten or deleted; the log lines order_log_overwritten of orders-publish name it.",
        own(metrics.ORDER_LOG_OVERWRITES, "Sum", service="orders"),
        above=0,
    ),
    _one(
        "OverdueEventsAlarm",
        model.ORDERS,
        "overdue-events",
        "Events of sampled orders were not published within ten minutes.",
        own(metrics.OVERDUE_EVENTS, "Maximum", service="operations"),
        above=0,
        period=600,  # covers two runs of the job, of which one starts every five minutes
    ),
    _one(
        "OutboxLagAlarm",
        model.ORDERS,
        "stream-lag",
        "The publisher is a minute behind the order log.",
        function("orders-publish", "IteratorAge", "Maximum"),
        above=60_000,
        periods=3,
    ),
)
FULFILMENT = (
    _dead_letters("SagaDeadLettersAlarm", model.FULFILMENT, "saga-dead-letters", "Sagas could not be started."),
    _errors(
        "FraudScreenErrorsAlarm", model.FULFILMENT, "fraud-screen", "Orders cannot be screened; a running flag deployment is rolled back."
    ),
    _errors(
        "PaymentsAuthorizeErrorsAlarm",
        model.FULFILMENT,
        "payments-authorize",
        "Payments cannot be authorized; a running flag deployment is rolled back.",
    ),
    Alarm(
        "SagaFailedAlarm",
        model.FULFILMENT,
        "saga-failed",
        "Sagas fail or time out.",
        {"failed": workflow("fulfilment", "ExecutionsFailed"), "late": workflow("fulfilment", "ExecutionsTimedOut")},
        0,
        expression="SUM([failed, late])",
    ),
    _one(
        "StuckOrdersAlarm",
        model.FULFILMENT,
        "stuck-orders",
        "An order has been active for half an hour.",
        own(metrics.OLDEST_OPEN_ORDER_SECONDS, "Maximum", service="operations"),
        above=1800,
    ),
    _dead_letters("OperationsQueueAlarm", model.FULFILMENT, "operations", "A compensation failed and waits for an operator."),
)
MONEY = (
    _dead_letters("PaymentsSettleDeadLettersAlarm", model.MONEY, "payments-settle-dead-letters", "Due payment changes failed."),
    _age("PaymentsSettleAgeAlarm", model.MONEY, "payments-settle", "Due payment changes wait too long.", 900),
    _dead_letters(
        "PaymentsNoticeDeadLettersAlarm",
        model.MONEY,
        "payments-notice-dead-letters",
        "Webhook events of the payment provider could not be processed.",
    ),
    _age("PaymentsNoticeAgeAlarm", model.MONEY, "payments-notice", "Webhook events of the payment provider wait too long.", 2700),
    _one(
        "PaymentsWebhookFaultAlarm",
        model.MONEY,
        "webhook-faults",
        "The payment provider's webhook answers with 5xx.",
        function("payments-webhook", "Url5xxCount"),
        above=0,
        periods=2,
    ),
    _one(
        "PaymentsNeedAttentionAlarm",
        model.MONEY,
        "payments-need-attention",
        "A refund failed or exceeds its payment, a dispute does not fit its payment, or the provider reports an unknown status.",
        own(metrics.PAYMENTS_NEED_ATTENTION, "Sum", service="payments"),
        above=0,
        period=300,
    ),
    _one(
        "PaymentsDifferAlarm",
        model.MONEY,
        "payments-differ",
        "Payment provider and order log differ on a payment.",
        own(metrics.PAYMENTS_DIFFERENT, "Maximum", service="payments"),
        above=0,
        period=3600,
    ),
    _one(
        "LedgerDifferenceAlarm",
        model.MONEY,
        "ledger-difference",
        "The ledger is unbalanced or differs from the order log.",
        own(metrics.LEDGER_DIFFERENCES, "Sum", service="ledger"),
        above=0,
        period=3600,
    ),
    _one(
        "LedgerAuditLateAlarm",
        model.MONEY,
        "ledger-audit-late",
        "The ledger audit is hours behind.",
        own(metrics.LEDGER_UNPROVEN_SECONDS, "Maximum", service="ledger"),
        above=14_400,
        period=3600,
    ),
)
CONSUMERS = (
    _dead_letters(
        "InventorySettleDeadLettersAlarm",
        model.CONSUMERS,
        "inventory-settle-dead-letters",
        "Stock could not be synced with dispatches and returns.",
    ),
    _one(
        "StockDifferencesAlarm",
        model.CONSUMERS,
        "stock-differences",
        "Reserved stock differs from the reservations.",
        own(metrics.STOCK_DIFFERENCES, "Maximum", service="inventory"),
        above=0,
        period=3600,
    ),
    _dead_letters("ShippingRequestDeadLettersAlarm", model.CONSUMERS, "shipping-request-dead-letters", "Shipments could not be requested."),
    _age("ShippingRequestAgeAlarm", model.CONSUMERS, "shipping-request", "Shipment requests wait too long.", 600),
    _dead_letters(
        "ShippingRecordDeadLettersAlarm", model.CONSUMERS, "shipping-record-dead-letters", "Carrier events could not be recorded."
    ),
    _age("ShippingRecordAgeAlarm", model.CONSUMERS, "shipping-record", "Carrier events wait too long.", 900),
    _dead_letters("ShippingTrackDeadLettersAlarm", model.CONSUMERS, "shipping-track-dead-letters", "Parcel readings could not be stored."),
    _age("ShippingTrackAgeAlarm", model.CONSUMERS, "shipping-track", "Parcel readings wait too long.", 900),
    _one(
        "ShippingWebhookFaultAlarm",
        model.CONSUMERS,
        "webhook-faults",
        "The carrier's webhook answers with 5xx.",
        function("shipping-webhook", "Url5xxCount"),
        above=0,
        periods=2,
    ),
    _dead_letters(
        "ReviewRuleDeadLettersAlarm", model.CONSUMERS, "review-rule-dead-letters", "Reviews of held orders could not be started."
    ),
    _one(
        "ReviewFailedAlarm",
        model.CONSUMERS,
        "review-failed",
        "Review workflows fail, so their held orders get no decision or timeout.",
        workflow("review", "ExecutionsFailed"),
        above=0,
    ),
    _dead_letters("ReviewsCloseDeadLettersAlarm", model.CONSUMERS, "reviews-close-dead-letters", "Reviews could not be closed."),
    _dead_letters("MailDeadLettersAlarm", model.CONSUMERS, "mail-dead-letters", "Emails could not be sent."),
    _age("MailAgeAlarm", model.CONSUMERS, "mail", "Emails wait too long.", 600),
    # Volume is no consumer, but a change of it is investigated in the same way.
    Alarm(
        "OrderVolumeAlarm",
        model.CONSUMERS,
        "order-volume",
        "Far more or far fewer orders are placed than usual at this hour. No order at all is no data: NoOrdersAlarm, in prod alone, fires.",
        {"value": own(metrics.ORDERS_PLACED, "Sum")},
        0,
        period=900,
        periods=2,
        expression="ANOMALY_DETECTION_BAND(value, 4)",
        comparison="LessThanLowerOrGreaterThanUpperThreshold",
    ),
    _dead_letters("OrderViewDeadLettersAlarm", model.CONSUMERS, "order-view-dead-letters", "Order summaries could not be written."),
    _one(
        "OrdersProjectLagAlarm",
        model.CONSUMERS,
        "stream-lag",
        "The order view lags behind the table stream.",
        function("orders-project", "IteratorAge", "Maximum"),
        above=60_000,
        periods=3,
    ),
    _one(
        "EventStreamLagAlarm",
        model.CONSUMERS,
        "stream-lag",
        "A reader of the event stream is three minutes behind: stock sync, ledger, analytics or audit archive.",
        Series("AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds", "Maximum", (("StreamName", "${StackName}-events"),)),
        above=180_000,
        periods=3,
    ),
    _dead_letters("LedgerDeadLettersAlarm", model.CONSUMERS, "ledger-dead-letters", "Events could not be posted."),
    _dead_letters("InvoicesIssueDeadLettersAlarm", model.CONSUMERS, "invoices-issue-dead-letters", "Invoices could not be issued."),
    _dead_letters("LoyaltyAwardDeadLettersAlarm", model.CONSUMERS, "loyalty-award-dead-letters", "Loyalty points could not be updated."),
    _dead_letters("AnalyticsCountDeadLettersAlarm", model.CONSUMERS, "analytics-count-dead-letters", "Events could not be counted."),
    _dead_letters(
        "ScheduledJobsDeadLettersAlarm",
        model.CONSUMERS,
        "scheduled-jobs-dead-letters",
        "A scheduled job failed or could not be started.",
    ),
    _dead_letters(
        "RemediationDeadLettersAlarm",
        model.CONSUMERS,
        "remediation-dead-letters",
        "An alarm could not start its automatic remediation.",
    ),
    _one(
        "RemediationFailedAlarm",
        model.CONSUMERS,
        "remediation",
        "A remediation could not be reported.",
        workflow("remediation", "ExecutionsFailed"),
        above=0,
    ),
    _one(
        "AuditDelayAlarm",
        model.CONSUMERS,
        "audit-archive",
        "Events have waited for an hour to be archived.",
        Series("AWS/Firehose", "DeliveryToS3.DataFreshness", "Maximum", (("DeliveryStreamName", "${StackName}-audit"),)),
        above=3600,
        period=300,
    ),
    _one(
        "AuditErrorsAlarm",
        model.CONSUMERS,
        "audit-archive",
        "Events could not be archived, or were written to the folder of errors.",
        own("AuditDeliveryErrors", "Sum"),
        above=0,
        period=300,
    ),
)


def _of_other_consumers() -> tuple[Alarm, ...]:
    """Return an alarm for the dead-letter queue of each consumer of the template that has none above."""
    series = [one for alarm in (*ORDERS, *FULFILMENT, *MONEY, *CONSUMERS) for one in alarm.series.values()]
    watched = {value for one in series for _, value in one.dimensions}
    resources = template.source()["Resources"]
    queues = {name: one["Properties"]["QueueName"]["Fn::Sub"] for name, one in resources.items() if one["Type"] == "AWS::SQS::Queue"}
    return tuple(
        _dead_letters(f"{name}Alarm", model.CONSUMERS, short, f"Messages of {short.removesuffix('-dead-letters')} could not be processed.")
        for name, short in ((name, full.removeprefix("${AWS::StackName}-")) for name, full in queues.items())
        if short.endswith("-dead-letters") and f"${{StackName}}-{short}" not in watched
    )


def _group(identifier: str, meaning: str, alarms: tuple[Alarm, ...]) -> Group:
    [area] = {alarm.area for alarm in alarms}
    return Group(identifier, area.severity, meaning, alarms, tuple(level.pair for level in LEVELS if level.area == area))


GROUPS = (
    _group("OrdersPageAlarm", "Customers cannot place orders, or orders do not leave the log.", ORDERS),
    _group("FulfilmentPageAlarm", "Placed orders are not decided.", FULFILMENT),
    _group("MoneyPageAlarm", "Payments or the ledger are wrong.", MONEY),
    _group(
        "ConsumersTicketAlarm",
        "Stock, shipments, reviews, emails, invoices, order lists, figures or the archive need work.",
        (*CONSUMERS, *_of_other_consumers()),
    ),
)


def every_alarm() -> list[Alarm]:
    """Return all alarms, those of the service levels first."""
    return [*(window for level in LEVELS for window in level.windows), *(alarm for group in GROUPS for alarm in group.alarms)]
