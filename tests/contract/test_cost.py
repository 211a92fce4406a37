"""Costs since the last release: counts are reproducible, and growth needs a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devtools.bench import page
from devtools.checks import cost_growth
from devtools.checks.cost_growth import Growth, Recorded
from devtools.commands import parsed
from tests.cost import __main__ as command
from tests.cost import counting
from tests.support.guidance import require_same

RELEASED = Recorded("1.0.0", {"idle dev": 10.0, "placed to delivered": 60.0})


@pytest.fixture(scope="module")
def counted() -> counting.Counted:
    return counting.count()


def test_figures_within_five_percent_need_no_reason() -> None:
    assert cost_growth.unstated(RELEASED, {"idle dev": 10.5, "placed to delivered": 40.0}) == []


def test_larger_growth_needs_a_reason() -> None:
    [line] = cost_growth.findings(RELEASED, {"idle dev": 10.6, "placed to delivered": 60.0})
    assert line.startswith("idle dev costs $10.60, more than 5 % above $10.00: state why by `make cost REASON=")


def test_new_figure_needs_a_reason() -> None:
    assert cost_growth.findings(RELEASED, {"carrier": 0.1})[0].startswith("carrier costs $0.10, not recorded yet")


def test_stated_growth_is_the_new_limit() -> None:
    stated = cost_growth.with_reason(RELEASED, {"idle dev": 12.0, "placed to delivered": 60.0}, "two alarms")
    assert stated.growth == (Growth("idle dev", 12.0, "two alarms"),)
    assert not cost_growth.unstated(stated, {"idle dev": 12.5})
    assert cost_growth.unstated(stated, {"idle dev": 12.7})


def test_recorded_costs_are_read_as_written(tmp_path: Path) -> None:
    recorded = Recorded("1.1.0", {"idle dev": 12.0}, (Growth("idle dev", 13.25, 'a "quoted" reason, 5 µs'),))
    cost_growth.write(recorded, tmp_path / "costs.toml")
    assert cost_growth.read(tmp_path / "costs.toml") == recorded


def test_release_clears_the_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: counting.Counted) -> None:
    path = tmp_path / "costs.toml"
    cost_growth.write(Recorded("1.0.0", {"emails": 1.0}), path)
    monkeypatch.setattr(cost_growth, "read", lambda real=cost_growth.read: real(path))
    monkeypatch.setattr(cost_growth, "write", lambda recorded, real=cost_growth.write: real(recorded, path))
    monkeypatch.setattr(counting, "count", lambda: counted)
    assert command.main(parsed("cost", "--check")) == 1
    assert command.main(parsed("cost", "--reason", "first count")) == 0
    assert {one.reason for one in cost_growth.read().growth} == {"first count"}
    assert command.main(parsed("cost", "--check")) == 0
    assert command.main(parsed("cost", "--release", "1.1.0")) == 0
    assert cost_growth.read() == Recorded("1.1.0", command.figures(counted))


def test_count_of_an_order_is_reproducible(counted: counting.Counted) -> None:
    again = counting.count()
    assert again.calls == counted.calls
    assert again.invocations == counted.invocations
    for figure, dollars in command.figures(again).items():
        assert command.figures(counted)[figure] == pytest.approx(dollars, rel=0.01), figure


def test_every_consumer_takes_part_in_a_delivered_order(counted: counting.Counted) -> None:
    streamed, queued = counting.consumers()
    # A review is closed for held orders only.
    missing = {*streamed, *queued} - {"ReviewsClose"} - set(counted.invocations)
    require_same((), missing, "the events of the order in tests/cost/counting.py", "the cost of an order includes its consumers")


def test_document_has_the_present_costs(counted: counting.Counted) -> None:
    section = page.DOCUMENT.read_text("utf-8").partition(page.COST)[2].partition("\n## Cost of an order")[0]
    written = {name: float(dollars) for name, dollars in re.findall(r"^\| ([a-z ]+) \| ([\d.]+) \|", section, re.MULTILINE)}
    present = command.figures(counted)
    assert written.keys() == present.keys(), "run `make cost RECORD=1`"
    for figure, dollars in present.items():
        assert written[figure] == pytest.approx(dollars, rel=0.02), f"{figure}: run `make cost RECORD=1`"
