"""Making the list of orders again from the log, in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from orders import summaries

if TYPE_CHECKING:
    from collections.abc import Callable

    from orderflow.aws.order_log import OrderLog
    from orders.summary_store import OrderView

_AT_ONCE = 100


class InvalidRequest(ValueError):
    """What the operator asked for is no piece of a rebuild."""


class Piece(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where to go on: which phase, and after which event of the log. Nothing is the beginning."""

    phase: Literal["drop", "build"] = "drop"
    after: tuple[str, Annotated[int, Meta(ge=1)]] | None = None


class Progress(Struct, frozen=True, omit_defaults=True):
    """What a call did, and with what the next one goes on."""

    outcome: Literal["more", "rebuilt"]
    dropped: int
    listed: int
    next: Piece | None = None


def request(event: object) -> Piece:
    """Read where an operator wants to go on.

    Raises:
        InvalidRequest: in words for the operator, what is wrong with it.
    """
    try:
        return msgspec.convert(event, Piece)
    except msgspec.ValidationError as error:
        message = f"expected {{}} or the `next` of an answer: {error}"
        raise InvalidRequest(message) from None


class Rebuilding:
    """Works off pieces of a rebuild."""

    def __init__(self, log: OrderLog, view: OrderView) -> None:
        """Make `view` from `log`."""
        self._log = log
        self._view = view

    def work(self, piece: Piece, *, goes_on: Callable[[], bool]) -> Progress:
        """Go on with a rebuild for as long as `goes_on` says, one batch at least."""
        done = Progress("more", 0, 0, piece)
        while done.next:
            done = self._drop(done) if done.next.phase == "drop" else self._build(done, done.next)
            if not goes_on():
                break
        return done

    def _drop(self, done: Progress) -> Progress:
        dropped = self._view.drop(_AT_ONCE)
        return replace(done, dropped=done.dropped + dropped, next=Piece("drop" if dropped else "build"))

    def _build(self, done: Progress, piece: Piece) -> Progress:
        orders, after = self._log.orders(_AT_ONCE, piece.after)
        for order_id in orders:
            self._view.put(summaries.row(self._log.load(order_id)))
        listed = done.listed + len(orders)
        if after is None:
            return Progress("rebuilt", done.dropped, listed)
        return replace(done, listed=listed, next=Piece("build", after))
