"""The sandbox carrier: a carrier with its own table, whose test addresses simulate faults.

| postal code of the address | simulated behavior |
|---|---|
| `TIMEOUT-BEFORE` | the first request is lost without effect (CarrierTimeout); the next one succeeds |
| `TIMEOUT-AFTER` | the request takes effect, but its answer is lost (CarrierTimeout); the next answer arrives |
| `UNAVAILABLE` | every request raises CarrierUnavailable |
| `RECALL-TIMEOUT-AFTER` | the recall takes effect, but its answer is lost (CarrierTimeout) |
| `RECALL-IMPOSSIBLE` | a requested shipment cannot be recalled |
| any other | every request succeeds |

The table stores no address, only a digest of the request. Of two concurrent requests one takes effect and the other sees its
result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.sandbox_table import SandboxTable, Stored
from shipping.carrier import CarrierTimeout, CarrierUnavailable, Parcel, Shipment
from shipping.sandbox import rules
from shipping.sandbox.rules import SandboxShipment

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.domain.events import Address, StockLine


class SandboxCarrier:
    """A Carrier whose state is a DynamoDB table."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Use the table named `table`."""
        self._shipments = SandboxTable(
            table,
            client,
            SandboxShipment,
            key_name="shipment_id",
            document_name="consignment",
            unavailable=CarrierUnavailable,
            timeout=CarrierTimeout,
        )

    def request(self, shipment_id: str, lines: tuple[StockLine, ...], address: Address) -> Shipment:
        """Request a shipment, see Carrier.request."""
        if address.postal_code == rules.UNAVAILABLE:
            raise CarrierUnavailable
        before, after = self._shipments.change(shipment_id, lambda known: rules.request(known, lines, address), Stored())
        return _answer(after, lost=address.postal_code == rules.TIMEOUT_AFTER and before is None)

    def recall(self, shipment_id: str) -> Shipment:
        """Recall a shipment, see Carrier.recall."""
        before, after = self._shipments.change(shipment_id, rules.recall)
        return _answer(after, lost=before is not None and before != after and after.simulated_fault == rules.RECALL_TIMEOUT_AFTER)

    def look_up(self, shipment_id: str) -> Shipment | None:
        """Return the current shipment, see Carrier.look_up."""
        return rules.shipment(self._shipments.read(shipment_id).document)

    def dispatch(self, shipment_id: str, parcel: Parcel) -> None:
        """Dispatch a parcel. Only the carrier's own side does that.

        Raises:
            CarrierRefused: the shipment does not have these lines, or is recalled.
        """
        self._shipments.change(shipment_id, lambda known: rules.dispatch(known, parcel))

    def undispatched_lines(self, shipment_id: str) -> tuple[StockLine, ...]:
        """Return the shipment's lines that were not dispatched. Only the carrier's own side reads them."""
        known = self._shipments.read(shipment_id).document
        return rules.undispatched_lines(known) if known else ()


def _answer(stored: SandboxShipment, *, lost: bool) -> Shipment:
    shipment = rules.shipment(stored)
    if shipment is None or lost:
        raise CarrierTimeout
    return shipment
