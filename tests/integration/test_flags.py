"""Changed feature flags apply to orders without a deployment.

The test holds orders to a country that no other test ships to.
"""

from __future__ import annotations

import pytest

from devtools.cli import UserError
from devtools.ops import flags
from devtools.ops.flags import FlagStore
from orderflow.domain.events import OrderHeldForReview
from tests.integration.deployed_stack import DeployedStack, eventually

pytestmark = pytest.mark.needs("flags")

UNINHABITED = "BV"
# The cached flags must expire; functions poll AppConfig every fifteen seconds at most.
CACHE_SECONDS = 90.0


def _set(flag_store: FlagStore, changes: str) -> None:
    flag_store.deploy(flags.changed(flag_store.served().document, changes, flag_store.schema()), immediate=True)


def test_country_flag_holds_orders_until_it_is_removed(stack: DeployedStack, flag_store: FlagStore) -> None:
    sku, placed_by = stack.product(1000), dict[str, str]()

    def becomes(outcome: str, ship_to: str = UNINHABITED) -> str:
        # A new customer for each order: held orders count towards the unpaid limit.
        customer = stack.customer("flagged")
        order_id = stack.buy(customer, sku, ship_to=ship_to, pay_from=ship_to)
        placed_by[order_id] = customer
        return order_id if stack.outcome(customer, order_id) == outcome else ""

    assert becomes("confirmed")
    _set(flag_store, f"hold_countries={UNINHABITED}")

    held = eventually(lambda: becomes("held"), within=CACHE_SECONDS, what="an order is held")
    data = stack.log(held)[-1].data
    assert isinstance(data, OrderHeldForReview)
    assert "hold_countries" in data.reasons
    assert becomes("confirmed", ship_to="GB")

    _set(flag_store, "hold_countries=")
    eventually(lambda: becomes("confirmed"), within=CACHE_SECONDS, what="an order is confirmed")
    assert stack.outcome(placed_by[held], held) == "held"


def test_invalid_flag_value_is_refused(flag_store: FlagStore) -> None:
    before = flag_store.served()
    with pytest.raises(UserError, match="hold_score"):
        _set(flag_store, "fraud.hold_score=-50")

    assert flag_store.served() == before
