"""Units of 20,000 products, which exceed one item, are added to the totals once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from analytics import store as stores
from analytics.domain import counting_rules
from analytics.items import RANGE_BYTES
from analytics.store import AnalyticsStore
from tests.fakes.aws.dynamodb import Crash, crash_at
from tests.fakes.aws.environment import Aws
from tests.unit.analytics.totals import store, units

PRODUCTS = tuple(f"SKU-{number:07}" for number in range(20_000))


def sell(aws: Aws, batch: int, units: counting_rules.Units, *, in_parallel: bool = False) -> counting_rules.Units:
    """Add units to the all-time totals as one batch."""
    if not in_parallel:
        return store(aws).add_units(batch, "all", units)
    with ThreadPoolExecutor(4) as pool:
        return AnalyticsStore("AnalyticsSums", aws.dynamodb.client, pool.map).add_units(batch, "all", units)


@pytest.mark.parametrize("in_parallel", [False, True])
def test_bulk_units_are_counted_in_small_items(aws: Aws, in_parallel: bool) -> None:
    sold = sell(aws, 1, {sku: {"cups": 2} for sku in PRODUCTS}, in_parallel=in_parallel)
    assert sold == units(aws)["products/all"] == {sku: {"cups": 2} for sku in PRODUCTS}
    assert max(len(item["packed"]["B"]) for item in aws.dynamodb.items("AnalyticsSums")) <= RANGE_BYTES


def test_cost_of_a_change_is_independent_of_the_product_count(aws: Aws) -> None:
    calls = []
    for batch, exist in enumerate((1000, 5000, 20_000)):
        sell(aws, 2 * batch + 1, {sku: {"": 1} for sku in PRODUCTS[:exist]})
        aws.dynamodb.calls.clear()
        sell(aws, 2 * batch + 2, {sku: {"": 1} for sku in PRODUCTS[:exist:999]})
        calls.append((aws.dynamodb.calls.total(), len(PRODUCTS[:exist:999])))
    assert all(made <= 2 * changed for made, changed in calls)


@pytest.mark.parametrize("in_parallel", [False, True])
def test_adding_a_batch_again_changes_nothing(aws: Aws, in_parallel: bool) -> None:
    sell(aws, 1, {sku: {"": 1} for sku in PRODUCTS[::2]})
    batch = {sku: {"": 5} for sku in PRODUCTS[:3000:3]}
    first = sell(aws, 2, batch, in_parallel=in_parallel)
    before = aws.dynamodb.items("AnalyticsSums")
    assert sell(aws, 2, batch, in_parallel=in_parallel) == first
    assert aws.dynamodb.items("AnalyticsSums") == before


@pytest.mark.parametrize("operation", ["PutItem", "TransactWriteItems"])
def test_partly_added_batch_is_completed(aws: Aws, operation: str) -> None:
    sell(aws, 1, {sku: {"": 1} for sku in PRODUCTS[:4000]})
    batch = {sku: {"": 1} for sku in PRODUCTS[1000:3000]} | {f"NEW-{number}": {"": 1} for number in range(3000)}
    wanted = units(aws)["products/all"]
    wanted |= {sku: counting_rules.sum_counters([wanted.get(sku, {}), sold]) for sku, sold in batch.items()}
    aws.dynamodb.after = crash_at(operation, call=1)
    with pytest.raises(Crash):
        sell(aws, 2, batch)
    aws.dynamodb.after = None
    assert units(aws)["products/all"] != wanted
    assert sell(aws, 2, batch) == {sku: wanted[sku] for sku in batch}
    assert units(aws)["products/all"] == wanted


def test_concurrent_workers_add_a_batch_once(aws: Aws) -> None:
    sell(aws, 1, {sku: {"": 1} for sku in PRODUCTS[:4000]})
    batch = {sku: {"": 1} for sku in PRODUCTS[::5]}

    def work() -> None:
        for _ in range(200):
            try:
                sell(aws, 2, batch)
            except stores.ConcurrentUpdate:
                continue
            return

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = units(aws)["products/all"]
    assert {sku for sku, sold in found.items() if sold == {"": 2}} == set(PRODUCTS[:4000:5])
    assert {sku for sku, sold in found.items() if sold == {"": 1}} == (set(PRODUCTS[:4000]) | set(batch)) - set(PRODUCTS[:4000:5])


def test_product_counts_in_each_category_it_was_sold_in(aws: Aws) -> None:
    sell(aws, 1, {"MUG": {"cups": 2}})
    assert sell(aws, 2, {"MUG": {"sets": 3}}) == {"MUG": {"cups": 2, "sets": 3}}
