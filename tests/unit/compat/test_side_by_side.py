"""`make compat` finds incompatibilities of two releases that process the same orders."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from devtools.cli import UserError
from devtools.target import ROOT
from tests.compat import versions
from tests.compat.side_by_side import SideBySide
from tests.fakes.aws import clients
from tests.faults.paths import PATHS

CONFIRMED = PATHS[:1]
DECLINED = tuple(path for path in PATHS if path.name == "declined")


@pytest.fixture
def code(tmp_path: Path) -> Iterator[Path]:
    """A copy of the present release; the test changes it to simulate the earlier one."""
    for folder in ("functions", "layers/powertools"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "template.yaml", tmp_path)
    logging.disable(logging.CRITICAL)
    # Loading a release sets variables that the present functions do not have.
    with patch.dict(os.environ):
        yield tmp_path
    logging.disable(logging.NOTSET)
    clients.lend()


def changed(code: Path, file: str, old: str, new: str) -> Path:
    """Replace a part of a file."""
    text = (code / file).read_text("utf-8")
    assert old in text
    (code / file).write_text(text.replace(old, new), "utf-8")
    return code


def test_same_release_twice_has_no_problem(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = SideBySide(versions.load(code), monkeypatch)
    assert both.check(CONFIRMED + DECLINED) == []
    assert both.runs > 50


def test_modules_of_the_earlier_release_are_loaded_separately(code: Path) -> None:
    from orderflow.domain import events  # noqa: PLC0415

    before = versions.load(code)
    assert before.modules["orderflow.domain.events"] is not events
    assert before.modules["orderflow.domain.events"].__file__ == str(code / "layers/powertools/orderflow/domain/events.py")
    from orderflow.domain import events as again  # noqa: PLC0415

    assert again is events


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("functions/notifications/handlers/send_emails.py", '("mail",', '("email",', "NotificationsMail repeats an effect"),
        ("functions/orders/domain/pricing.py", '"ord_"', '"order_"', "confirmed"),
        ("functions/inventory/handlers/reserve_stock.py", '{"outcome": ', '{"result": ', "confirmed, earlier release for"),
    ],
    ids=["idempotency key", "order id", "step result"],
)
def test_incompatible_release_is_found(code: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, problem: str) -> None:
    found = SideBySide(versions.load(changed(code, file, old, new)), monkeypatch).check(CONFIRMED)
    assert any(problem in line for line in found)


def test_release_that_cannot_be_imported_is_refused(code: Path) -> None:
    (code / "functions/orders/handlers/place_order.py").write_text("import nowhere\n")
    with pytest.raises(UserError, match="the functions of the earlier release cannot be imported: No module named 'nowhere'"):
        versions.load(code)
