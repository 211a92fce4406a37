"""Orders through their whole life, placed to delivered, and not faster than one step after the other."""

import time
from itertools import batched
from uuid import uuid4

from devtools import ui
from devtools.cli import UserError
from devtools.local.api_client import ApiClient, emails, order_body, wait_until
from devtools.local.carrier import Carrier
from devtools.target import Target

STEP_SECONDS = 60.0


def deliver_orders(shop: ApiClient, orders: int, at_once: int, step: ui.Stage) -> tuple[int, int]:
    """Bring orders from placing to delivery, until all consumers are idle.

    Returns the response bytes to the customers and to the carrier.
    """
    target, carrier = shop.target, Carrier(shop.target)
    answered, carrier_bytes, sent = 0, 0, len(emails(target))
    for done, group in enumerate(batched((f"bench-{uuid4().hex[:12]}" for _ in range(orders)), at_once, strict=False)):
        step.detail = f"{done * at_once} of {orders}"
        answers = [shop.place(customer, order_body(("MUG-BLUE", 2), ("FILTER-100", 1))) for customer in group]
        answered += sum(len(answer.body) for answer in answers)
        ids = [answer.json()["order_id"] for answer in answers]
        for order_id in ids:
            _wait(target, order_id, "ShipmentRequested")
            _wait(target, order_id, "InvoiceIssued")
        parcels = {order_id: carrier.dispatch(order_id) for order_id in ids}
        for order_id in ids:
            _wait(target, order_id, "PaymentCaptured")
        # The answer to the dispatch event of each order had the same size.
        carrier_bytes += sum(2 * len(carrier.deliver(order_id, parcel).body) for order_id, parcel in parcels.items())
        for order_id in ids:
            _wait(target, order_id, "ShipmentDelivered")
    # One email at the confirmation, one at the dispatch.
    if not wait_until(lambda: len(emails(target)) >= sent + 2 * orders, STEP_SECONDS):
        raise UserError(
            f"{len(emails(target)) - sent} of {2 * orders} emails were sent in {STEP_SECONDS:.0f} s; look at make logs FUNCTION=mail"
        )
    _idle(target)
    return answered, carrier_bytes


def _wait(target: Target, order_id: str, wanted: str) -> None:
    if not wait_until(lambda: wanted in _types(target, order_id), STEP_SECONDS, 0.05):
        raise UserError(f"order {order_id} has no {wanted} after {STEP_SECONDS:.0f} s; look at make trace ORDER={order_id}")


def _types(target: Target, order_id: str) -> set[str]:
    """Read the log itself: asking the API would be counted."""
    found = target.client("dynamodb").query(
        TableName=target.resources["OrderLog"],
        KeyConditionExpression="order_id = :order_id",
        ExpressionAttributeValues={":order_id": {"S": order_id}},
        ProjectionExpression="#type",
        ExpressionAttributeNames={"#type": "type"},
    )
    return {item["type"]["S"] for item in found["Items"]}


def _idle(target: Target) -> None:
    """Wait until no queue holds anything but dead letters, and the last functions' lines are in their logs."""
    queues = consumer_queues(target)
    for _ in range(2):  # a queued message may cause an event, and that event another message
        if not wait_until(lambda: not any(_waiting(target, url) for url in queues.values()), STEP_SECONDS, 0.5):
            filled = ", ".join(name for name, url in queues.items() if _waiting(target, url))
            raise UserError(f"messages remain in {filled or 'a queue'} after {STEP_SECONDS:.0f} s; look at the consumers: make logs")
        time.sleep(1.5)


def consumer_queues(target: Target) -> dict[str, str]:
    """Return the URLs of the queues that functions read, by logical id: all but those for operators."""
    queues = target.physical_ids("AWS::SQS::Queue")
    return {name: url for name, url in queues.items() if not name.endswith("DeadLetters") and name != "OperationsQueue"}


def _waiting(target: Target, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = target.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(count) for count in counts.values())
