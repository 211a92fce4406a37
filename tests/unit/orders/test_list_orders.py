"""The order view: its projection, its pages, and its rebuild from the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from orderflow.domain.commands import RequestCancellation, decide
from orderflow.domain.order import Order, fold
from orders import summaries
from orders.domain import routed_events
from orders.handlers import list_orders, project, rebuild_view
from tests.fakes.aws.dynamodb import Crash, throttled
from tests.fakes.aws.environment import Aws
from tests.support import orders, runtime, samples
from tests.support.prepared import SAGA_STEPS, advance, place, prepare

FINISHED = {"batchItemFailures": []}
type Get = Callable[..., dict[str, Any]]


@pytest.fixture
def deliver(aws: Aws, context: Any) -> Callable[..., Any]:
    """Return a function that delivers an event of each order to the projection."""

    def send(*order_ids: str) -> Any:
        return project.handler(samples.order_batch(*order_ids), context)

    return send


@pytest.fixture
def get(aws: Aws, context: Any) -> Get:
    """Return a function that requests a page and decodes the answer's body."""

    def get_page(customer: str = "ann", **query: str) -> dict[str, Any]:
        event = samples.sample("orders/list_orders/first-page")
        event["queryStringParameters"] = query or None
        event["requestContext"]["authorizer"]["customer_id"] = customer
        answer = list_orders.handler(event, context)
        return {**answer, "body": json.loads(answer["body"])}

    return get_page


def ids(answer: dict[str, Any]) -> list[str]:
    return [order["order_id"] for order in answer["body"]["orders"]]


def id_of(number: int, customer: str = "") -> str:
    return "ord_" + f"{customer}{number:03}".zfill(26)


def place_orders(*order_ids: str, **order: Any) -> None:
    for order_id in order_ids:
        place(project.LOG, order_id, **order)


def displayed(aws: Aws, order_id: str) -> tuple[str, int]:
    (item,) = [item for item in aws.dynamodb.items("OrderView") if item["order_id"]["S"] == order_id]
    return item["state"]["S"], int(item["version"]["N"])


class TestSummary:
    @pytest.mark.parametrize("state", sorted(set(orders.STATES) - {"new"}))
    def test_summary_changes_only_with_projected_events(self, state: str) -> None:
        happened = orders.history(*orders.STATES[state])
        order = fold(orders.ORDER_ID, happened)
        before = summaries.row(order)
        for command in orders.COMMANDS.values():
            decided = decide(order, command)
            follows = orders.history(*orders.STATES[state], command)[len(happened) :] if isinstance(decided, tuple) else []
            is_projected = any(event.type in routed_events.PROJECT for event in follows)
            after = summaries.row(fold(orders.ORDER_ID, [*happened, *follows]))
            assert (after != before) is is_projected, command

    def test_summary_has_item_count_and_time_of_change(self) -> None:
        row = summaries.row(orders.after(*orders.CONFIRMED, orders.SHIP))
        assert (row.items, row.state, row.version) == (3, "confirmed", 5)
        assert (row.placed_at, row.updated_at) == (orders.START, orders.START + timedelta(seconds=4))

    def test_late_report_updates_the_summary_when_recorded(self) -> None:
        happened = orders.history(*orders.STATES["delivered"])
        now = orders.START + timedelta(days=3)
        late = replace(happened[-1], recorded_at=now)
        assert summaries.row(fold(orders.ORDER_ID, [*happened[:-1], late])).updated_at == now


class TestProjection:
    def test_projection_shows_the_current_order_for_any_event(self, aws: Aws, deliver: Any) -> None:
        prepare(project.LOG, "ord_1", *SAGA_STEPS)
        assert deliver("ord_1") == FINISHED
        assert displayed(aws, "ord_1") == ("confirmed", 5)

    def test_older_version_never_replaces_a_newer_one(self, aws: Aws, deliver: Any) -> None:
        """A slow worker reads the order before its confirmation and writes after a faster worker."""
        place_orders("ord_1")

        def confirmed_meanwhile(operation: str, _: Any) -> None:
            if operation == "PutItem":
                aws.dynamodb.before = None
                advance(project.LOG, "ord_1", *SAGA_STEPS)
                deliver("ord_1")

        aws.dynamodb.before = confirmed_meanwhile
        assert deliver("ord_1") == FINISHED
        assert displayed(aws, "ord_1") == ("confirmed", 5)

    def test_missing_order_is_retried_alone(self, aws: Aws, deliver: Any) -> None:
        place_orders("ord_1", "ord_2")
        assert deliver("ord_1", "ord_unknown", "ord_2") == {"batchItemFailures": [{"itemIdentifier": "message-2"}]}
        assert len(aws.dynamodb.items("OrderView")) == 2

    @pytest.mark.parametrize("name", samples.names("orders/project"))
    def test_samples_have_their_answers(self, name: str, aws: Aws, context: Any) -> None:
        for order_id in ("ord_0000000000projectconfirmed", "ord_00000000000projectreplayed"):
            prepare(project.LOG, order_id)
        assert project.handler(samples.sample(name), context) == samples.expected(name)


class TestPages:
    def test_customer_gets_own_orders_newest_first(self, deliver: Any, get: Get) -> None:
        place_orders("ord_1", "ord_2")
        place_orders("ord_3", customer="eve")
        deliver("ord_3", "ord_1", "ord_2")
        assert (ids(get()), ids(get("eve")), ids(get("new"))) == (["ord_2", "ord_1"], ["ord_3"], [])

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
    def test_paging_returns_every_order_once(self, deliver: Any, get: Get, count: int) -> None:
        names = [id_of(number) for number in range(count)]
        place_orders(*names)
        deliver(*names)
        seen: list[str] = []
        answer = get(limit="2")
        while True:
            assert len(ids(answer)) == 2 or "next" not in answer["body"]
            seen += ids(answer)
            if "next" not in answer["body"]:
                break
            answer = get(limit="2", cursor=answer["body"]["next"])
        assert seen == names[::-1]

    def test_new_order_between_two_pages_does_not_shift_them(self, deliver: Any, get: Get) -> None:
        names = [id_of(number) for number in range(3)]
        place_orders(*names)
        deliver(*names)
        first = get(limit="2")
        place_orders(id_of(3))
        deliver(id_of(3))
        assert ids(get(limit="2", cursor=first["body"]["next"])) == names[:1]

    def test_filter_returns_only_orders_of_the_state(self, deliver: Any, get: Get) -> None:
        names = [id_of(number) for number in range(6)]
        place_orders(*names)
        for name in names[::2]:
            advance(project.LOG, name, *SAGA_STEPS)
        deliver(*names)
        first = get(state="confirmed", limit="2")
        assert ids(first) == [names[4], names[2]]
        assert ids(get(state="confirmed", limit="2", cursor=first["body"]["next"])) == names[:1]
        assert ids(get(state="held")) == []

    def test_filtered_page_reads_a_bounded_number_of_rows(self, aws: Aws, deliver: Any, get: Get, monkeypatch: Any) -> None:
        monkeypatch.setattr("orders.summary_store._FILTERED_READ", 2)
        monkeypatch.setattr("orders.summary_store._MAX_READS", 3)
        names = [id_of(number) for number in range(15)]
        place_orders(*names)
        advance(project.LOG, names[0], *SAGA_STEPS)
        deliver(*names)
        aws.dynamodb.calls.clear()
        answer, pages = get(state="confirmed"), 1
        assert ids(answer) == []
        while "next" in answer["body"] and not ids(answer):
            assert aws.dynamodb.calls["Query"] == 3 * pages
            answer, pages = get(state="confirmed", cursor=answer["body"]["next"]), pages + 1
        assert ids(answer) == names[:1]

    @pytest.mark.parametrize("limit", ["0", "51", "-1", "1.5", "", "x", "٣", "1e1", "9" * 5000])
    def test_wrong_limit_is_a_problem(self, get: Get, limit: str) -> None:
        answer = get(limit=limit)
        assert (answer["statusCode"], answer["body"]["type"]) == (400, "urn:order-pipeline:problem:parameter-invalid")
        assert answer["body"]["field"] == "limit"

    @pytest.mark.parametrize("state", ["", "failing", "new", "Confirmed"])
    def test_internal_state_is_refused_as_a_filter(self, get: Get, state: str) -> None:
        answer = get(state=state)
        assert (answer["statusCode"], answer["body"]["field"]) == (400, "state")

    def test_cursor_is_valid_only_for_its_customer_and_filter(self, deliver: Any, get: Get) -> None:
        for customer in ("ann", "eve"):
            place_orders(*(id_of(number, customer) for number in range(3)), customer=customer)
        deliver(*(id_of(number, customer) for customer in ("ann", "eve") for number in range(3)))
        following = get(limit="1")["body"]["next"]
        for wrong in (get("eve", cursor=following), get(cursor=following, state="placed"), get(cursor=following[:-1]), get(cursor="")):
            assert (wrong["statusCode"], wrong["body"]["type"]) == (400, "urn:order-pipeline:problem:cursor-invalid")

    @pytest.mark.parametrize("name", samples.names("orders/list_orders"))
    def test_samples_have_their_answers(self, name: str, aws: Aws, context: Any) -> None:
        answer = list_orders.handler(samples.sample(name), context)
        wanted = samples.expected(name)
        if "body" in wanted:
            wanted["body"] = json.dumps(wanted["body"], separators=(",", ":"))
        assert samples.agrees(answer, wanted)


def rebuild_all(context: Any, milliseconds: int = 0) -> list[dict[str, Any]]:
    """Rebuild the view, one batch per call unless `milliseconds` allow more; return the answers."""
    context.get_remaining_time_in_millis = lambda: milliseconds
    answers: list[dict[str, Any]] = [{"next": {}}]
    while "next" in answers[-1]:
        answers.append(json.loads(json.dumps(rebuild_view.handler(answers[-1]["next"], context))))
    return answers[1:]


def expected_rows(aws: Aws) -> dict[str, tuple[str, int]]:
    found = {item["order_id"]["S"] for item in aws.dynamodb.items("OrderLog")}
    rows = {order_id: summaries.row(project.LOG.load(order_id)) for order_id in found}
    return {order_id: (row.state, row.version) for order_id, row in rows.items()}


def rows(aws: Aws) -> dict[str, tuple[str, int]]:
    return {item["order_id"]["S"]: (item["state"]["S"], int(item["version"]["N"])) for item in aws.dynamodb.items("OrderView")}


class TestRebuild:
    @pytest.fixture(autouse=True)
    def small_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("orders.view_rebuild.BATCH", 2)

    def test_rebuild_corrects_wrong_and_missing_rows(self, aws: Aws, deliver: Any, context: Any) -> None:
        names = [f"ord_{number}" for number in range(5)]
        place_orders(*names)
        deliver(*names)
        right = aws.dynamodb.items("OrderView")
        aws.dynamodb.seed("OrderView", {**right[0], "state": {"S": "returned"}, "version": {"N": "99"}})
        aws.dynamodb.seed("OrderView", {**right[1], "place": {"S": "nonsense"}})
        aws.dynamodb.client.delete_item(TableName="OrderView", Key={name: right[2][name] for name in ("customer_id", "place")})

        answers = rebuild_all(context)

        assert aws.dynamodb.items("OrderView") == right
        assert (answers[-1]["outcome"], sum(a["dropped"] for a in answers), sum(a["listed"] for a in answers)) == ("rebuilt", 5, 5)
        assert {answer["outcome"] for answer in answers[:-1]} == {"more"}

    def test_rebuild_with_enough_time_takes_one_call(self, aws: Aws, deliver: Any, context: Any) -> None:
        place_orders("ord_1", "ord_2", "ord_3")
        assert rebuild_all(context, 60_000) == [{"outcome": "rebuilt", "dropped": 0, "listed": 3}]

    @settings(max_examples=50)
    @given(data=st.data())
    def test_rebuild_amid_new_events_and_projections_ends_correct(self, data: st.DataObject) -> None:
        """Before any call of the rebuild, orders may get events and projections may write older or newer rows."""
        services = Aws()
        services.lend()
        names = [id_of(number) for number in range(6)]
        place_orders(*names[:3])
        pending = list[Order]()

        def append_an_event() -> None:
            name = data.draw(st.sampled_from(names))
            if not any(item["order_id"]["S"] == name for item in services.dynamodb.items("OrderLog")):
                place_orders(name)
            else:
                order = project.LOG.load(name)
                project.LOG.record(order, data.draw(st.sampled_from([RequestCancellation("customer"), orders.RESERVE])), source="tests")
            pending.append(project.LOG.load(name))

        def project_an_order() -> None:
            if pending:
                read_before = pending.pop(data.draw(st.integers(0, len(pending) - 1)))
                project.VIEW.put(summaries.row(read_before))

        def between(operation: str, _: Any) -> None:
            services.dynamodb.before = None
            for act in data.draw(st.lists(st.sampled_from([append_an_event, project_an_order]), max_size=2)):
                act()
            services.dynamodb.before = between

        services.dynamodb.before = between
        rebuild_all(runtime.context())
        services.dynamodb.before = None
        while pending:
            project_an_order()

        assert rows(services) == expected_rows(services)

    @pytest.mark.parametrize("operation", ["Scan", "DeleteItem", "Query", "PutItem"])
    @pytest.mark.parametrize("error", [Crash(), throttled("Any")])
    def test_failed_rebuild_call_can_be_repeated(self, aws: Aws, deliver: Any, context: Any, operation: str, error: BaseException) -> None:
        place_orders("ord_1", "ord_2", "ord_3")
        deliver("ord_1", "ord_2")
        for call in range(1, 4):
            seen = 0

            def fail(name: str, _: Any, call: int = call) -> None:
                nonlocal seen
                seen += name == operation
                if name == operation and seen == call:
                    raise error

            aws.dynamodb.before = fail
            with pytest.raises(type(error)):
                rebuild_all(context)
            aws.dynamodb.before = None
            rebuild_all(context)
            assert rows(aws) == expected_rows(aws)

    @pytest.mark.parametrize("name", samples.names("orders/rebuild_view"))
    def test_samples_have_their_answers(self, name: str, aws: Aws, context: Any) -> None:
        prepare(project.LOG, "ord_0000000000projectconfirmed")
        samples.assert_answer(rebuild_view.handler, name, context)
