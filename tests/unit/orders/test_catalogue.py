"""The catalogue reads products once and caches them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orderflow.aws.dynamodb import TransactionConflict
from orders import catalogue
from orders.catalogue import Catalogue
from orders.domain import pricing

if TYPE_CHECKING:
    from tests.fakes.aws.environment import Aws


class Clock:
    """A clock that the test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def products(shop: Aws, clock: Clock) -> Catalogue:
    return Catalogue("Catalogue", shop.dynamodb.client, 60, clock)


def reads(shop: Aws) -> int:
    return shop.dynamodb.calls["BatchGetItem"]


def test_found_and_missing_products_are_cached(products: Catalogue, shop: Aws) -> None:
    for _ in range(3):
        assert set(products.products(["MUG-BLUE", "NOPE", "MUG-BLUE"])) == {"MUG-BLUE"}
    assert reads(shop) == 1


@pytest.mark.parametrize(("length", "known"), [(pricing.MAX_NAME_LENGTH, True), (pricing.MAX_NAME_LENGTH + 1, False)])
def test_name_that_no_event_could_carry_is_not_for_sale(products: Catalogue, shop: Aws, length: int, known: bool) -> None:
    row = next(row for row in shop.dynamodb.items("Catalogue") if row["sku"]["S"] == "MUG-BLUE")
    shop.dynamodb.seed("Catalogue", {**row, "name": {"S": "\U0001f375" * length}})
    assert bool(products.products(["MUG-BLUE"])) == known


def test_only_missing_products_are_read(products: Catalogue, shop: Aws) -> None:
    products.products(["MUG-BLUE"])
    read_keys: list[Any] = []
    shop.dynamodb.before = lambda _, given: read_keys.append(given["RequestItems"]["Catalogue"]["Keys"])
    assert set(products.products(["MUG-BLUE", "FILTER-100"])) == {"MUG-BLUE", "FILTER-100"}
    assert read_keys == [[{"sku": {"S": "FILTER-100"}}]]


def test_new_price_applies_after_the_cache_expires(products: Catalogue, shop: Aws, clock: Clock) -> None:
    assert products.products(["MUG-BLUE"])["MUG-BLUE"].unit_price.amount == 1250
    row = next(row for row in shop.dynamodb.items("Catalogue") if row["sku"]["S"] == "MUG-BLUE")
    shop.dynamodb.seed("Catalogue", {**row, "unit_price": {"N": "1300"}})
    clock.now += 59.9
    assert products.products(["MUG-BLUE"])["MUG-BLUE"].unit_price.amount == 1250
    clock.now += 0.1
    assert products.products(["MUG-BLUE"])["MUG-BLUE"].unit_price.amount == 1300


def test_first_call_reads_also_with_a_clock_at_zero(products: Catalogue, clock: Clock) -> None:
    clock.now = 0.0
    assert set(products.products(["MUG-BLUE"])) == {"MUG-BLUE"}


def test_100_products_are_read_in_one_call(products: Catalogue, shop: Aws) -> None:
    assert len(products.products([f"SKU-{number:03}" for number in range(100)])) == 100
    assert reads(shop) == 1


def test_many_unknown_products_do_not_exhaust_the_cache(products: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_MAX_CACHED", 10)
    for number in range(30):
        found = products.products(["MUG-BLUE", *(f"NOPE-{number}-{part}" for part in range(4))])
        assert set(found) == {"MUG-BLUE"}
        assert len(products._known) <= 10


def test_least_recently_used_product_is_evicted_first(products: Catalogue, shop: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_MAX_CACHED", 10)
    skus = [f"SKU-{number:03}" for number in range(12)]
    for sku in skus[:10]:
        products.products([sku])
    products.products(skus[:1])
    products.products(skus[10:])
    shop.dynamodb.calls.clear()
    products.products([skus[0], *skus[3:]])
    assert reads(shop) == 0
    products.products([skus[1]])
    products.products([skus[2]])
    assert reads(shop) == 2


def test_order_larger_than_the_cache_is_priced(products: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_MAX_CACHED", 10)
    assert len(products.products([f"SKU-{number:03}" for number in range(50)])) == 50


class PartialReads:
    """A table that leaves all keys but one unprocessed in the first `times` reads."""

    def __init__(self, shop: Aws, times: int) -> None:
        self._shop = shop
        self._times = times

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> Any:  # noqa: N803 - botocore's name
        keys = RequestItems["Catalogue"]["Keys"]
        if not self._times:
            return self._shop.dynamodb.batch_get_item(RequestItems=RequestItems)
        self._times -= 1
        answer = self._shop.dynamodb.batch_get_item(RequestItems={"Catalogue": {"Keys": keys[:1]}})
        return {**answer, "UnprocessedKeys": {"Catalogue": {"Keys": keys[1:]}} if keys[1:] else {}}


def test_unprocessed_keys_are_read_again(shop: Aws) -> None:
    client: Any = PartialReads(shop, 2)
    skus = {"MUG-BLUE", "FILTER-100", "SKU-001", "SKU-002"}
    assert set(Catalogue("Catalogue", client, 60).products(skus)) == skus


def test_persistently_unprocessed_keys_raise(shop: Aws) -> None:
    client: Any = PartialReads(shop, 99)
    with pytest.raises(TransactionConflict):
        Catalogue("Catalogue", client, 60).products({f"SKU-{number:03}" for number in range(50)})
