"""A change of the feature flags reaches orders without deploying anything.

The test holds orders to a country that no other order of the suite goes to, so that all others on the stack go on as they do.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devtools.cli import UserError
from devtools.ops import flags
from devtools.ops.flags import Place
from orderflow.domain.events import OrderHeldForReview
from tests.integration.world import World, eventually

pytestmark = pytest.mark.needs("flags")

NOBODY_LIVES_THERE = "BV"
# What is remembered has to become too old, and AppConfig is asked every fifteen seconds at most.
REACHES_SECONDS = 90.0


@pytest.fixture
def place(world: World) -> Iterator[Place]:
    """Where the flags are, and are as they were in the end."""
    found = Place(world.target.client("appconfig"), world.target.resources)
    before = found.in_force().document
    yield found
    if found.in_force().document != before:
        found.deploy(before, at_once=True)


def _set(place: Place, changes: str) -> None:
    place.deploy(flags.changed(place.in_force().document, changes, place.schema()), at_once=True)


def test_orders_to_a_country_are_held_from_when_the_flag_is_set_until_it_is_not(world: World, place: Place) -> None:
    sku, placed_by = world.product(1000), dict[str, str]()

    def becomes(outcome: str, ship_to: str = NOBODY_LIVES_THERE) -> str:
        # Each by another customer: held orders count as unpaid, of which one may have a few only.
        customer = world.customer("flagged")
        order_id = world.buy(customer, sku, ship_to=ship_to, pay_from=ship_to)
        placed_by[order_id] = customer
        return order_id if world.outcome(customer, order_id) == outcome else ""

    assert becomes("confirmed")
    _set(place, f"hold_countries={NOBODY_LIVES_THERE}")

    held = eventually(lambda: becomes("held"), within=REACHES_SECONDS, what="an order is held")
    fact = world.log(held)[-1].data
    assert isinstance(fact, OrderHeldForReview)
    assert "hold_countries" in fact.reasons
    assert becomes("confirmed", ship_to="GB")

    _set(place, "hold_countries=")
    eventually(lambda: becomes("confirmed"), within=REACHES_SECONDS, what="an order goes on")
    assert world.outcome(placed_by[held], held) == "held"


def test_nonsense_is_refused_and_changes_nothing(place: Place) -> None:
    before = place.in_force()
    with pytest.raises(UserError, match="hold_score"):
        _set(place, "fraud.hold_score=-50")

    assert place.in_force() == before
