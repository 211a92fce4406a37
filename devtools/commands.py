"""The commands of this project and their options: `make help`, `--help` and both parsers read them."""

import argparse

from devtools.options import Command, Option, arguments, port_number, positive_number, timestamp

TARGET = (
    Option("PORT", "port of the embedded emulator; by default the one that was started last", None, port_number, setting=True),
    Option("ENDPOINT", "URL of an emulator or LocalStack that is already up, such as http://127.0.0.1:4566", setting=True),
    Option("BACKEND", "kind of local target: embedded (the default) or localstack", choices=("embedded", "localstack"), setting=True),
)
STACK = Option("STACK", "name of a stack on AWS, reached with the credentials and region of the environment")
BACKENDS = Option(
    "BACKEND",
    "kind of target: embedded (the default), localstack, or aws: ENDPOINT as if it were AWS",
    "",
    choices=("embedded", "localstack", "aws"),
    setting=True,
)
ANYWHERE = (STACK, *TARGET[:2], BACKENDS)
CHROMIUM = Option("CHROMIUM", "path of the browser that takes the picture", setting=True)
RECORD = Option("RECORD", "write the result into docs/performance.md", flag=True)
CHECK = Option("CHECK", "write nothing; fail where the committed files are out of date", flag=True)

LOCAL, OPERATE, MEASURE, EXTEND, CONTRACTS = "Run locally", "Operate a stack", "Measure", "Extend", "Contracts and documents"

# The kinds of `make new`.
KINDS = ("consumer", "endpoint", "context")

_COMMANDS = (
    Command(
        "run",
        LOCAL,
        "devtools.local.demo",
        "Start the emulator, deploy, and follow an order of every outcome to its end",
        TARGET,
        daily=True,
    ),
    Command(
        "up",
        LOCAL,
        "devtools.local.up",
        "Start the emulator and deploy, without orders; afterwards deploy the changes",
        TARGET,
        daily=True,
    ),
    Command(
        "order",
        LOCAL,
        "devtools.local.order",
        "Place the order of a sample event and follow it",
        (
            Option("FILE", "sample event of API Gateway", required=True, example="events/orders/place_order/accepted.json"),
            Option("CUSTOMER", "customer who places it; on AWS the address of a user", "ann"),
            Option("KEY", "Idempotency-Key; a new one by default"),
            *ANYWHERE,
        ),
        daily=True,
    ),
    Command(
        "carrier",
        LOCAL,
        "devtools.local.carrier",
        "Act as the carrier of an order: dispatch, deliver, lose, return, readings",
        (
            Option("ORDER", "the order's id", required=True, example="ord_… DO=dispatch"),
            Option("DO", "the event", "dispatch", choices=("dispatch", "deliver", "lose", "return", "readings")),
            Option("LINES", "lines to dispatch, as SKU=1,OTHER=2; by default all remaining ones"),
            Option("PARCEL", "the parcel that is delivered, lost or measured; by default all of the order"),
            Option("RETURN", "the return that arrives at the warehouse, as ret_…"),
            Option("TEMPERATURE", "degrees Celsius of the readings, as 12.5: four within 90 minutes; without it, four of a refrigerator"),
            Option("AT", "when it happened, as 2026-11-23T09:00:00Z; by default now", "", timestamp),
            *ANYWHERE,
        ),
        daily=True,
        details="Signs each webhook event with the stack's secret and posts it to the stack's webhook, see docs/webhooks.md.",
    ),
    Command(
        "token",
        LOCAL,
        "devtools.local.token",
        "Print a bearer token for curl, valid for an hour",
        (Option("CUSTOMER", "customer whom the token names; on AWS the address of a user", "ann"), *ANYWHERE),
        daily=True,
    ),
    Command(
        "docs",
        LOCAL,
        "devtools.trial.api_page",
        "Serve the API's documentation in the browser, where each request can be tried",
        (Option("CUSTOMER", "customer who sends the requests, on a local stack", "ann"), *ANYWHERE),
        daily=True,
    ),
    Command("shop", LOCAL, "devtools.local.shop", "Serve an example shop in the browser for the local stack", TARGET, daily=True),
    Command(
        "user",
        OPERATE,
        "devtools.trial.user",
        "Create a user, or print a token of it: make user EMAIL=… TOKEN=1",
        (
            Option("EMAIL", "the user's address", required=True, example="ann@example.com"),
            Option("GROUP", "group of the user", choices=("reviewers", "staff")),
            Option("TOKEN", "print a token; on AWS it sets a new random password, so not on the stage prod", flag=True),
            *ANYWHERE,
        ),
        daily=True,
    ),
    Command(
        "verify-sender",
        OPERATE,
        "devtools.trial.verify_sender",
        "Ask SES to verify the address from which a stack sends emails",
        (Option("EMAIL", "the address", required=True, example="orders@your-domain.example"), *ANYWHERE),
    ),
    Command(
        "catalog",
        OPERATE,
        "devtools.ops.catalog",
        "Validate the products of a CSV file and put them into the catalogue",
        (
            Option("FILE", "CSV: sku,name,unit_price,currency,stock, optional columns as below", required=True, example="products.csv"),
            *ANYWHERE,
        ),
        daily=True,
        details=(
            "Prices are in minor units. Stock is set where a product has none, and never overwritten. Optional: category, active, and "
            "lowest_temperature with highest_temperature, the tenths of a degree Celsius that a product endures in transit."
        ),
    ),
    Command(
        "doctor",
        OPERATE,
        "devtools.ops.doctor",
        "Check an account before a deployment, and the stack after it",
        (Option("ENV", "environment of samconfig.toml; by default `default`", setting=True), *ANYWHERE),
        daily=True,
    ),
    Command(
        "smoke",
        OPERATE,
        "devtools.trial.smoke",
        "Check a stack with one order that is delivered and refunded, then clean up",
        (Option("PAYMENT", "token of the payment provider, for Stripe's test mode pm_card_visa", "tok_approved"), *ANYWHERE),
        daily=True,
    ),
    Command("stop", LOCAL, "devtools.local.stop", "Stop the emulators that these tools started", TARGET[:1], daily=True),
    Command(
        "invoke",
        LOCAL,
        "devtools.local.invoke",
        "Run every function with its sample events in Lambda containers (Docker)",
        daily=True,
    ),
    Command(
        "drill",
        LOCAL,
        "devtools.local.drill",
        "Break the local stack as runbooks expect it: alarm, runbook step, healthy again",
        (Option("DRILL", "consumer, poison, saga, provider, flag, release or stream; all without it"), *TARGET),
    ),
    Command(
        "trace",
        OPERATE,
        "devtools.ops.trace",
        "Show which event of an order caused which, with times and log lines",
        (Option("ORDER", "the order's id", required=True, example="ord_…"), *ANYWHERE),
        daily=True,
    ),
    Command(
        "logs",
        OPERATE,
        "devtools.ops.logs",
        "Print the functions' log lines in time order",
        (
            Option("FUNCTION", "part of a function's name; by default all functions"),
            Option("ORDER", "an order's id: only lines that name it"),
            Option("SINCE", "how many minutes to look back", 15, positive_number),
            Option("FOLLOW", "print new lines until Ctrl-C", flag=True),
            *ANYWHERE,
        ),
        daily=True,
    ),
    Command(
        "dashboard",
        OPERATE,
        "devtools.dashboard.command",
        "Serve a page with live plots of orders, revenue, best sellers and queues",
        (Option("OUT", "write this .html or .png file instead of serving"), CHROMIUM, *ANYWHERE),
        daily=True,
    ),
    Command(
        "sales",
        OPERATE,
        "devtools.ops.sales_report",
        "Show today's best sellers and the revenue by minute",
        ANYWHERE,
        daily=True,
    ),
    Command(
        "trial-balance",
        OPERATE,
        "devtools.ops.trial_balance",
        "Audit the ledger and print its trial balance; 1 where it does not add up",
        ANYWHERE,
        daily=True,
    ),
    Command(
        "redrive",
        OPERATE,
        "devtools.ops.redrive",
        "List the dead-letter queues, or redrive one: make redrive QUEUE=…",
        (
            Option("QUEUE", "the queue to redrive, as the list names it; without it the queues are listed"),
            Option("MAX", "how many messages at most", 100, positive_number),
            *ANYWHERE,
        ),
        daily=True,
    ),
    Command(
        "flags",
        OPERATE,
        "devtools.ops.flags",
        "Show the feature flags, or change them: make flags SET='name=value …'",
        (
            Option("SET", "changes, as 'hold_every_order=true fraud.hold_score=40'; without a value the stack's parameter applies again"),
            Option("NOW", "deploy in one step, as on a local target, instead of gradually", flag=True),
            *ANYWHERE,
        ),
        daily=True,
    ),
    Command(
        "replay",
        OPERATE,
        "devtools.ops.replay",
        "Replay archived events to the rules that accept replays",
        (
            Option("FROM", "start, a time such as 2026-11-21T12:00:00Z, or how long ago: 90s, 30m, 12h, 7d; by default the first event"),
            Option("TO", "end, in the same form; by default now"),
            Option("RULE", "logical id of the one rule to replay to; by default all that accept replays"),
            *ANYWHERE,
        ),
    ),
    Command(
        "restore",
        OPERATE,
        "devtools.ops.restore",
        "Restore a table from a point in time into an empty stack, see docs/restore.md",
        (
            Option("TABLE", "logical id of the table", required=True, example="OrderLog AT=2026-11-28T11:00:00Z"),
            Option("AT", "time to restore, such as 2026-11-28T11:00:00Z, or how long ago; by default the latest possible"),
            Option("SOURCE", "name of a table that is restored already, or of another stack"),
            Option("REPUBLISH", "publish the log's events from this time on again, in the form of AT"),
            Option("OVERWRITE", "replace rows of a table that is not empty, except the order log", flag=True),
            Option("ACTIVATE", "last step: let the saga continue with the orders that were active in SOURCE", flag=True),
            *ANYWHERE,
        ),
    ),
    Command(
        "rebuild",
        OPERATE,
        "devtools.ops.rebuild",
        "Rebuild every store that follows from the order log, see docs/restore.md",
        (
            Option("ALL", "rebuild every store", flag=True),
            Option("FROM", "source of the events", "log", choices=("log",)),
            Option("SEGMENTS", "how many parts of the log are fed at once; by default 4, locally 1", None, positive_number),
            *ANYWHERE,
        ),
    ),
    Command("rebuild-view", OPERATE, "devtools.ops.rebuild_view", "Rebuild the order view from the order log", ANYWHERE),
    Command(
        "erase",
        OPERATE,
        "devtools.ops.erase",
        "Erase a customer's user and the rows that no law keeps, see docs/privacy.md",
        (
            Option("CUSTOMER", "the customer's id, or the address of a user of the user pool", required=True, example="ann"),
            Option("CONFIRM", "delete them; without it they are counted", flag=True),
            *ANYWHERE,
        ),
    ),
    Command(
        "rollback-triggers",
        OPERATE,
        "devtools.ops.rollback_triggers",
        "Have CloudFormation roll a stack's update back when a release alarm fires",
        (STACK,),
    ),
    Command(
        "check-canary",
        OPERATE,
        "devtools.ops.check_canary",
        "Check the new versions of a running release; stop it where one is wrong",
        (Option("WAIT", "seconds to wait for new versions", 600, positive_number), STACK),
    ),
    Command(
        "check-sender",
        OPERATE,
        "devtools.ops.check_sender",
        "Check that SES has verified the sender of a deployment's emails",
        (Option("EMAIL", "the sender; by default the stack's, of a new stack the template's"), *ANYWHERE),
    ),
    Command(
        "audit",
        OPERATE,
        "devtools.ops.audit",
        "Query the archive of all events: make audit SQL='select …'",
        (
            Option("SQL", "a query of the tables archive and events, see docs/audit.md"),
            Option("QUERY", "name of one of the template's queries for Athena", "events-by-day"),
            Option("ORDER", "the order's id, for queries of one order"),
            Option("FROM", "first day of such a query, as 2026-11-01; by default 30 days up to the last"),
            Option("TO", "last day of such a query; by default today"),
            *ANYWHERE,
        ),
    ),
    Command(
        "audit-proof",
        OPERATE,
        "devtools.ops.audit_proof",
        "Verify that the archive has exactly the events of the order log",
        (Option("WAIT", "seconds to wait for events that are not delivered yet", 60, positive_number), *ANYWHERE),
    ),
    Command(
        "compare",
        OPERATE,
        "",
        "Compare a consumer with an earlier revision on captured events",
        (
            Option("FUNCTION", "logical id of the consumer", required=True, example="LedgerPost BASE=HEAD"),
            Option("BASE", "git revision to compare with", "HEAD"),
            Option("EVENTS", "file with an event a line; by default the events of the target's order log"),
            *ANYWHERE,
        ),
    ),
    Command(
        "compat",
        OPERATE,
        "",
        "Run a release before and the present one side by side on the same orders",
        (Option("FROM", "git revision of the release before; by default the newest tag v*, else where the branch started"),),
    ),
    Command("bench", MEASURE, "devtools.bench.command", "Measure cold start, latency and throughput", (RECORD,)),
    Command(
        "cost",
        MEASURE,
        "",
        "Compute the cost of a stack and of an order, compared with the last release",
        (
            Option("REASON", "state why costs grew since the last release, in devtools/costs.toml"),
            Option("RELEASE", "make the present costs those of release 1.2.3"),
            Option("CHECK", "fail where a cost grew by more than 5 % without a stated reason", flag=True),
            RECORD,
        ),
    ),
    Command(
        "idle-cost",
        MEASURE,
        "devtools.checks.idle_cost",
        "Itemize the cost of a month without orders, which is part of `make cost`",
        (Option("ENV", "environment of samconfig.toml; by default `default`", setting=True), RECORD),
    ),
    Command(
        "load",
        MEASURE,
        "",
        "Measure the pipeline with many orders, or many orders of one product",
        (
            Option("ORDERS", "how many orders", None, positive_number),
            Option("PRODUCTS", "how many products", 2000, positive_number),
            Option("TARGET", "where the orders are processed", "process", choices=("process", "emulator")),
            Option("HOT", "simulate orders of one product", flag=True),
            Option("INVOICES", "simulate the numbering of invoices", flag=True),
            Option("REBUILD", "rebuild every store from the order log and compare", flag=True),
            Option("PORT", "port of the emulator of TARGET=emulator; by default a free one", None, port_number),
            RECORD,
        ),
    ),
    Command(
        "new",
        EXTEND,
        "devtools.new.command",
        "Write a consumer, an endpoint or a context: make new consumer NAME=…",
        (
            Option("KIND", "kind of code to write; for make the word after new", choices=KINDS, positional=True),
            Option("NAME", "context/use_case, or of a new context its name"),
            Option("EVENTS", "events that the consumer gets, as OrderConfirmed,OrderCancelled"),
            Option("ROUTE", 'method and path of the endpoint, as "GET /tier"'),
        ),
        details="docs/extending.md shows each.",
    ),
    Command(
        "remove",
        EXTEND,
        "devtools.remove.command",
        "Remove a context with all that belongs to it: make remove CONTEXT=…",
        (Option("CONTEXT", "context to remove; without one, the command names those that can be removed"),),
        details="docs/extending.md lists the contexts and the tables that a deployed stack keeps.",
    ),
    Command(
        "contracts",
        CONTRACTS,
        "devtools.checks.contracts.command",
        "Write the events' schemas and docs/events.md; fail on incompatible changes",
        (Option("RELEASE", "make the present contracts release 1.2.3"), CHECK),
    ),
    Command("life", CONTRACTS, "", "Write the tables of docs/life.md: each command in each state of an order", (CHECK,)),
    Command("openapi", CONTRACTS, "devtools.checks.openapi.command", "Write the OpenAPI document from the API's models", (CHECK,)),
    Command("diagram", CONTRACTS, "devtools.checks.diagram", "Draw docs/resources.md from the template, one diagram per context", (CHECK,)),
    Command(
        "observability",
        CONTRACTS,
        "devtools.monitoring.command",
        "Write observability.yaml and the documents of metrics and alarms",
        (CHECK,),
    ),
    Command("lint-template", "", "devtools.checks.lint_template", "cfn-lint on the template, as written and as SAM expands it"),
    Command("lint-workflows", "", "devtools.checks.lint_workflows", "State machines: transitions lead somewhere, states are reached"),
    Command("lint-security", "", "devtools.checks.lint_security", "checkov on the template, as written and as SAM expands it"),
)
COMMANDS = {command.name: command for command in _COMMANDS}


def parsed(name: str, *words: str) -> argparse.Namespace:
    """Parse the options of a command by its name, for callers of a command's `main`."""
    return arguments(COMMANDS[name], words, {})
