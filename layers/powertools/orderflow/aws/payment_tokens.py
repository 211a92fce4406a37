"""The table PaymentTokens: the tokens of orders whose payment is neither authorized nor declined.

`place_order` writes a token together with the order's first event, and only `authorize_payment` may read it. It is deleted after
the provider's decision is recorded, or by `finalize_order`. The table has no stream and no backups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from orderflow.aws.dynamodb import encode_item, key, read_item
from orderflow.aws.observability import logger

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef


class TokenNotFound(LookupError):
    """No payment token is stored for this order: it was used, deleted, or has expired."""


class PaymentTokens:
    """Writes, reads and deletes payment tokens by order."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def put_request(self, order_id: str, token: str, expires_at: datetime) -> TransactWriteItemTypeDef:
        """Return the write that stores an order's token; DynamoDB may delete it after `expires_at` (UTC)."""
        item = {"order_id": order_id, "payment_token": token, "expires_at": int(expires_at.timestamp())}
        return {"Put": {"TableName": self._table, "Item": encode_item(item)}}

    def read(self, order_id: str) -> str:
        """Return the order's token.

        Raises:
            TokenNotFound: the order has no token, or it was deleted.
        """
        item = read_item(self._client, self._table, key(order_id=order_id))
        if item is None:
            raise TokenNotFound(order_id)
        return item["payment_token"]

    def delete(self, order_id: str) -> None:
        """Delete the order's token if there is one. A failure is only logged: the token expires on its own."""
        try:
            self._client.delete_item(TableName=self._table, Key=key(order_id=order_id))
        except (BotoCoreError, ClientError) as error:
            logger.warning("payment_token_not_deleted", order_id=order_id, error=type(error).__name__)
