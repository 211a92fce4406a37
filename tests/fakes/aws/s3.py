"""S3 in memory."""

from __future__ import annotations

import io
from typing import Any

from botocore.exceptions import ClientError

from tests.fakes.aws.dynamodb import Parameters
from tests.fakes.aws.service import FakeService


class FakeS3(FakeService):
    """The last version of each object, by bucket and key."""

    class exceptions:  # noqa: N801 - botocore's name
        """The modelled errors."""

        class NoSuchKey(Exception):
            """The object does not exist."""

    def __init__(self, attempts: int = 1) -> None:
        """Start with empty buckets."""
        super().__init__(attempts)
        self.objects: dict[tuple[str, str], bytes] = {}

    def put_object(self, **parameters: Any) -> dict[str, Any]:
        """Store an object, which must be encrypted."""
        return self._call("PutObject", parameters, lambda: self._put(parameters))

    def get_object(self, **parameters: Any) -> dict[str, Any]:
        """Return an object."""
        return self._call("GetObject", parameters, lambda: self._get(parameters))

    def _put(self, parameters: Parameters) -> dict[str, Any]:
        assert parameters["ServerSideEncryption"] == "AES256"
        if parameters.get("IfNoneMatch") == "*" and (parameters["Bucket"], parameters["Key"]) in self.objects:
            raise ClientError(
                {"Error": {"Code": "PreconditionFailed", "Message": "At least one of the pre-conditions did not hold"}}, "PutObject"
            )
        self.objects[parameters["Bucket"], parameters["Key"]] = parameters["Body"]
        return {}

    def _get(self, parameters: Parameters) -> dict[str, Any]:
        place = parameters["Bucket"], parameters["Key"]
        if place not in self.objects:
            raise self.exceptions.NoSuchKey
        return {"Body": io.BytesIO(self.objects[place])}
