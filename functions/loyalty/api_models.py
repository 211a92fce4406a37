"""API models of points."""

from __future__ import annotations

from msgspec import Struct


class PointsAnswer(Struct, frozen=True):
    """The points of confirmed orders, less those of cancelled and refunded items."""

    points: int
