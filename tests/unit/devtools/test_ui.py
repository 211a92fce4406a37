"""Printed text cannot move the cursor, change colors, hide text or imitate another line."""

import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from devtools import cli, ui
from devtools.ops import function_logs, trace
from devtools.ops.function_logs import LogLine
from devtools.target import ROOT

UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
HOSTILE = {
    "\x1b[2J\x1b[31mred": r"\x1b[2J\x1b[31mred",
    "\x1b]8;;http://evil\x07link": r"\x1b]8;;http://evil\x07link",
    "\x9b2Jclear": r"\x9b2Jclear",
    "a\rb": r"a\rb",
    "a\x08\x7fb": r"a\x08\x7fb",
    "\u202egnp.exe": r"\u202egnp.exe",
    "zero\u200bwidth": r"zero\u200bwidth",
    "\ud800": r"\ud800",
    "[red]markup[/] [link=x]": "[red]markup[/] [link=x]",
    ":smile:": ":smile:",
}


def rendered(*renderables: RenderableType, terminal: bool = False, **options: Any) -> str:
    file = io.StringIO()
    console = ui.SafeConsole(
        file=file, width=200, markup=False, emoji=False, highlight=False, force_terminal=terminal, color_system=None, soft_wrap=True
    )
    console.print(*renderables, **options)
    return file.getvalue()


@pytest.mark.parametrize(("text", "wanted"), HOSTILE.items())
def test_control_characters_and_markup_are_rendered_as_text(text: str, wanted: str) -> None:
    for renderable in (text, Group(text)):
        # rich removes these characters itself.
        assert wanted.replace(r"\x07", "").replace(r"\r", "").replace(r"\x08", "") in rendered(renderable)
    table = Table(text)
    table.add_row(text)
    for renderable in (text, Text(text), table):
        assert not UNSAFE.search(rendered(renderable))
        assert "\x1b" not in rendered(renderable, terminal=True)
    assert ui.escaped(text) == wanted


def test_long_title_is_apart_from_its_detail(capsys: pytest.CaptureFixture[str]) -> None:
    ui.done("functions/orders/handlers/send_gifts.py", "written")
    ui.done("stack", "unchanged")
    long, short = capsys.readouterr().out.splitlines()
    assert long == "  ✓ functions/orders/handlers/send_gifts.py written"
    assert short == f"  ✓ {'stack':<{ui.WIDTH}}unchanged"


@given(st.text())
def test_no_text_reaches_the_terminal_with_control_characters(text: str) -> None:
    assert not UNSAFE.search(rendered(text).replace("\n", "").replace("\t", ""))
    assert not UNSAFE.search(ui.one_line(text))


def test_tools_share_one_safe_console() -> None:
    assert isinstance(ui.console, ui.SafeConsole)
    table = Table("[red]x")
    table.add_row("[red]y", ":smile:")
    with ui.console.capture() as captured:
        ui.console.print("[red]x[/]", table)
    assert "[red]x[/]" in captured.get()
    assert "[red]y" in captured.get()
    assert ":smile:" in captured.get()


def test_styles_reach_the_terminal() -> None:
    file = io.StringIO()
    ui.SafeConsole(file=file, force_terminal=True, color_system="standard").print(Text("done", "green"))
    assert file.getvalue() == "\x1b[32mdone\x1b[0m\n"


def test_field_of_a_log_line_stays_on_its_line() -> None:
    forged = json.dumps({"level": "INFO\n", "message": "refused\n12:00:00.000  forged", "na\nme": "a\nb\x1b[2J", "why": {"x": "\u202e"}})
    text = function_logs.rendered(LogLine(0, "orders-get", forged)).plain
    assert text.count("\n") == 0
    assert r"refused\n12:00:00.000  forged" in text
    assert r"a\nb\x1b[2J" in text


def test_plain_text_is_indented_below_its_first_line() -> None:
    assert "\n    12:00:00" in function_logs.rendered(LogLine(0, "orders-get", "text\n12:00:00.000  forged")).plain


def test_trace_shows_event_data_on_one_line() -> None:
    event = {"event_id": "o:1", "type": "FulfilmentFailed", "occurred_at": "2026-01-01T00:00:00Z", "order_id": "o", "order_version": 1}
    event |= {"source": "orders", "correlation_id": "c", "causation_id": None, "data": {"reason": "a\nb\x1b[2J"}}
    assert r"reason=a\nb\x1b[2J" in rendered(trace.tree([event]))


def test_error_is_one_line_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    def main(_: object) -> None:
        raise cli.UserError("FILE=a\nb\x1b[2J cannot be read")

    with pytest.raises(SystemExit):
        cli.run("trial-balance", main, [])
    assert capsys.readouterr().err == "error: FILE=a\\nb\\x1b[2J cannot be read\n"


def test_every_tool_prints_through_the_safe_console() -> None:
    tools = {path.name: path.read_text() for path in (ROOT / "devtools").rglob("*.py")}
    assert [name for name, text in tools.items() if re.search(r"\bConsole\(|rich import print|sys\.stdout\.write", text)] == []
