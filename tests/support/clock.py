"""Sets the time at which the order log records events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo

import pytest

from orderflow.aws import event_envelopes


@contextmanager
def recorded_at(moment: datetime) -> Iterator[None]:
    """Set the order log's clock to `moment` (UTC) within the context."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return moment.astimezone(tz)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_envelopes, "datetime", Clock)
        yield
