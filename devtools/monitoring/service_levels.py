"""The service levels: which share has to be good, and the two windows in which a burning budget raises an alarm."""

from __future__ import annotations

from dataclasses import dataclass

from devtools.monitoring import model
from devtools.monitoring.model import Alarm, Area, Series, own
from orderflow.domain import metrics

# At 14.4 times the rate that uses up the budget of 30 days exactly, an hour uses up 2 % of it
# (https://sre.google/workbook/alerting-on-slos/).
BURN = 14.4
DAYS = 30
# Fewer measurements in the long window than that say nothing about a share.
FEWEST = 10


@dataclass(frozen=True)
class Level:
    """A service level: `objective` per cent of the measurements of `series` have to be good.

    `bad` is the expression of the bad share in per cent, `count` the series of their number. A level is broken
    where the bad share of both windows, in seconds, burns; `short_alarms` are the ids of alarms that watch the short one already.
    """

    id: str
    title: str
    definition: str
    objective: float
    area: Area
    runbook: str
    series: dict[str, Series]
    bad: str
    count: str
    long: int = 3600
    short: int = 300
    short_alarms: tuple[str, ...] = ()
    fewest: int = FEWEST

    @property
    def threshold(self) -> float:
        """The bad share, in per cent, above which the budget burns too fast."""
        return round(BURN * (100 - self.objective), 3)

    @property
    def windows(self) -> tuple[Alarm, ...]:
        """The alarms of the long window and, unless others watch it, of the short one."""
        enough = f"IF({self.count} >= {self.fewest}, {self.bad}, 0)" if self.fewest > 1 else self.bad
        long = self._window("Long", self.long, enough)
        return (long,) if self.short_alarms else (long, self._window("Short", self.short, self.bad))

    @property
    def pair(self) -> tuple[Alarm, tuple[str, ...]]:
        """The alarm of the long window, and the ids of those of the short one."""
        return self.windows[0], self.short_alarms or (self.windows[1].id,)

    def _window(self, name: str, seconds: int, expression: str) -> Alarm:
        used = {key: series for key, series in self.series.items() if key in expression}
        return Alarm(
            f"{self.id}Burn{name}Alarm",
            self.area,
            self.runbook,
            f"{self.title}: more than {self.threshold:g} % were bad within {_written(seconds)}.",
            used,
            self.threshold,
            period=seconds,
            expression=expression,
        )


def _written(seconds: int) -> str:
    return {300: "five minutes", 3600: "an hour", 86_400: "a day"}[seconds]


def within(metric: metrics.Metric, seconds: int) -> dict[str, Series]:
    """Return the series of a level that asks for a duration: the share within it, and the number of measurements."""
    return {"good": own(metric, f"PR(:{seconds})"), "measured": own(metric, "SampleCount")}


LATE = "100 - good"

LEVELS = (
    Level(
        "OrdersAccepted",
        "Orders accepted",
        "Requests to `POST /orders` that are not answered with 5xx, counted at the API's access log, so that throttles and time-outs of "
        "the authorizer count as well.",
        99.9,
        model.ORDERS,
        "orders-accepted",
        {"requests": own("PlaceRequests", "Sum"), "faults": own("PlaceFaults", "Sum")},
        "100 * faults / requests",
        "requests",
    ),
    Level(
        "OrdersAnswered",
        "Orders answered in time",
        "Requests to `POST /orders` that are answered within 3 seconds: their p99, measured by API Gateway with authorizer and cold "
        "starts. `ApiLatencyAlarm` watches the p99 of all routes.",
        99,
        model.ORDERS,
        "orders-answered",
        {"requests": own("PlaceRequests", "Sum"), "slow": own("PlaceSlow", "Sum")},
        "100 * slow / requests",
        "requests",
    ),
    Level(
        "OrdersDecided",
        "Placed to decided",
        "Orders that are confirmed, held, rejected or cancelled within 30 seconds of their placing, approval or cancellation request. An "
        "order that is never decided has no measurement: `StuckOrdersAlarm` finds it.",
        99,
        model.FULFILMENT,
        "orders-decided",
        within(metrics.ORDER_DECISION_SECONDS, 30),
        LATE,
        "measured",
    ),
    Level(
        "EventsPublished",
        "Events published",
        "Events that are on stream and bus within 10 seconds of their append. An event that is never published has no measurement: "
        "`OutboxLagAlarm` and `OverdueEventsAlarm` find it.",
        99.9,
        model.ORDERS,
        "events-published",
        within(metrics.PUBLICATION_LAG_SECONDS, 10),
        LATE,
        "measured",
    ),
    Level(
        "EmailsSent",
        "Emails",
        "Emails that SES accepts within 2 minutes of the append of their event. An email that is never sent has no measurement: "
        "`MailAgeAlarm` and `MailDeadLettersAlarm` find it.",
        99,
        model.CONSUMERS,
        "emails-sent",
        within(metrics.EMAIL_DELAY_SECONDS, 120),
        LATE,
        "measured",
    ),
    Level(
        "MoneyAgrees",
        "Money agrees",
        "Journal entries and payments that agree: the hourly audit compares entries with the order log, the nightly reconciliation "
        "compares payments with the provider. Each single difference raises `LedgerDifferenceAlarm` or `PaymentsDifferAlarm` as well.",
        99.99,
        model.MONEY,
        "money-agrees",
        {
            "entries": own(metrics.LEDGER_ENTRIES_AUDITED, "Sum", service="ledger"),
            "wrong": own(metrics.LEDGER_DIFFERENCES, "Sum", service="ledger"),
            "payments": own(metrics.PAYMENTS_COMPARED, "Sum", service="payments"),
            "different": own(metrics.PAYMENTS_DIFFERENT, "Sum", service="payments"),
        },
        "100 * (FILL(wrong, 0) + FILL(different, 0)) / (FILL(entries, 0) + FILL(payments, 0))",
        "entries",
        long=86_400,
        short=3600,
        short_alarms=("LedgerDifferenceAlarm", "PaymentsDifferAlarm"),
        fewest=1,
    ),
)


def document() -> str:
    """Return docs/service-levels.md."""
    return _PAGE.format(
        burn=BURN,
        fewest=FEWEST,
        share=round(BURN / (DAYS * 24) * 100),
        levels="\n".join(_row(level) for level in LEVELS),
        sections="\n".join(_section(level) for level in LEVELS),
    )


def _row(level: Level) -> str:
    budget = (100 - level.objective) / 100 * DAYS * 24 * 60
    windows = f"{_written(level.long)}, {_written(level.short)}"
    limits = f"{level.objective:g} % | {budget:.0f} minutes | {windows} | {level.threshold:g} %"
    return f"| [{level.title}](#{level.runbook}) | {limits} | {level.area.severity} |"


def _section(level: Level) -> str:
    series = "\n".join(
        f"    {name} = {one.metric} {one.stat}" + "".join(f" {key}={value}" for key, value in one.dimensions)
        for name, one in level.series.items()
    )
    title = level.runbook.replace("-", " ").capitalize()
    alarms = " and ".join(f"`{name}`" for name in (level.windows[0].id, *level.pair[1]))
    return f"""## {title}

{level.definition}

{series}
    bad per cent = {level.bad}

{alarms}; [runbook](runbooks.md#{level.runbook}).
"""


_PAGE = """# Service levels

<!-- written by `make observability` -->

Six levels measure whether customers can buy. Each is a share of good results in 30 days; the rest is the error budget. An alarm fires
where the budget burns {burn:g} times as fast as it may, in a long and a short window at once: the long one keeps a single bad minute
from paging an operator, the short one ends the alarm soon after the cause. In an hour such a rate uses up {share} % of the month's budget.
Shares of fewer than {fewest} measurements in the long window do not count.

| level | objective | budget of 30 days | windows | bad share that burns | severity |
|---|--:|--:|---|--:|---|
{levels}

The budget is written as the time of a complete failure. `PR(:30)` is CloudWatch's percentile rank: the share of values up to 30. The
metrics are in the namespace `OrderPipeline/<stack>`, see [metrics](metrics.md); the dashboard `<stack>-business` draws each level.

{sections}"""
