"""`make load` detects what analytics did not count."""

from pathlib import Path

from tests.load.pipeline import Pipeline


def test_lost_counts_are_detected(tmp_path: Path) -> None:
    with Pipeline(tmp_path) as pipeline:
        pipeline.run(100)
        pipeline.orders.totals.counters["orders"] += 1

        assert pipeline.differences() == ["analytics: orders is 100, expected 101"]
