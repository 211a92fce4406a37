"""The sandbox carrier: a carrier with its own table, whose test addresses simulate faults.

| postal code of the address | simulated behavior |
|---|---|
| `TIMEOUT-BEFORE` | the first request is lost without effect (CarrierTimeout); the next one succeeds |
| `TIMEOUT-AFTER` | the request takes effect, but its answer is lost (CarrierTimeout); the next answer arrives |
| `UNAVAILABLE` | every request raises CarrierUnavailable |
| `RECALL-TIMEOUT-AFTER` | the recall takes effect, but its answer is lost (CarrierTimeout) |
| `RECALL-IMPOSSIBLE` | a requested shipment cannot be recalled |
| any other | every request succeeds |

The table stores no address, only a digest of the request. Every write is conditional on the revision that it
replaces (optimistic lock), so of two concurrent requests one takes effect and the other sees its result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import HTTPClientError
from msgspec import Struct

from orderflow.aws import dynamodb
from shipping.carrier import CarrierTimeout, CarrierUnavailable, Parcel, Shipment
from shipping.sandbox import rules
from shipping.sandbox.rules import Consignment

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.domain.events import Address, StockLine

_ATTEMPTS = 10
_decoder = msgspec.json.Decoder(Consignment)


class StoredConsignment(Struct, frozen=True):
    """A consignment with its revision number; revision 0 is an unknown id."""

    consignment: Consignment | None = None
    revision: int = 0


class SandboxCarrier:
    """A Carrier whose state is a DynamoDB table."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Use the table named `table`."""
        self._table = table
        self._client = client

    def request(self, shipment_id: str, lines: tuple[StockLine, ...], address: Address) -> Shipment:
        """Request a shipment, see Carrier.request."""
        if address.postal_code == rules.UNAVAILABLE:
            raise CarrierUnavailable
        before, after = self._change(shipment_id, StoredConsignment(), lambda known: rules.request(known, lines, address))
        return _answer(after, lost=address.postal_code == rules.TIMEOUT_AFTER and before is None)

    def recall(self, shipment_id: str) -> Shipment:
        """Recall a shipment, see Carrier.recall."""
        before, after = self._change(shipment_id, self._read(shipment_id), rules.recall)
        return _answer(after, lost=before is not None and before != after and after.simulated_fault == rules.RECALL_TIMEOUT_AFTER)

    def look_up(self, shipment_id: str) -> Shipment | None:
        """Return the current shipment, see Carrier.look_up."""
        return rules.shipment(self._read(shipment_id).consignment)

    def dispatch(self, shipment_id: str, parcel: Parcel) -> None:
        """Dispatch a parcel. Only the carrier's own side does that.

        Raises:
            CarrierRefused: the shipment does not have these lines, or is recalled.
        """
        self._change(shipment_id, self._read(shipment_id), lambda known: rules.dispatch(known, parcel))

    def undispatched_lines(self, shipment_id: str) -> tuple[StockLine, ...]:
        """Return the shipment's lines that were not dispatched. Only the carrier's own side reads them."""
        known = self._read(shipment_id).consignment
        return rules.undispatched_lines(known) if known else ()

    def _change(
        self, shipment_id: str, stored: StoredConsignment, decide: Callable[[Consignment | None], Consignment]
    ) -> tuple[Consignment | None, Consignment]:
        """Replace the consignment by the result of `decide`, and return it before and after.

        `stored` may be a guess, which saves a read: a wrong guess costs one refused write.

        Raises:
            CarrierTimeout: the table did not answer; the change may have taken effect.
            CarrierUnavailable: every attempt lost against a concurrent change.
        """
        for _ in range(_ATTEMPTS):
            after = decide(stored.consignment)
            if after == stored.consignment:
                return stored.consignment, after
            current = self._write(shipment_id, after, stored.revision)
            if current is None:
                return stored.consignment, after
            stored = current
        raise CarrierUnavailable

    def _read(self, shipment_id: str) -> StoredConsignment:
        try:
            item = dynamodb.read_item(self._client, self._table, dynamodb.key(shipment_id=shipment_id))
        except HTTPClientError as lost:
            raise CarrierUnavailable from lost
        return _stored(item) if item else StoredConsignment()

    def _write(self, shipment_id: str, consignment: Consignment, revision: int) -> StoredConsignment | None:
        """Replace `revision` and return None, or return the stored consignment if it has another revision."""
        item = {
            "shipment_id": shipment_id,
            "revision": revision + 1,
            "consignment": msgspec.json.encode(consignment).decode(),
        }
        try:
            self._client.put_item(TableName=self._table, Item=dynamodb.encode_item(item), **_only_over(revision))
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            return _stored(dynamodb.stored_item(refused))
        except HTTPClientError as lost:
            raise CarrierTimeout from lost
        return None


def _answer(consignment: Consignment, *, lost: bool) -> Shipment:
    shipment = rules.shipment(consignment)
    if shipment is None or lost:
        raise CarrierTimeout
    return shipment


def _only_over(revision: int) -> dict[str, Any]:
    condition: dict[str, Any] = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    if revision == 0:
        return {"ConditionExpression": "attribute_not_exists(revision)", **condition}
    return {
        "ConditionExpression": "revision = :revision",
        "ExpressionAttributeValues": dynamodb.values(revision=revision),
        **condition,
    }


def _stored(item: Any) -> StoredConsignment:
    return StoredConsignment(_decoder.decode(item["consignment"]), item["revision"])
