"""Options of commands, given to Python or to make, and the help that lists them."""

import ast
import importlib
import inspect
import re

import pytest

from devtools import commands, manual, options
from devtools.commands import COMMANDS
from devtools.options import Command, arguments
from devtools.target import ROOT
from tests.integration import test_stack_commands

TRACE = COMMANDS["trace"]


def refused(command: Command, words: list[str], environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        arguments(command, words, environment)
    assert end.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_make_and_python_give_the_same_arguments() -> None:
    by_make = arguments(COMMANDS["logs"], [], {"MAKE_VARIABLES": "FOLLOW ORDER SINCE", "FOLLOW": "1", "ORDER": " ord_1 ", "SINCE": "5"})
    assert by_make == commands.parsed("logs", "--follow", "--order", "ord_1", "--since=5")
    assert (by_make.follow, by_make.order, by_make.since, by_make.function) == (True, "ord_1", 5, "")


@pytest.mark.parametrize("module", ["__init__", "__main__", "commands", "manual", "options"])
def test_help_needs_no_new_python(module: str) -> None:
    """`make help` is a newcomer's first command, before uv installs the version of the environments."""
    tree = ast.parse((ROOT / "devtools" / f"{module}.py").read_text("utf-8"), feature_version=(3, 8))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "typing" for name in node.names}
    assert imported <= {"TYPE_CHECKING", "Any", "NoReturn"}
    assert "strict" not in {keyword.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for keyword in node.keywords}


def test_usage_of_new_has_its_kinds_as_words() -> None:
    assert options.make_usage(COMMANDS["new"]).startswith("make new consumer|endpoint|context [NAME=…]")


def test_unknown_make_variable_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(TRACE, [], {"MAKE_VARIABLES": "ORDR", "ORDR": "x"}, capsys)
    assert line == "error: unknown option ORDR: make trace takes ORDER, STACK, PORT, ENDPOINT, BACKEND"


def test_unknown_option_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(TRACE, ["--ordr=x"], {}, capsys)
    assert line == "error: unknown option --ordr: trace takes --order, --stack, --port, --endpoint, --backend"


def test_options_are_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown option --ord" in refused(TRACE, ["--ord", "x"], {}, capsys)


def test_missing_option_is_named_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(TRACE, [], {"MAKE_VARIABLES": ""}, capsys).endswith("ORDER is missing (the order's id): make trace ORDER=ord_…")
    assert refused(TRACE, [], {}, capsys).endswith("python -m devtools trace --order ord_…")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--since", "many"], "--since must be a whole number of at least 1, not 'many'"),
        (["--since", "0"], "--since must be a whole number of at least 1, not '0'"),
        (["--since", "²"], "--since must be a whole number of at least 1, not '²'"),
        (["--port", "80"], "--port must be a number from 1024 to 65535, not '80'"),
        (["--backend", "azure"], "--backend must be one of embedded, localstack, aws, not 'azure'"),
    ],
)
def test_malformed_values_are_refused_by_name(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(COMMANDS["logs"], words, {}, capsys) == f"error: {message}"


@pytest.mark.parametrize("text", ["yesterday", "2026-11-23", "2026-11-23T09:00:00"])
def test_time_needs_its_offset(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--at must be a time such as" in refused(COMMANDS["carrier"], ["--order=x", "--at", text], {}, capsys)
    assert commands.parsed("carrier", "--order", "x", "--at", "2026-11-23T09:00:00Z").at == "2026-11-23T09:00:00Z"


@pytest.mark.parametrize(("value", "given"), [("1", True), ("yes", True), ("0", False), ("", False), (" ", False)])
def test_flag_of_make_is_set_by_any_value_but_0(value: str, given: bool) -> None:
    assert arguments(COMMANDS["logs"], [], {"MAKE_VARIABLES": "FOLLOW", "FOLLOW": value}).follow is given


@pytest.mark.parametrize("value", ["--help", "-h", "--order=other", "a b"])
def test_value_that_looks_like_an_option_is_a_value(value: str) -> None:
    assert arguments(TRACE, [], {"MAKE_VARIABLES": "ORDER", "ORDER": value}).order == value


def test_options_of_the_environment_alone_are_ignored() -> None:
    assert arguments(COMMANDS["logs"], [], {"ORDER": "ord_1", "FOLLOW": "1"}).order == ""


def test_settings_replace_the_environment() -> None:
    assert options.settings(TRACE, commands.parsed("trace", "--order", "ord_1", "--port", "4570")) == {"PORT": "4570"}


@pytest.mark.parametrize("command", [one for one in COMMANDS.values() if one.module], ids=lambda one: one.name)
def test_every_command_has_a_main_that_takes_its_arguments(command: Command) -> None:
    main = importlib.import_module(command.module).main
    assert len(inspect.signature(main).parameters) == 1


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda one: one.name)
def test_help_names_every_option_of_a_command(command: Command) -> None:
    text = options.Parser(command).format_help()
    assert [option.argument for option in command.options if option.argument not in text] == []
    assert f"make {command.name}" in text


def test_makefile_runs_every_command() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    listed = set(re.findall(r"[\w-]+", " ".join(re.findall(r"^override (?:OFFLINE_|TEST_)?COMMANDS := (.*)", makefile, re.MULTILINE))))
    assert listed | {"lint-template", "lint-workflows", "lint-security"} == set(COMMANDS), "list the command in the Makefile"


def test_short_help_fits_one_screen() -> None:
    lines = manual.lines(everything=False)
    assert len(lines) <= 40
    assert max(map(len, manual.lines(everything=True) + lines)) <= 100


def test_full_help_lists_every_target_once() -> None:
    entries = [line for line in manual.lines(everything=True) if line.startswith("  ")]
    assert [line for line in entries if not re.match(r"  [a-z-]+ +[A-Z]", line)] == []
    listed = [line.split()[0] for line in entries]
    assert len(listed) == len(set(listed))
    assert {"run", "trace", "lint-workflows", "test-faults", "contracts", "deploy", "load"} <= set(listed)


def test_group_is_listed_by_part_of_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert manual.lines(everything=True, group="operate")[0] == "Operate a stack"
    with pytest.raises(SystemExit):
        manual.lines(everything=True, group="nowhere")
    assert "GROUP must be part of one of Set up, Run locally" in capsys.readouterr().err


def test_every_command_with_a_stack_is_run_on_one_or_has_a_reason() -> None:
    taking = {name for name, command in COMMANDS.items() if any(option.name == "STACK" for option in command.options)}
    assert taking == test_stack_commands.OPTIONS.keys() | test_stack_commands.ELSEWHERE.keys(), (
        "see tests/integration/test_stack_commands.py"
    )
