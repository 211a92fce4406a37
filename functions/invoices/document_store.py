"""The bucket of invoice documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class DocumentMissing(LookupError):
    """The bucket does not contain the document."""


class DocumentStore:
    """Stores and reads documents under order id and number, so a key never holds another document."""

    def __init__(self, bucket: str, client: S3Client) -> None:
        """Work on the S3 bucket named `bucket`."""
        self._bucket = bucket
        self._client = client

    def put(self, key: str, document: str) -> None:
        """Store an HTML document; storing it again changes nothing."""
        self._put(key, document)

    def _put(self, key: str, document: str, **condition: Any) -> None:
        self._client.put_object(
            Bucket=self._bucket,
            Key=key,
            Body=document.encode(),
            ContentType="text/html; charset=utf-8",
            CacheControl="private, no-store",
            ServerSideEncryption="AES256",
            **condition,
        )

    def restore(self, key: str, document: str) -> None:
        """Store an HTML document unless the bucket has it."""
        try:
            self._put(key, document, IfNoneMatch="*")
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "PreconditionFailed":
                raise

    def get(self, key: str) -> str:
        """Return a document.

        Raises:
            DocumentMissing: the document does not exist.
        """
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read().decode()
        except self._client.exceptions.NoSuchKey:
            raise DocumentMissing(key) from None


def document_key(order_id: str, number: str) -> str:
    """Return the key of a document of an order."""
    return f"{order_id}/{number}.html"
