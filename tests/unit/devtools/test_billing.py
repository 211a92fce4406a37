"""The cost of an order: the part that each call belongs to, and its price."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from devtools.bench import page
from devtools.billing import bill, parts, usage
from devtools.billing.calls import Call
from devtools.billing.parts import CONFIRMED
from devtools.billing.units import Index, Meter, Schema
from devtools.billing.usage import Counted

LOG = Schema(("order_id", "version"), (Index(("open_shard", "open_since")),))
ENTRIES = Schema(("event_id",), (Index(("shard", "event_id"), whole=True), Index(("order_id", "event_id"), whole=True)))
POINTS = Schema(("customer_id",))
METER = {"log": LOG, "entries": ENTRIES, "points": POINTS, "SandboxPayments": POINTS}


def call(caller: str, service: str, operation: str, **parameters: Any) -> Call:
    return Call(service, operation, parameters, {}, caller)


def event(kind: str, source: str, **more: str) -> dict[str, Any]:
    """Return an entry of the bus."""
    detail = {"event_id": f"ord_1:{kind}", "type": kind, "source": source} | more
    return {"DetailType": kind, "Source": source, "Detail": json.dumps(detail)}


def record(kind: str, source: str, **more: str) -> dict[str, Any]:
    """Return an entry of the stream."""
    return {"PartitionKey": "ord_1", "Data": base64.b64encode(event(kind, source, **more)["Detail"].encode()).decode()}


def put(table: str, size: int, **attributes: str) -> dict[str, Any]:
    keys = {name: {"S": value} for name, value in attributes.items()}
    return {"TableName": table, "Item": keys | {"data": {"S": "x" * size}}}


class TestUnits:
    def test_put_writes_the_indexes_that_contain_the_item(self) -> None:
        meter = Meter(METER)
        assert meter.units(call("", "dynamodb", "PutItem", **put("log", 10, order_id="o", version="1"))) == (1.0, 0.0)
        indexed = put("log", 10, order_id="o", version="2", open_shard="1", open_since="t")
        assert meter.units(call("", "dynamodb", "PutItem", **indexed)) == (2.0, 0.0)

    def test_index_of_full_items_costs_as_much_as_the_item(self) -> None:
        written = put("entries", 1500, event_id="e", order_id="o", shard="s")
        assert Meter(METER).units(call("", "dynamodb", "PutItem", **written)) == (6.0, 0.0)

    def test_binary_attributes_count_their_stored_bytes(self) -> None:
        packed = put("entries", 0, event_id="e", order_id="o")
        packed["Item"]["packed"] = {"B": base64.b64encode(b"\0" * 1500).decode()}
        assert Meter(METER).units(call("", "dynamodb", "PutItem", **packed))[0] == 4.0

    def test_transaction_writes_tables_twice_and_indexes_once(self) -> None:
        update = {"TableName": "points", "Key": {"customer_id": {"S": "c"}}, "UpdateExpression": "ADD points :points"}
        items = [{"Put": put("entries", 10, event_id="e", order_id="o", shard="s")}, {"Update": update}]
        assert Meter(METER).units(call("", "dynamodb", "TransactWriteItems", TransactItems=items)) == (6.0, 0.0)

    def test_removing_an_item_from_an_index_is_a_write(self) -> None:
        key = {"order_id": {"S": "o"}, "version": {"N": "1"}}
        update = {"TableName": "log", "Key": key, "UpdateExpression": "REMOVE open_shard, open_since"}
        assert Meter(METER).units(call("", "dynamodb", "UpdateItem", **update)) == (2.0, 0.0)


class TestParts:
    def test_saga_steps_and_consumers_belong_to_their_parts(self) -> None:
        assert {parts.of_function(name) for name in ("OrdersPlace", "PaymentsAuthorize", "OrdersConfirm")} == {CONFIRMED}
        assert parts.of_function("PaymentsSettle") == "payments"
        assert parts.of_function("NotificationsMail") == parts.MAIL

    def test_publisher_is_shared_by_the_events_it_published(self) -> None:
        entries = [event("OrderConfirmed", "orders"), event("ShipmentRequested", "shipping"), event("OrderScreened", "fraud")]
        assert parts.published([call("OrdersPublish", "events", "PutEvents", Entries=entries)]) == pytest.approx(
            {CONFIRMED: 2 / 3, "shipping": 1 / 3}
        )

    def test_event_on_bus_and_stream_counts_once(self) -> None:
        both = call("OrdersPublish", "events", "PutEvents", Entries=[event("OrderConfirmed", "orders")])
        records = [record("OrderConfirmed", "orders"), record("ShipmentRequested", "shipping")]
        streamed = call("OrdersPublish", "kinesis", "PutRecords", Records=records)
        assert parts.published([both, streamed]) == pytest.approx({CONFIRMED: 1 / 2, "shipping": 1 / 2})


def counted(*calls: Call) -> Counted:
    result = Counted()
    usage.count_calls(calls, Meter(METER), result)
    return result


class TestCosts:
    def test_event_is_paid_by_its_producer(self) -> None:
        published = call("OrdersPublish", "events", "PutEvents", Entries=[event("OrderConfirmed", "orders")])
        assert counted(published).usage == {CONFIRMED: {"events": 1}}

    def test_stream_record_is_billed_per_25_kb(self) -> None:
        # With its key of five bytes: exactly one unit, and one byte more.
        [small, large] = [record("OrderConfirmed", "orders", filler="x" * (25 * 1024 - 5 - 96 + more)) for more in (0, 1)]
        assert len(base64.b64decode(small["Data"])) == 25 * 1024 - 5
        streamed = call("OrdersPublish", "kinesis", "PutRecords", Records=[small, large, record("StockReserved", "inventory")])
        assert counted(streamed).usage[CONFIRMED] == {"stream units": 4}
        assert [item.dollars for item in bill.bill({"stream units": 1})] == [pytest.approx(0.014)]

    def test_archive_is_billed_per_5_kb_and_for_partitioning(self) -> None:
        [small, large] = [record("OrderConfirmed", "orders", filler="x" * (5 * 1024 - 96 + more)) for more in (0, 1)]
        streamed = call("OrdersPublish", "kinesis", "PutRecords", Records=[small, large])
        assert counted(streamed).usage[parts.ARCHIVE] == {"bytes archived": 15 * 1024, "bytes partitioned": 10 * 1024 + 1}
        assert [item.dollars for item in bill.bill({"bytes archived": 1024**3}, 10**6)] == [pytest.approx(0.029)]

    def test_function_url_is_billed_for_its_transfer(self) -> None:
        result = Counted()
        usage.count_requests("shipping", 2, 60, result, by_url=True)
        usage.count_requests("orders", 2, 60, result, by_url=False)
        by_url, by_api = (result.usage[part] for part in ("shipping", "orders"))
        assert by_url == {"bytes out": 60, "X-Ray traces": pytest.approx(0.1)}
        assert by_api == {"bytes out": 60, "X-Ray traces": 0.02, "API requests": 2, "log bytes": 2 * usage.ACCESS_LINE}

    def test_trace_id_counts_on_lines_of_sampled_traces(self) -> None:
        trace = ',"xray_trace_id":"1-6b017a95-b3a90b35c44edb8c38275eaa"'
        plain, traced = '{"message":"done"}', f'{{"message":"done"{trace}}}'
        assert usage.logged([traced]) == pytest.approx(usage.logged([plain]) + usage.SAMPLED * len(trace))

    def test_store_of_the_sandbox_is_not_in_the_total(self) -> None:
        written = call("PaymentsSettle", "dynamodb", "PutItem", **put("SandboxPayments", 10, customer_id="c"))
        result = counted(written)
        assert result.usage[parts.PAYMENT_SANDBOX]["DynamoDB write units"] == 1
        assert result.total_usage() == {}

    def test_documents_and_secrets_have_prices(self) -> None:
        used = counted(call("InvoicesIssue", "s3", "PUT"), call("ShippingWebhook", "secretsmanager", "GetSecretValue")).total_usage()
        assert [(item.what, item.dollars) for item in bill.bill(used)] == [
            ("S3 PUT requests", pytest.approx(5.0)),
            ("Secrets Manager calls", pytest.approx(5.0)),
        ]

    def test_costs_of_contexts_add_up_to_the_total(self) -> None:
        published = call("OrdersPublish", "events", "PutEvents", Entries=[event("OrderConfirmed", "orders")])
        result = counted(published, call("InvoicesIssue", "s3", "PUT"))
        dollars = sum(sum(groups.values()) for groups in bill.by_part(result).values())
        assert dollars == pytest.approx(sum(item.dollars for item in bill.bill(result.total_usage())))


def test_writing_a_section_leaves_the_others_unchanged(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    page.write(page.HOT, "## Hot\n\n1", document)
    page.write(page.BENCH, "Measured.\n", document)
    page.write(page.HOT, "## Hot\n\n2", document)

    assert document.read_text() == f"# Performance\n\n{page.BENCH}\n\nMeasured.\n\n{page.HOT}\n\n## Hot\n\n2\n"


def test_binary_value_is_billed_by_size() -> None:
    packed = b"x" * 3000
    as_sent = base64.b64encode(packed).decode()
    for value in (packed, as_sent):
        put = {"TableName": "points", "Item": {"customer_id": {"S": "ann"}, "packed": {"B": value}}}
        assert Meter(METER).units(call("AnalyticsCount", "dynamodb", "PutItem", **put)) == (3.0, 0.0)
