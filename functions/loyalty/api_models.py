"""What the API answers about points."""

from __future__ import annotations

from msgspec import Struct


class PointsAnswer(Struct, frozen=True):
    """The points of confirmed orders, less those of what was cancelled or paid back since."""

    points: int
