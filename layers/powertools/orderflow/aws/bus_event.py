"""Events of the order log as their consumers receive them: from the bus through a queue, or from a stream."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from orderflow.aws.observability import annotate
from orderflow.domain import events


class _Delivery(Struct, frozen=True):
    detail: msgspec.Raw
    replay_name: str | None = msgspec.field(default=None, name="replay-name")


class BusEvent(Struct, frozen=True):
    """An event; `replay_name` names the replay if it comes from the archive."""

    event: events.Event
    replay_name: str | None = None


_deliveries: msgspec.json.Decoder[_Delivery] = msgspec.json.Decoder(_Delivery)


def decode(body: str) -> BusEvent:
    """Return the event of a message, and put its ids on the log lines that follow.

    Raises:
        msgspec.DecodeError, UnknownEvent: the message holds no event.
    """
    delivery = _deliveries.decode(body)
    event = events.decode(bytes(delivery.detail))
    annotate(correlation_id=event.correlation_id, order_id=event.order_id, event_id=event.event_id)
    return BusEvent(event, delivery.replay_name)
