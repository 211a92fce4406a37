"""The embedded carrier: behaves as a real one, with a store of its own and test addresses.

| postal code of the address | what comes of it |
|---|---|
| `TIMEOUT-BEFORE` | the first request is lost without effect (CarrierTimeout), the next one succeeds |
| `TIMEOUT-AFTER` | the request takes effect, but its answer is lost (CarrierTimeout); the next one arrives |
| `UNAVAILABLE` | CarrierUnavailable, at every request |
| `RECALL-TIMEOUT-AFTER` | the recall takes effect, but its answer is lost (CarrierTimeout) |
| `RECALL-IMPOSSIBLE` | nothing can be stopped once it was requested |
| anything else | everything works |

Addresses are not stored, only a digest of the whole request. Every write names the revision that it
replaces, so of two concurrent requests one takes effect and the other sees what it made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import HTTPClientError
from msgspec import Struct

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
    """A consignment with the number of its revision; revision 0 is an id that nothing is known of."""

    consignment: Consignment | None = None
    revision: int = 0


class SandboxCarrier:
    """A Carrier on a DynamoDB table."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the table named `table`."""
        self._table = table
        self._client = client

    def request(self, shipment_id: str, lines: tuple[StockLine, ...], address: Address) -> Shipment:
        """Have lines brought to an address, as Carrier.request says."""
        if address.postal_code == rules.UNAVAILABLE:
            raise CarrierUnavailable
        before, after = self._change(shipment_id, StoredConsignment(), lambda known: rules.request(known, lines, address))
        return _answer(after, lost=address.postal_code == rules.TIMEOUT_AFTER and before is None)

    def recall(self, shipment_id: str) -> Shipment:
        """Stop what has not left, as Carrier.recall says."""
        before, after = self._change(shipment_id, self._read(shipment_id), rules.recall)
        return _answer(after, lost=before is not None and before != after and after.simulated_fault == rules.RECALL_TIMEOUT_AFTER)

    def look_up(self, shipment_id: str) -> Shipment | None:
        """Return the shipment as it stands now, as Carrier.look_up says."""
        return rules.shipment(self._read(shipment_id).consignment)

    def dispatch(self, shipment_id: str, parcel: Parcel) -> None:
        """Have a parcel leave: the carrier's own side, which no shop can ask for.

        Raises:
            CarrierRefused: the shipment does not hold these lines, or was recalled.
        """
        self._change(shipment_id, self._read(shipment_id), lambda known: rules.dispatch(known, parcel))

    def undispatched_lines(self, shipment_id: str) -> tuple[StockLine, ...]:
        """Return what has not left of a shipment, for the carrier's own side."""
        known = self._read(shipment_id).consignment
        return rules.undispatched_lines(known) if known else ()

    def _change(
        self, shipment_id: str, stored: StoredConsignment, decide: Callable[[Consignment | None], Consignment]
    ) -> tuple[Consignment | None, Consignment]:
        """Bring the consignment to what `decide` makes of it and return it as it was and as it is.

        `stored` may be a guess: a wrong one costs one refused write.

        Raises:
            CarrierTimeout: no answer from the store; the change may have taken effect.
            CarrierUnavailable: others changed the consignment first in every attempt.
        """
        for _ in range(_ATTEMPTS):
            after = decide(stored.consignment)
            if after == stored.consignment:
                return stored.consignment, after
            there = self._write(shipment_id, after, stored.revision)
            if there is None:
                return stored.consignment, after
            stored = there
        raise CarrierUnavailable

    def _read(self, shipment_id: str) -> StoredConsignment:
        try:
            answer = self._client.get_item(TableName=self._table, Key={"shipment_id": {"S": shipment_id}}, ConsistentRead=True)
        except HTTPClientError as lost:
            raise CarrierUnavailable from lost
        return _stored(answer["Item"]) if "Item" in answer else StoredConsignment()

    def _write(self, shipment_id: str, consignment: Consignment, revision: int) -> StoredConsignment | None:
        """Replace `revision` and return None, or return what is there when that is another revision."""
        item: dict[str, Any] = {
            "shipment_id": {"S": shipment_id},
            "revision": {"N": str(revision + 1)},
            "consignment": {"S": msgspec.json.encode(consignment).decode()},
        }
        try:
            self._client.put_item(TableName=self._table, Item=item, **_only_over(revision))
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            return _stored(refused.response["Item"])  # pyright: ignore[reportTypedDictNotRequiredAccess, reportGeneralTypeIssues]
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
        "ExpressionAttributeValues": {":revision": {"N": str(revision)}},
        **condition,
    }


def _stored(item: Any) -> StoredConsignment:
    return StoredConsignment(_decoder.decode(item["consignment"]["S"]), int(item["revision"]["N"]))
