"""The recorded costs of the last release (devtools/costs.toml), and the present costs that exceed them without a stated reason.

`[release]` has the figures of the last release, in US dollars. Each `[[growth]]` states a figure that costs more since then, its limit, and
the reason. The figures are stored here, because a shallow clone in CI lacks the last release's tag.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devtools.target import ROOT

COSTS = ROOT / "devtools" / "costs.toml"
ALLOWED = 0.05
_HEAD = """# US dollars. `make check` fails where a present cost is more than 5 % above these and no reason is stated here (decision 51).
# `make cost RELEASE=1.1.0` writes the release, `make cost REASON="…"` adds the growth since then.
"""

type Figures = Mapping[str, float]


@dataclass(frozen=True)
class Growth:
    """A figure that may cost more than at the last release: its limit in US dollars, and the reason."""

    figure: str
    dollars: float
    reason: str


@dataclass(frozen=True)
class Recorded:
    """The last release, its figures, and the stated growth since then, oldest first."""

    release: str
    figures: Figures
    growth: tuple[Growth, ...] = ()

    def stated(self, figure: str) -> float | None:
        """Return a figure's accepted cost: that of its latest `growth`, else that of the release; None for a new figure."""
        known = [one.dollars for one in self.growth if one.figure == figure]
        return known[-1] if known else self.figures.get(figure)


def read(path: Path = COSTS) -> Recorded:
    """Return the recorded costs."""
    written: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    release: dict[str, Any] = dict(written["release"])
    return Recorded(release.pop("version"), release, tuple(Growth(**one) for one in written.get("growth", ())))


def write(recorded: Recorded, path: Path = COSTS) -> None:
    """Replace the recorded costs."""
    release = [
        f"version = {json.dumps(recorded.release)}",
        *(f'"{figure}" = {dollars:.2f}' for figure, dollars in recorded.figures.items()),
    ]
    growth = [
        f'[[growth]]\nfigure = "{one.figure}"\ndollars = {one.dollars:.2f}\nreason = {json.dumps(one.reason, ensure_ascii=False)}\n'
        for one in recorded.growth
    ]
    path.write_text("\n".join([_HEAD + "\n[release]", *release, "", *growth]), "utf-8")


def unstated(recorded: Recorded, present: Figures) -> list[str]:
    """Return the figures more than 5 % above their stated amounts, and new figures."""
    known = {figure: recorded.stated(figure) or 0.0 for figure in present}
    return [figure for figure, dollars in present.items() if round(dollars - known[figure] * (1 + ALLOWED), 2) > 0]


def with_reason(recorded: Recorded, present: Figures, reason: str) -> Recorded:
    """Return the recorded costs with the present growth and its reason."""
    more = tuple(Growth(figure, present[figure], reason) for figure in unstated(recorded, present))
    return Recorded(recorded.release, recorded.figures, (*recorded.growth, *more))


def findings(recorded: Recorded, present: Figures) -> list[str]:
    """Return a line for each figure that grew without a stated reason."""
    return [
        f"{figure} costs ${present[figure]:.2f}, {_known(recorded, figure)}: state why by `make cost REASON=…`, which writes costs.toml"
        for figure in unstated(recorded, present)
    ]


def _known(recorded: Recorded, figure: str) -> str:
    known = recorded.stated(figure)
    return f"more than 5 % above ${known:.2f}" if known else "not recorded yet"


def change(recorded: Recorded, figure: str, dollars: float) -> str:
    """Return by how much a figure differs from the last release, in percent."""
    before = recorded.figures.get(figure)
    return f"{dollars / before - 1:+.1%}" if before else "new"
