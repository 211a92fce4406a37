"""Which events' emails a stack has sent, by the records of the function that sends them: SES keeps no sent emails."""

import json
from collections.abc import Iterable
from hashlib import sha256

from devtools.target import Target
from orderflow.aws import dynamodb

BATCH = 100


def recorded(target: Target, event_ids: Iterable[str]) -> set[str]:
    """Return the events among these whose email is recorded as sent."""
    by_key = {_key(event_id): event_id for event_id in event_ids}
    keys, client, table = list(by_key), target.client("dynamodb"), target.resources["MailIdempotency"]
    found: set[str] = set()
    for start in range(0, len(keys), BATCH):
        request = {table: {"Keys": [dynamodb.key(id=key) for key in keys[start : start + BATCH]], "ConsistentRead": True}}
        while request:
            answer = client.batch_get_item(RequestItems=request)
            sent = (item["id"]["S"] for item in answer["Responses"].get(table, ()) if item.get("status", {}).get("S") == "COMPLETED")
            found.update(by_key[key] for key in sent)
            request = answer.get("UnprocessedKeys")
    return found


def _key(event_id: str) -> str:
    # The key of `orderflow.aws.idempotency.OncePerEvent` for the effect `mail`.
    return f"mail#{sha256(json.dumps(event_id).encode()).hexdigest()}"
