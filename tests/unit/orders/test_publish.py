"""The outbox: every event reaches the bus in order; malformed records are dead-lettered and block nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orderflow.aws import event_bus
from orderflow.aws.event_bus import MAX_BYTES, NotPublished
from orderflow.domain.events import STREAM_ONLY_EVENTS, Address, Customer, Line, OrderPlaced, TemperatureRange, encode
from orderflow.domain.money import Money
from orderflow.domain.order import Order
from orders.api_models import MAX_LINES
from orders.domain import pricing
from orders.handlers import publish
from orders.stream_publication import LAGS_EVERY, PublicationLags
from tests.conftest import ENVIRONMENT
from tests.fakes.aws.dynamodb import Crash
from tests.support import measured, orders, samples

if TYPE_CHECKING:
    from tests.fakes.aws.environment import Aws

type Lines = Callable[[], list[dict[str, Any]]]
DEAD_LETTERS = ENVIRONMENT["PUBLISH_DEAD_LETTERS_URL"]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bus.time, "sleep", lambda _: None)


def record(version: int = 1, *, padding: int = 0) -> Any:
    """Return a stream record of an order's event of this version, with `padding` extra bytes."""
    one = copy.deepcopy(samples.sample("orders/publish/appended")["Records"][0])
    document = json.loads(one["dynamodb"]["NewImage"]["event"]["S"])
    document |= {"order_version": version, "event_id": f"{document['order_id']}:{version}", "padding": "x" * padding}
    one["dynamodb"]["NewImage"]["event"]["S"] = json.dumps(document)
    one["dynamodb"]["Keys"]["version"] = {"N": str(version)}
    return one


def publish_all(context: Any, *records: Any) -> Any:
    return publish.handler({"Records": list(records)}, context)


def versions(aws: Aws) -> list[int]:
    return [detail["order_version"] for detail in aws.events.details]


def streamed(aws: Aws) -> list[int]:
    return [detail["order_version"] for detail in aws.kinesis.details]


def test_event_on_the_bus_equals_the_event_in_the_log(aws: Aws, context: Any) -> None:
    appended = samples.sample("orders/publish/appended")
    publish.handler(appended, context)
    images = [record["dynamodb"]["NewImage"] for record in appended["Records"]]
    for entry, image in zip(aws.events.entries, [image for image in images if image["type"]["S"] not in STREAM_ONLY_EVENTS], strict=True):
        event = json.loads(image["event"]["S"])
        assert entry["Detail"] == image["event"]["S"]
        assert (entry["EventBusName"], entry["Source"], entry["DetailType"]) == ("orders", event["source"], event["type"])
        assert entry["Time"].isoformat().replace("+00:00", "Z") == event["occurred_at"]


def test_late_report_is_published_with_its_recording_time() -> None:
    happened = orders.history(*orders.STATES["delivered"])[-1]
    late = replace(happened, recorded_at=happened.occurred_at + timedelta(days=3))
    message = publish.PUBLISHER.outbound_event(encode(late).decode())
    assert message.entry
    assert message.entry.get("Time") == late.recorded_at


def test_event_on_the_stream_equals_the_event_in_the_log(aws: Aws, context: Any) -> None:
    appended = samples.sample("orders/publish/appended")
    publish.handler(appended, context)
    images = [record["dynamodb"]["NewImage"] for record in appended["Records"]]
    assert {image["type"]["S"] for image in images} & STREAM_ONLY_EVENTS
    assert [(record["PartitionKey"], record["Data"].decode()) for record in aws.kinesis.records] == [
        (image["order_id"]["S"], image["event"]["S"]) for image in images
    ]


def test_call_to_the_stream_has_at_most_five_megabytes(aws: Aws, context: Any) -> None:
    publish_all(context, *(record(version, padding=200_000) for version in range(1, 31)))
    assert versions(aws) == list(range(1, 31))
    assert aws.kinesis.batches == [26, 4]


def test_refused_record_is_put_again_with_the_later_ones_of_its_order(aws: Aws, context: Any) -> None:
    aws.kinesis.refuse = {1}
    assert publish_all(context, record(1), record(2), record(3)) == {"published": 3}
    assert (versions(aws), streamed(aws)) == ([1, 2, 3], [1, 3, 2, 3])


def test_record_refused_in_every_attempt_fails_the_batch(aws: Aws, context: Any) -> None:
    # The numbers of the second record: a further attempt has the second and the third.
    aws.kinesis.refuse = {1, 3, 5, 7}
    with pytest.raises(NotPublished, match=r"1 of 2 .* ProvisionedThroughputExceededException"):
        publish_all(context, record(1), record(2), record(3))
    aws.kinesis.refuse = set()
    publish_all(context, record(1), record(2), record(3))
    assert set(streamed(aws)) == {1, 2, 3}


def test_other_attributes_are_not_published(aws: Aws, context: Any) -> None:
    publish.handler(samples.sample("orders/publish/appended"), context)
    text = json.dumps([aws.events.entries, aws.kinesis.records], default=str)
    assert "fingerprint" not in text


@pytest.mark.parametrize("count", [1, 10, 11, 25, 100])
def test_call_has_at_most_ten_entries_in_order(aws: Aws, context: Any, count: int) -> None:
    assert publish_all(context, *map(record, range(1, count + 1))) == {"published": count}
    assert versions(aws) == list(range(1, count + 1)) == streamed(aws)
    assert aws.kinesis.batches == [count]
    assert aws.events.batches == [10] * (count // 10) + [count % 10] * bool(count % 10)


def test_call_to_the_bus_has_at_most_256_kilobytes(aws: Aws, context: Any) -> None:
    publish_all(context, *(record(version, padding=60_000) for version in range(1, 11)))
    assert versions(aws) == list(range(1, 11))
    assert aws.events.batches == [4, 4, 2]


def test_entry_sizes_are_counted_in_bytes(aws: Aws, context: Any) -> None:
    wide = record()
    wide["dynamodb"]["NewImage"]["event"]["S"] = json.dumps(
        json.loads(wide["dynamodb"]["NewImage"]["event"]["S"]) | {"padding": "€" * 60_000}, ensure_ascii=False
    )
    publish_all(context, wide, wide)
    assert aws.events.batches == [1, 1]


def test_event_larger_than_the_bus_limit_is_dead_lettered(aws: Aws, context: Any) -> None:
    assert publish_all(context, record(1, padding=MAX_BYTES), record(2)) == {"published": 1}
    assert versions(aws) == [2]
    assert [message["error"] for message in aws.sqs.sent[DEAD_LETTERS]] == ["TooLarge"]


def test_empty_batch_calls_nothing(aws: Aws, context: Any) -> None:
    assert publish_all(context) == {"published": 0}
    assert not aws.events.calls


@pytest.mark.parametrize(("refused", "batches"), [({0}, [10, 1, 2]), ({3, 7}, [10, 2, 2]), ({11}, [10, 2, 1])])
def test_refused_entry_is_put_again_alone(aws: Aws, context: Any, refused: set[int], batches: list[int]) -> None:
    aws.events.refuse = refused
    assert publish_all(context, *map(record, range(1, 13))) == {"published": 12}
    assert sorted(versions(aws)) == list(range(1, 13))
    assert aws.events.batches == batches


@pytest.mark.parametrize("refused", [1, 2])
def test_entry_refused_in_every_attempt_fails_the_batch(aws: Aws, context: Any, refused: int) -> None:
    batch = [record(version) for version in range(1, 13)]
    aws.events.refuse = {*range(refused), *range(10, 20)}
    with pytest.raises(NotPublished, match=f"{refused} of {refused} .* ThrottlingException"):
        publish_all(context, *batch)
    aws.events.refuse = set()
    publish_all(context, *batch)
    assert set(versions(aws)) == set(range(1, 13)) == set(streamed(aws))


def test_crashed_publisher_publishes_again_and_loses_no_event(aws: Aws, context: Any) -> None:
    def crash(_name: str, _given: Any) -> None:
        raise Crash

    aws.events.after = crash
    with pytest.raises(Crash):
        publish_all(context, record(1), record(2))
    aws.events.after = None
    publish_all(context, record(1), record(2))
    assert (versions(aws), streamed(aws)) == ([1, 2, 1, 2], [1, 2])


@pytest.mark.parametrize("service", ["events", "kinesis"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_crash_at_the_second_put_of_a_refused_event_loses_no_event(aws: Aws, context: Any, service: str, moment: str) -> None:
    put = getattr(aws, service)

    def crash(operation: str, _given: Any) -> None:
        if put.calls[operation] == 2:
            raise Crash

    put.refuse = {1}
    setattr(put, moment, crash)
    with pytest.raises(Crash):
        publish_all(context, record(1), record(2), record(3))
    setattr(put, moment, None)
    assert publish_all(context, record(1), record(2), record(3)) == {"published": 3}
    assert set(versions(aws)) == set(streamed(aws)) == {1, 2, 3}


class TestPoison:
    def without(self, *path: str) -> Any:
        """Return a record without the member at this path."""
        broken = record(7)
        inner = broken
        for step in path[:-1]:
            inner = inner[step]
        del inner[path[-1]]
        return broken

    def with_document(self, document: str) -> Any:
        broken = record(7)
        broken["dynamodb"]["NewImage"]["event"]["S"] = document
        return broken

    def test_poison_record_is_dead_lettered_by_its_key(self, aws: Aws, context: Any) -> None:
        assert publish.handler(samples.sample("orders/publish/poison-among-good"), context) == {"published": 2}
        assert streamed(aws) == [1, 2]
        assert [(message["key"]["version"], message["error"]) for message in aws.sqs.sent[DEAD_LETTERS]] == [
            ({"N": "3"}, "UnknownEvent"),
            ({"N": "4"}, "DecodeError"),
        ]

    @pytest.mark.parametrize("path", [("dynamodb", "NewImage", "event"), ("dynamodb", "NewImage"), ("dynamodb",)])
    def test_record_without_an_event_is_dead_lettered(self, aws: Aws, context: Any, path: tuple[str, ...]) -> None:
        publish_all(context, record(1), self.without(*path), record(2))
        assert versions(aws) == [1, 2]
        assert len(aws.sqs.sent[DEAD_LETTERS]) == 1

    def test_contents_are_neither_dead_lettered_nor_logged(self, aws: Aws, context: Any, logged: Lines) -> None:
        secret = '{"type": "OrderPlaced", "email": "ann@example.com", "street": "1 High St"}'
        publish_all(context, self.with_document(secret))
        written = json.dumps([aws.sqs.sent, logged()])
        assert "ann@example.com" not in written
        assert "High St" not in written
        assert "ERROR" in {line["level"] for line in logged()}

    @pytest.mark.parametrize("document", ["", "null", "[]", '{"occurred_at": "yesterday"}'])
    def test_malformed_document_is_dead_lettered(self, aws: Aws, context: Any, document: str) -> None:
        assert publish_all(context, self.with_document(document)) == {"published": 0}
        assert len(aws.sqs.sent[DEAD_LETTERS]) == 1

    def test_batch_fails_when_the_dead_letter_queue_fails(self, aws: Aws, context: Any) -> None:
        def refuse(_name: str, _given: Any) -> None:
            raise ConnectionError

        aws.sqs.before = refuse
        with pytest.raises(ConnectionError):
            publish_all(context, self.with_document("null"), record(1))


class TestOverwritten:
    def changed(self, kind: str, **attributes: Any) -> Any:
        """Return a record of a changed or removed item."""
        one = record(2) | {"eventName": kind}
        one["dynamodb"]["NewImage"] |= attributes
        return one

    def test_overwritten_event_is_reported_and_not_published(
        self, aws: Aws, context: Any, logged: Lines, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert publish_all(context, record(1), self.changed("MODIFY"), record(3)) == {"published": 2}
        assert versions(aws) == streamed(aws) == [1, 3]
        (line,) = [line for line in logged() if line["level"] == "ERROR"]
        assert (line["message"], line["change"], line["key"]["version"]) == ("order_log_overwritten", "MODIFY", {"N": "2"})
        assert measured.values(capsys.readouterr().out)["OrderLogOverwrites"] == [1]

    def test_deleted_event_is_reported(self, aws: Aws, context: Any, logged: Lines) -> None:
        removed = self.changed("REMOVE")
        del removed["dynamodb"]["NewImage"]
        assert publish_all(context, removed) == {"published": 0}
        assert [line["message"] for line in logged() if line["level"] == "ERROR"] == ["order_log_overwritten"]
        assert not aws.sqs.calls

    def test_restored_event_is_neither_published_nor_reported(self, aws: Aws, context: Any, logged: Lines) -> None:
        restored = self.changed("INSERT", published={"BOOL": True})
        assert publish_all(context, record(1), restored) == {"published": 1}
        assert versions(aws) == streamed(aws) == [1]
        assert "ERROR" not in {line["level"] for line in logged()}

    @pytest.mark.parametrize("marker", [{"open_version": {"N": "3"}}, {"published": {"BOOL": True}}])
    def test_updated_marker_is_no_overwrite(self, aws: Aws, context: Any, logged: Lines, marker: dict[str, Any]) -> None:
        assert publish_all(context, self.changed("MODIFY", **marker)) == {"published": 0}
        assert "ERROR" not in {line["level"] for line in logged()}


@pytest.mark.parametrize("name", samples.names("orders/publish"))
def test_samples_have_their_answers(name: str, aws: Aws, context: Any) -> None:
    assert publish.handler(samples.sample(name), context) == samples.expected(name)


class TestLag:
    def test_lag_of_every_event_is_written_once_every_ten_seconds(
        self, aws: Aws, context: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(publish.PUBLICATION, "lags", PublicationLags())

        def lags(*records: Any) -> list[float]:
            publish_all(context, *records)
            return measured.values(capsys.readouterr().out).get("PublicationLagSeconds", [])

        assert len(lags(record(1), record(2))) == 2
        assert lags(record(3)) == []
        publish.PUBLICATION.lags.written_at -= LAGS_EVERY
        assert len(lags(record(4))) == 2
        assert len(lags(*(record(version) for version in range(5, 105)))) == 100

    def test_lag_counts_from_the_append(
        self, aws: Aws, context: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(publish.PUBLICATION, "lags", PublicationLags())
        one = record(1)
        document = json.loads(one["dynamodb"]["NewImage"]["event"]["S"])
        appended_at = datetime.now(UTC) - timedelta(seconds=7)
        document["occurred_at"] = appended_at.isoformat()
        document.pop("recorded_at", None)
        one["dynamodb"]["NewImage"]["event"]["S"] = json.dumps(document)
        publish_all(context, one)
        [lag] = measured.values(capsys.readouterr().out)["PublicationLagSeconds"]
        assert 7 <= lag < 20


def test_largest_order_fits_on_the_bus_and_into_every_queue() -> None:
    """An order of the most lines with the longest texts, in a script of which every character needs four bytes, and twelve in ASCII."""
    emoji = "\U0001f375"
    address = Address(emoji * 100, emoji * 200, emoji * 100, emoji * 20, "DE", street2=emoji * 200, region=emoji * 100)
    range_ = TemperatureRange(-1000, 1000)
    lines = [
        Line(f"{number:064}", emoji * pricing.MAX_NAME_LENGTH, 999, Money(pricing.MAX_PRICE, "EUR"), "c" * 64, range_)
        for number in range(MAX_LINES)
    ]
    customer = Customer("c" * 255, f"{'m' * 64}@{'d' * 189}")
    placed = OrderPlaced(customer, tuple(lines), Money(MAX_LINES * 999 * pricing.MAX_PRICE, "EUR"), address, "DE")
    document = encode(replace(orders.event(Order(order_id=orders.ORDER_ID), placed), correlation_id="x" * 64)).decode()
    assert len(json.dumps(json.loads(document))) < MAX_BYTES
